// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

func snapshot(epoch, revision uint64) *routing.Snapshot {
	t := routingtest.Table(revision)
	t.Version.Epoch = epoch
	s, _ := routing.Compile(nil, t, routing.CompileOptions{})
	return s
}

func TestCurrentHoldsAnEmptySnapshotAtFirst(t *testing.T) {
	var c routing.Current
	s := c.Load()
	if s == nil {
		t.Fatal("Load() = nil")
	}
	if s.ByPort(80) != nil || s.ByHost("shop.example") != nil || s.ByName("shop") != nil ||
		len(s.Gateways()) != 0 || s.Slots() != 0 || s.Version() != (routing.Version{}) {
		t.Errorf("the first snapshot is not empty: %v", s)
	}
}

func TestCurrentPublishes(t *testing.T) {
	for _, tt := range []struct {
		name       string
		from, to   [2]uint64 // epoch and revision; a zero from is none
		wantPassed bool
	}{
		{"the first snapshot", [2]uint64{}, [2]uint64{1, 1}, true},
		{"the next revision", [2]uint64{1, 1}, [2]uint64{1, 2}, true},
		{"no revision twice", [2]uint64{1, 2}, [2]uint64{1, 2}, false},
		{"no older revision", [2]uint64{1, 2}, [2]uint64{1, 1}, false},
		{"any revision of another epoch", [2]uint64{7, 9}, [2]uint64{3, 1}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c routing.Current
			before := c.Load()
			if tt.from != [2]uint64{} {
				before = snapshot(tt.from[0], tt.from[1])
				if !c.Publish(before) {
					t.Fatal("the snapshot to start from was not published")
				}
			}
			next := snapshot(tt.to[0], tt.to[1])
			if got := c.Publish(next); got != tt.wantPassed {
				t.Errorf("Publish = %t, want %t", got, tt.wantPassed)
			}
			want := before
			if tt.wantPassed {
				want = next
			}
			if c.Load() != want {
				t.Errorf("version %v is current, want %v", c.Load().Version(), want.Version())
			}
		})
	}
}

func TestCurrentEndsWithTheNewestOfManyPublishers(t *testing.T) {
	const newest = 200
	var c routing.Current
	var wg sync.WaitGroup
	for revision := uint64(1); revision <= newest; revision++ {
		next := snapshot(1, revision)
		wg.Go(func() {
			c.Publish(next)
			if got := c.Load().Version(); got.Revision < revision {
				t.Errorf("version %v is current after %v was published", got, next.Version())
			}
		})
	}
	wg.Wait()
	if got := c.Load().Version().Revision; got != newest {
		t.Errorf("revision %d is current, want %d", got, newest)
	}
}
