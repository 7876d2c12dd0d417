// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sluice-mesh/sluice/discovery"
)

// scripted is a source that tells what it is sent, and holds n back.
type scripted struct {
	batches chan discovery.Batch
	err     error
	n       int
}

func (s scripted) Run(ctx context.Context, sink func(discovery.Batch)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case b, ok := <-s.batches:
			if !ok {
				return s.err
			}
			sink(b)
		}
	}
}

func (s scripted) Confirm() int { return s.n }

func TestJoin(t *testing.T) {
	broken := errors.New("broken")
	a, b := scripted{make(chan discovery.Batch), broken, 1}, scripted{make(chan discovery.Batch), nil, 2}
	source := discovery.Join(a, b)
	told := make(chan discovery.Batch)
	ended := make(chan error, 1)
	go func() { ended <- source.Run(t.Context(), func(b discovery.Batch) { told <- b }) }()
	for _, step := range []struct {
		name   string
		from   scripted
		key    string
		listed bool // as sent
		want   bool // as told
	}{
		{"one complete listing is not all", a, "a", true, false},
		{"what comes before the other is passed on", b, "b", false, false},
		{"the last one completes it", b, "c", true, true},
		{"and no other", a, "d", false, false},
	} {
		step.from.batches <- discovery.Batch{Updates: []discovery.Update{{Key: step.key}}, Listed: step.listed}
		if got := <-told; got.Listed != step.want || len(got.Updates) != 1 || got.Updates[0].Key != step.key {
			t.Errorf("%s: %+v", step.name, got)
		}
	}
	if n := source.(discovery.Confirmer).Confirm(); n != 3 {
		t.Errorf("Confirm() = %d, want what both hold back", n)
	}
	close(a.batches)
	if err := <-ended; !errors.Is(err, broken) {
		t.Errorf("Run() = %v, want the error of the one that broke", err)
	}
}
