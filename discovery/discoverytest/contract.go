// SPDX-License-Identifier: Apache-2.0

// Package discoverytest holds the contract that every source of gateways
// keeps.
package discoverytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// patience bounds how long the suite waits for a source. It is no measure of
// anything: it only turns a hanging test into a failing one.
const patience = 30 * time.Second

// Bed is a source with what it watches. Objects are called "a", "b" and "c";
// each asks for one gateway, called name, or has one instance of that name.
type Bed struct {
	// Source watches a place that holds the objects "a" and "b", with the
	// gateways "a1" and "b1".
	Source discovery.Source
	// Put makes or changes an object so that it asks for the gateway name.
	Put func(object, name string)
	// Remove takes an object away, with others left beside it.
	Remove func(object string)
	// Key returns the key of an object's updates.
	Key func(object string) string
	// Says returns the name that an instance has by Put. Nil means its Name; a
	// source whose objects cannot change the names of their instances puts it
	// elsewhere.
	Says func(i *routing.Instance) string
}

// Test runs the contract against the sources that start makes, a new one for
// each part.
func Test(t *testing.T, start func(t *testing.T) Bed) {
	t.Helper()
	for _, part := range []struct {
		name string
		test func(*run, *testing.T)
	}{
		{"the first listing tells everything and ends once", (*run).listing},
		{"a change is told as the whole state of its object", (*run).change},
		{"a new object is told", (*run).addition},
		{"an object taken away from others is gone", (*run).removal},
		{"the newest state comes last", (*run).storm},
		{"a run ends with its context and tells nothing after that", (*run).end},
	} {
		t.Run(part.name, func(t *testing.T) {
			bed := start(t)
			r := begin(t, bed)
			part.test(r, t)
			r.stop(t)
		})
	}
}

// run is a source that runs, and what it has told.
type run struct {
	Bed
	batches chan discovery.Batch
	cancel  context.CancelFunc
	ended   chan error
	over    atomic.Bool
	faults  chan string // breaches seen in the sink

	state  map[string]discovery.Update
	listed int
}

func begin(t *testing.T, bed Bed) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{
		Bed: bed, cancel: cancel,
		batches: make(chan discovery.Batch, 10_000),
		ended:   make(chan error, 1),
		faults:  make(chan string, 100),
		state:   make(map[string]discovery.Update),
	}
	var inside atomic.Bool
	go func() {
		err := bed.Source.Run(ctx, func(b discovery.Batch) {
			if !inside.CompareAndSwap(false, true) {
				r.breach("two calls of the sink overlap")
			}
			if r.over.Load() {
				r.breach("the sink is called after Run returned")
			}
			r.batches <- b
			inside.Store(false)
		})
		r.over.Store(true)
		r.ended <- err
	}()
	r.await(t, "the end of the first listing", func() bool { return r.listed > 0 })
	return r
}

func (r *run) breach(what string) {
	select {
	case r.faults <- what:
	default:
	}
}

// stop ends the run and reports every breach.
func (r *run) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("Run ended with %v, want nil after an orderly end", err)
		}
	case <-time.After(patience):
		t.Fatal("Run did not end with its context")
	}
	for len(r.batches) > 0 {
		r.take(t, <-r.batches)
	}
	if r.listed != 1 {
		t.Errorf("the end of the first listing was told %d times", r.listed)
	}
	for len(r.faults) > 0 {
		t.Error(<-r.faults)
	}
}

// take applies a batch, and checks its form.
func (r *run) take(t *testing.T, b discovery.Batch) {
	t.Helper()
	keys := make([]string, 0, len(b.Updates))
	for _, u := range b.Updates {
		keys = append(keys, u.Key)
		if u.Gone && (len(u.Documents)+len(u.Kept)+len(u.Instances)+len(u.Faults) > 0 || u.Held != nil) {
			t.Errorf("%s is gone and yet says something", u.Key)
		}
		if u.Held != nil && len(u.Kept)+len(u.Instances) == 0 {
			t.Errorf("the absence of nothing is held back at %s", u.Key)
		}
		r.state[u.Key] = u
		if u.Gone {
			delete(r.state, u.Key)
		}
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Errorf("the keys of a batch are %q, want them sorted and each once", keys)
	}
	if len(keys) == 0 && !b.Listed {
		t.Error("an empty batch was told")
	}
	if b.Listed {
		r.listed++
	}
}

// await takes batches until what holds.
func (r *run) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for !holds() {
		select {
		case b := <-r.batches:
			r.take(t, b)
		case err := <-r.ended:
			t.Fatalf("Run ended with %v before %s", err, what)
		case <-timeout:
			t.Fatalf("no sign of %s; told until now: %s", what, r.told())
		}
	}
}

// gateway returns the name that an object asks for, or "".
func (r *run) gateway(object string) string {
	u := r.state[r.Key(object)]
	if len(u.Instances) == 1 {
		if r.Says != nil {
			return r.Says(u.Instances[0])
		}
		return u.Instances[0].Name
	}
	if len(u.Documents) != 1 {
		return ""
	}
	return u.Documents[0].Name
}

func (r *run) told() string {
	var s strings.Builder
	for key, u := range r.state {
		fmt.Fprintf(&s, "\n%s: %d documents, %d kept, faults %v", key, len(u.Documents), len(u.Kept), u.Faults)
	}
	return s.String()
}

func (r *run) listing(t *testing.T) {
	t.Helper()
	for object, want := range map[string]string{"a": "a1", "b": "b1"} {
		if got := r.gateway(object); got != want {
			t.Errorf("after the first listing %s asks for %q, want %q", object, got, want)
		}
	}
}

func (r *run) change(t *testing.T) {
	t.Helper()
	r.Put("a", "a2")
	r.await(t, "the change", func() bool { return r.gateway("a") == "a2" })
	if got := r.gateway("b"); got != "b1" {
		t.Errorf("after a change of a, b asks for %q, want b1", got)
	}
}

func (r *run) addition(t *testing.T) {
	t.Helper()
	r.Put("c", "c1")
	r.await(t, "the new object", func() bool { return r.gateway("c") == "c1" })
}

func (r *run) removal(t *testing.T) {
	t.Helper()
	r.Remove("a")
	r.await(t, "the removal", func() bool {
		_, there := r.state[r.Key("a")]
		return !there
	})
	if got := r.gateway("b"); got != "b1" {
		t.Errorf("after the removal of a, b asks for %q, want b1", got)
	}
}

func (r *run) storm(t *testing.T) {
	t.Helper()
	for i := range 100 {
		r.Put("a", fmt.Sprintf("a%d", i))
		r.Put("b", fmt.Sprintf("b%d", i))
	}
	r.await(t, "the last of many changes", func() bool {
		return r.gateway("a") == "a99" && r.gateway("b") == "b99"
	})
}

func (r *run) end(t *testing.T) {
	t.Helper()
	r.stop(t)
	r.Put("a", "a2")
	r.Remove("b")
	r.ended <- nil // stop is called once more
}
