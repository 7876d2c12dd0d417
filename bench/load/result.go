// SPDX-License-Identifier: Apache-2.0

package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what came back in the measured time. It is not safe for
// concurrent use.
type Result struct {
	// Elapsed is how long was measured: the plan's duration, or until the last
	// of its requests was done, or until the context ended.
	Elapsed time.Duration
	// Requests were answered, with whatever status.
	Requests int64
	// Status counts the answers by class: Status[2] those from 200 to 299, and
	// Status[0] those whose status is none of HTTP's.
	Status [6]int64
	// Errors counts the requests that failed, by kind; kinds that did not occur
	// are missing. The kinds: "connect" (no connection could be made in time),
	// "reset" (it was broken off), "timeout" (no whole answer in time), "closed"
	// (the peer ended it before the answer was whole), "protocol" (the answer is
	// not HTTP).
	Errors map[string]int64
	// BytesIn and BytesOut are what the connections carried, heads and bodies,
	// without what TLS and TCP add.
	BytesIn, BytesOut int64
	// Connections were open when the measured time began or opened in it.
	Connections int64
	// Latency holds the latencies in nanoseconds, with 3 significant figures
	// from 1 µs to 60 s; what lies outside counts as the nearer bound.
	Latency *hdrhistogram.Histogram
	// ByRequest holds the same by index of the mix. It is nil where the mix has
	// one entry.
	ByRequest []*hdrhistogram.Histogram
	// Scheduled requests were due in the measured time of an open loop. Of these
	// Unsent were not sent, for want of a free connection, and Unanswered were
	// sent and had no answer by the end. A closed loop leaves all three zero.
	Scheduled, Unsent, Unanswered int64
	// Behind is the largest lag of an open loop's generator itself: how long a
	// request was due and had a free connection before it was sent.
	Behind time.Duration
}

// Rate returns the answers a second, zero if nothing was measured.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

// Failed returns how many requests failed: the sum of Errors. Answers with a
// status of failure are answers; they are counted in Status.
func (r *Result) Failed() int64 {
	var n int64
	for _, k := range r.Errors {
		n += k
	}
	return n
}

// Progress is how far a run has come.
type Progress struct {
	// Elapsed is the time since the warm-up began, Total what it will be at the
	// end unless the bound on requests ends it sooner.
	Elapsed, Total time.Duration
	// Warmup tells that the measured time has not begun.
	Warmup bool
	// Requests and Failed count from the beginning of the measured time, or of
	// the warm-up while that lasts.
	Requests, Failed int64
	// P50 and P99 are of the answers since the last progress, with 2 significant
	// figures; zero if there were none.
	P50, P99 time.Duration
}

// newHistogram returns one that takes the latencies of requests.
func newHistogram(figures int) *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), figures)
}

// shortest and longest bound what a histogram tells apart.
const (
	shortest = time.Microsecond
	longest  = time.Minute
)
