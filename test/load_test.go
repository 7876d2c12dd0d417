// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// load are clients that send requests without pause until they are stopped.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	began  time.Time
	seen   *tally
	kept   atomic.Int64 // answered well, over kept connections
	fresh  atomic.Int64 // and over new ones
	failed atomic.Int64
	faults chan string // the first few
}

// cmdLoad starts clients, half of them with kept connections and half with a
// new one for each request, and stops them: load start CLIENTS URL, then load
// stop N. Stopping waits until N requests were answered in all, and fails if
// any of them was not answered well.
func cmdLoad(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	switch {
	case !neg && len(args) == 3 && args[0] == "start" && b.load == nil:
		clients, err := strconv.Atoi(args[1])
		ts.Check(err)
		b.load, err = b.startLoad(clients, args[2])
		ts.Check(err)
	case !neg && len(args) == 2 && args[0] == "stop" && b.load != nil:
		least, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		b.stopLoad(ts, least)
	default:
		ts.Fatalf("usage: load start CLIENTS URL, then load stop N")
	}
}

func (b *bed) startLoad(clients int, url string) (*load, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	l := &load{cancel: cancel, began: time.Now(), seen: newTally(), faults: make(chan string, 10)}
	for i := range clients {
		q, err := newAsk(http.MethodGet, url, nil, i%2 == 1)
		if err != nil {
			cancel()
			return nil, err
		}
		(&securing{}).apply(b, q)
		good := &l.kept
		if i%2 == 1 {
			good = &l.fresh
		}
		l.wg.Go(func() { l.run(ctx, q, good) })
	}
	return l, nil
}

// run sends one request after the other. A request that has begun is always
// awaited: stopping the load is no failure.
func (l *load) run(ctx context.Context, q *ask, good *atomic.Int64) {
	var c client
	defer c.close()
	counts := make(map[string]int)
	for ctx.Err() == nil {
		ans, err := c.do(context.WithoutCancel(ctx), q)
		switch {
		case err != nil:
			l.fail(err.Error())
		case ans.status != http.StatusOK:
			l.fail(ans.label())
		default:
			good.Add(1)
			counts[ans.label()]++
		}
	}
	for label, n := range counts {
		l.seen.add(label, n)
	}
}

func (l *load) fail(why string) {
	l.failed.Add(1)
	select {
	case l.faults <- time.Since(l.began).Round(time.Millisecond).String() + " " + why:
	default: // enough of them are known
	}
}

func (l *load) good() int64 { return l.kept.Load() + l.fresh.Load() }

// stop ends the load and waits for the last answers.
func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// stopLoad waits until enough was sent, stops the load and judges it.
func (b *bed) stopLoad(ts *testscript.TestScript, least int64) {
	l := b.load
	b.load = nil
	last, since := int64(0), time.Now()
	err := b.longPoll(func() error {
		now := l.good()
		if now >= least || l.failed.Load() > 0 {
			return nil
		}
		if now > last {
			last, since = now, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("stuck at %d requests", now)
		}
		return errAgain
	})
	l.stop()
	ts.Check(err)
	took := time.Since(l.began)
	ts.Logf("load: %d answered over kept connections, %d over new ones, %d failed, in %v: %s",
		l.kept.Load(), l.fresh.Load(), l.failed.Load(), took.Round(time.Millisecond), l.seen)
	fmt.Fprintf(ts.Stdout(), "%s\n", l.seen)
	close(l.faults)
	var faults []string
	for f := range l.faults {
		faults = append(faults, f)
	}
	if n := l.failed.Load(); n > 0 {
		ts.Fatalf("%d of %d requests failed: %q", n, n+l.good(), faults)
	}
	if l.kept.Load() == 0 || l.fresh.Load() == 0 {
		ts.Fatalf("not both kinds of connections were used")
	}
}

// cmdReload changes a file N times, waits each time until the new table
// serves, and tells how long that took: reload N FILE FORM... [-blink GONE].
// The forms are taken in turn. With -blink, the middle change first writes
// the form GONE, and the next form at once after it.
func cmdReload(ts *testscript.TestScript, neg bool, args []string) {
	var gone string
	if at := slices.Index(args, "-blink"); at >= 0 && at == len(args)-2 {
		gone, args = args[at+1], args[:at]
	}
	if neg || len(args) < 4 {
		ts.Fatalf("usage: reload N FILE FORM FORM... [-blink GONE]")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	b, file, forms := bedOf(ts), args[1], args[2:]
	took := make([]time.Duration, 0, n)
	for i := range n {
		before := ""
		if gone != "" && i == n/2 {
			before = gone
		}
		took = append(took, b.change(ts, before, forms[i%len(forms)], file))
	}
	slices.Sort(took)
	ts.Logf("%d changes live: median %v, worst %v", n, took[n/2].Round(time.Millisecond), took[n-1].Round(time.Millisecond))
}
