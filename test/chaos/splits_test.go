// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// splits changes the weights of two routes all the time and knows which table
// decided each request: answers carry its number. It is safe for concurrent
// use.
type splits struct {
	write func(epoch, weight, spare int) error
	log   *events

	mu     sync.Mutex // guards what follows
	epochs []epoch    // as they were written; the first is not used
	seen   int        // the latest that served
	spare  int        // of retries, in the tables that are written
	grown  chan struct{}
}

// epoch is one table.
type epoch struct {
	weight  int    // of route a, percent
	got     [2]int // answers by route
	unknown int    // requests that it may have decided beside those
}

// least is how many answers an epoch must have before the next one.
const least = 5

func newSplits(log *events, write func(epoch, weight, spare int) error) *splits {
	return &splits{write: write, log: log, epochs: make([]epoch, 1), grown: make(chan struct{})}
}

// before returns the first epoch that may decide what is sent now.
func (s *splits) before() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// note counts a request that was sent when the epoch from was the latest seen.
func (s *splits) note(o outcome, from int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.epoch == 0 {
		for i := from; i < len(s.epochs); i++ {
			s.epochs[i].unknown++
		}
		return nil
	}
	if o.epoch < from || o.epoch >= len(s.epochs) {
		return fmt.Errorf("decided by table %d; %d served before, %d were written", o.epoch, from, len(s.epochs)-1)
	}
	switch o.route {
	case "a":
		s.epochs[o.epoch].got[0]++
	case "b":
		s.epochs[o.epoch].got[1]++
	}
	s.seen = max(s.seen, o.epoch)
	close(s.grown)
	s.grown = make(chan struct{})
	return nil
}

// change writes one table after the other until ctx ends, each once the one
// before was seen to serve.
func (s *splits) change(ctx context.Context, rng *rand.Rand) error {
	for ctx.Err() == nil {
		n, err := s.next(5 + rng.IntN(91))
		if err != nil {
			return err
		}
		if err := s.await(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// next writes a table and returns its number.
func (s *splits) next(weight int) (n int, err error) {
	s.mu.Lock()
	n, spare := len(s.epochs), s.spare
	s.epochs = append(s.epochs, epoch{weight: weight})
	s.mu.Unlock()
	s.log.add("table %d: %d%%", n, weight)
	return n, s.write(n, weight, spare)
}

// allow sets how many retries the tables to come have to spare.
func (s *splits) allow(spare int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = spare
}

// await waits until an epoch has decided enough.
func (s *splits) await(ctx context.Context, n int) error {
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.wait(late, func() bool { return s.epochs[n].got[0]+s.epochs[n].got[1] >= least })
	if late.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("table %d does not serve within %v", n, patience)
	}
	return nil
}

// reach waits until there were so many changes.
func (s *splits) reach(ctx context.Context, changes int) {
	s.wait(ctx, func() bool { return s.seen-1 >= changes })
}

// wait waits until a claim holds, which is asked with s.mu held, or ctx ends.
func (s *splits) wait(ctx context.Context, claim func() bool) {
	for {
		s.mu.Lock()
		holds, grown := claim(), s.grown
		s.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return
		}
	}
}

// check holds each epoch to its weights: two routes of a schedule are never
// further than 2 requests from their share in any window, and each epoch is
// one, but for requests of which it is not known whether they were in it. In
// all epochs together what is off must not add up.
func (s *splits) check() (faults []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, unknown := 0.0, 0
	for n, e := range s.epochs {
		total := float64(e.got[0] + e.got[1])
		off := float64(e.got[0]) - total*float64(e.weight)/100
		if math.Abs(off) > 2+float64(e.unknown) {
			faults = append(faults, fmt.Errorf("table %d: %d and %d at %d%%, %d unknown", n, e.got[0], e.got[1], e.weight, e.unknown))
		}
		sum += off
		unknown += e.unknown
	}
	if most := 3*math.Sqrt(float64(len(s.epochs))) + float64(unknown); math.Abs(sum) > most {
		faults = append(faults, fmt.Errorf("%d tables: route a is off by %.1f requests in all, at most %.1f are right", len(s.epochs)-1, sum, most))
	}
	return faults
}

func (s *splits) changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen - 1
}

// gatewayFile returns what writes the file of the gateway, whole or not at
// all.
func gatewayFile(dir string, port int) func(epoch, weight, spare int) error {
	beside := filepath.Join(dir, "next")
	file := filepath.Join(dir, "gateways", "chaos.yaml")
	return func(epoch, weight, spare int) error {
		if err := os.WriteFile(beside, gatewayText(port, epoch, weight, spare), 0o600); err != nil {
			return err
		}
		return os.Rename(beside, file)
	}
}

// gatewayText returns two routes to all origins. Retries have their usual
// budget unless some are to spare.
func gatewayText(port, epoch, weight, spare int) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "name: chaos\nport: %d\nsluice: {timeouts: {upstream_keep_alive: 2s}}\nroutes:\n", port)
	retries := ""
	if spare > 0 {
		retries = fmt.Sprintf(", retries: {budget_min: %d}", spare)
	}
	for _, r := range []struct {
		name   string
		weight int
	}{{"a", weight}, {"b", 100 - weight}} {
		fmt.Fprintf(&text, "  %s:\n    weight: %d%%\n    selector: label(app)(chaos)\n"+
			"    sluice: {headers: {response: {set: {X-Route: %s, X-Epoch: \"%d\"}}}%s}\n", r.name, r.weight, r.name, epoch, retries)
	}
	text.WriteString("  c:\n    weight: 0%\n    selector: label(app)(chaos)\n" +
		"    condition: path starts with /stall\n    sluice: {timeouts: {first_byte: 300ms}}\n")
	return text.Bytes()
}
