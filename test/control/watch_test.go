// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// version is one that a proxy tells, such as 1f2e.17.
type version struct {
	epoch    string
	revision uint64
}

func readVersion(text string) (version, error) {
	epoch, revision, ok := strings.Cut(text, ".")
	n, err := strconv.ParseUint(revision, 10, 64)
	if !ok || err != nil {
		return version{}, fmt.Errorf("%q is no version", text)
	}
	return version{epoch, n}, nil
}

// watch asks a proxy over and over which version it serves, through all of
// its processes.
type watch struct {
	name   string
	cancel context.CancelFunc
	pause  time.Duration // between questions; 0 for 50 ms
	brief  bool          // ask for the version alone: /status has all gateways
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	now    version
	epochs []string // one after the other
	seen   int      // versions
	asked  int
	faults []string
}

func (w *watch) run(ctx context.Context, p *proxy) {
	tick := time.NewTicker(cmp.Or(w.pause, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.ask(ctx, p)
		case <-ctx.Done():
			w.ask(context.WithoutCancel(ctx), p) // once more, at the end
			return
		}
	}
}

func (w *watch) ask(ctx context.Context, p *proxy) {
	if w.brief {
		if v, err := p.table(ctx); err == nil {
			w.take(v)
		}
		return
	}
	if s, err := p.status(ctx); err == nil && s.Table != nil { // else it is starting
		w.take(s.Table.Version)
	}
}

func (w *watch) take(text string) {
	v, err := readVersion(text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	switch {
	case err != nil:
		w.faults = append(w.faults, err.Error())
	case v == w.now:
	case v.epoch != w.now.epoch:
		if slices.Contains(w.epochs, v.epoch) {
			w.faults = append(w.faults, fmt.Sprintf("%v follows %v: an epoch came back", v, w.now))
		}
		w.epochs = append(w.epochs, v.epoch)
		w.now, w.seen = v, w.seen+1
	case v.revision < w.now.revision:
		w.faults = append(w.faults, fmt.Sprintf("%v follows %v", v, w.now))
	default:
		w.now, w.seen = v, w.seen+1
	}
}

// stop ends the watch. The test fails if a version went back, or if there
// were more epochs than it brought about.
func (w *watch) stop(t *testing.T, epochs int) {
	t.Helper()
	w.cancel()
	w.wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) > 0 || len(w.epochs) != epochs {
		t.Errorf("%s: versions of the epochs %v, want %d epochs; faults: %q", w.name, w.epochs, epochs, w.faults)
	}
	t.Logf("%s: asked %d times, %d versions, last %v", w.name, w.asked, w.seen, w.now)
}
