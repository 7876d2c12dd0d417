// SPDX-License-Identifier: Apache-2.0

package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// kind is a kind of failure.
type kind int

const (
	failedConnect kind = iota
	failedReset
	failedTimeout
	failedClosed
	failedProtocol
	kinds
)

// kindNames are what Result.Errors calls them.
var kindNames = [kinds]string{"connect", "reset", "timeout", "closed", "protocol"}

// tally counts what a run does. It allocates nothing while it counts.
type tally struct {
	answered, failed int64
	status           [6]int64
	errors           [kinds]int64
	in, out          int64
	connections      int64
	scheduled        int64
	unsent           int64
	unanswered       int64
	behind           int64
	latency          *hdrhistogram.Histogram
	byRequest        []*hdrhistogram.Histogram // nil for a mix of one
	interval         *hdrhistogram.Histogram   // since the last progress, nil if nobody asks
}

// newTally returns a tally for a mix of so many kinds of requests.
func newTally(requests int, progress bool) tally {
	t := tally{latency: newHistogram(3)}
	if requests > 1 {
		t.byRequest = make([]*hdrhistogram.Histogram, requests)
		for i := range t.byRequest {
			t.byRequest[i] = newHistogram(3)
		}
	}
	if progress {
		t.interval = newHistogram(2)
	}
	return t
}

// restart forgets all but the connections that are open.
func (t *tally) restart(open int64) {
	t.latency.Reset()
	for _, h := range t.byRequest {
		h.Reset()
	}
	if t.interval != nil {
		t.interval.Reset()
	}
	*t = tally{connections: open, latency: t.latency, byRequest: t.byRequest, interval: t.interval}
}

// answer counts an answer that took so many nanoseconds.
func (t *tally) answer(request int32, status int, took int64) {
	t.answered++
	class := status / 100
	if class >= len(t.status) {
		class = 0
	}
	t.status[class]++
	took = t.took(request, took)
	if t.interval != nil {
		_ = t.interval.RecordValue(took)
	}
}

// took records a latency and returns it within the bounds of the histograms,
// so that recording cannot fail.
func (t *tally) took(request int32, ns int64) int64 {
	ns = min(max(ns, int64(shortest)), int64(longest))
	_ = t.latency.RecordValue(ns)
	if t.byRequest != nil {
		_ = t.byRequest[request].RecordValue(ns)
	}
	return ns
}

// fail counts a request that failed.
func (t *tally) fail(k kind) {
	t.failed++
	t.errors[k]++
}

// quantiles returns the median and the 99th percentile since they were asked
// for last.
func (t *tally) quantiles() (p50, p99 time.Duration) {
	p50 = time.Duration(t.interval.ValueAtQuantile(50))
	p99 = time.Duration(t.interval.ValueAtQuantile(99))
	t.interval.Reset()
	return p50, p99
}

// result returns what was counted in the given time.
func (t *tally) result(elapsed time.Duration) *Result {
	r := &Result{
		Elapsed: elapsed, Requests: t.answered, Status: t.status, Errors: map[string]int64{},
		BytesIn: t.in, BytesOut: t.out, Connections: t.connections,
		Latency: t.latency, ByRequest: t.byRequest,
		Scheduled: t.scheduled, Unsent: t.unsent, Unanswered: t.unanswered, Behind: time.Duration(t.behind),
	}
	for k, n := range t.errors {
		if n > 0 {
			r.Errors[kindNames[k]] = n
		}
	}
	return r
}
