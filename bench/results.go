// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Results are what a run of the suite found.
type Results struct {
	Machine Machine   `json:"machine"`
	Commit  string    `json:"commit,omitempty"`
	Command string    `json:"command"`
	Began   time.Time `json:"began"`
	// Rounds of Seconds each, of every proxy in every row.
	Rounds  int     `json:"rounds"`
	Seconds float64 `json:"round_seconds"`
	// Settle is how long idle connections were left alone, in seconds.
	Settle float64 `json:"settle_seconds"`
	// Pinned tells that the proxies had CPU 0 to themselves.
	Pinned  bool         `json:"pinned"`
	Proxies []Program    `json:"proxies"`
	Missing []Program    `json:"missing,omitempty"`
	Rows    []RowResult  `json:"rows"`
	Goals   []GoalResult `json:"goals"`
}

// Program is a proxy of the suite.
type Program struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Problem string `json:"problem,omitempty"` // why it is missing, and what to do
}

// RowResult is what was measured in a row.
type RowResult struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Unit  string `json:"unit"` // what CPU is counted per
	Loop  string `json:"loop"` // closed loop, open loop or idle
	// Direct is the rate without any proxy; zero where it says nothing.
	Direct float64 `json:"direct_rate,omitempty"`
	// Connections is how many were idle at each proxy.
	Connections int `json:"idle_connections,omitempty"`
	// GeneratorBound tells that the direct rate is too near to the fastest
	// proxy's, so that of the ratios only that of CPU counts.
	GeneratorBound bool `json:"generator_bound"`
	// Disturbed tells that a proxy did not have its CPU, or that an asked rate
	// did not come about, so that rates and latencies are in doubt.
	Disturbed bool          `json:"disturbed"`
	Proxies   []ProxyResult `json:"proxies"`
	Ratios    []RowRatio    `json:"ratios,omitempty"`
	Notes     []string      `json:"notes,omitempty"`
}

// ProxyResult is what a row found of one proxy.
type ProxyResult struct {
	Name   string        `json:"name"`
	Median Measurement   `json:"median"`
	Rounds []Measurement `json:"rounds,omitempty"`
	// PerConnection is by how many bytes each idle connection made the proxy
	// larger.
	PerConnection float64 `json:"bytes_per_connection,omitempty"`
}

// RowRatio is how the first proxy of a row stands to another one.
type RowRatio struct {
	Name  string `json:"name"`
	Other string `json:"other"`
	CPU   Ratio  `json:"cpu"`
	Rate  Ratio  `json:"rate"`
	P50   Ratio  `json:"p50"`
	P99   Ratio  `json:"p99"`
	// Memory is of bytes for each connection where they are idle, else of all
	// that is resident.
	Memory Ratio `json:"memory"`
}

// headroom is by what the direct rate must exceed the fastest proxy's for
// rates and latencies to be those of the proxies.
const headroom = 1.5

// leastBusy is how busy the CPU of a proxy is at least in a closed loop that
// nothing disturbs.
const leastBusy = 0.9

// Judge completes a row of which the rounds are known: medians, ratios of the
// first proxy to the others, and what keeps the figures from being trusted.
// The proxies had a CPU to themselves if pinned. It is called once.
func (r *RowResult) Judge(pinned bool) {
	fastest := 0.0
	for i := range r.Proxies {
		p := &r.Proxies[i]
		p.Median, p.Rounds = summed(p.Rounds)
		fastest = max(fastest, p.Median.Rate)
	}
	r.GeneratorBound = r.Direct > 0 && r.Direct < headroom*fastest || r.unmeasured(pinned)
	r.Ratios = nil
	for _, other := range r.Proxies[min(1, len(r.Proxies)):] {
		r.Ratios = append(r.Ratios, r.ratio(other))
	}
	r.Notes = append(r.Notes, r.notes(pinned, fastest)...)
}

// unmeasured reports whether the generator, whose own rate is not known, kept
// a proxy waiting: the rates of all that are as fast or faster are its own.
func (r *RowResult) unmeasured(pinned bool) bool {
	return pinned && r.Loop == closedLoop.String() && r.Direct == 0 && slices.ContainsFunc(r.Proxies, func(p ProxyResult) bool {
		return p.Median.Busy > 0 && p.Median.Busy < leastBusy
	})
}

func (r *RowResult) ratio(other ProxyResult) RowRatio {
	first := r.Proxies[0]
	ratio := RowRatio{
		Name: first.Name, Other: other.Name,
		CPU:    RatioOf(first.Rounds, other.Rounds, cpuOf),
		Rate:   RatioOf(first.Rounds, other.Rounds, rateOf),
		P50:    RatioOf(first.Rounds, other.Rounds, p50Of),
		P99:    RatioOf(first.Rounds, other.Rounds, p99Of),
		Memory: RatioOf(first.Rounds, other.Rounds, func(m Measurement) float64 { return float64(m.Memory) }),
	}
	if r.Loop == idle.String() {
		ratio.Memory = Ratio{}
		if other.PerConnection > 0 {
			q := first.PerConnection / other.PerConnection
			ratio.Memory = Ratio{Value: q, Low: q, High: q, Rounds: 1}
		}
	}
	return ratio
}

// notes says what a reader has to know before using the figures, and marks
// the row as disturbed if it was.
func (r *RowResult) notes(pinned bool, fastest float64) (notes []string) {
	switch {
	case r.GeneratorBound && r.Direct == 0:
		notes = append(notes, "generator-bound: it kept a proxy waiting; only the ratios of CPU count")
	case r.GeneratorBound:
		notes = append(notes, fmt.Sprintf("generator-bound: without a proxy %.0f requests a second, less than %.1f times the fastest proxy's %.0f; only the ratios of CPU count",
			r.Direct, headroom, fastest))
	}
	if r.Key == handshakes {
		notes = append(notes, r.handshakes())
	}
	for _, p := range r.Proxies {
		m := p.Median
		if m.Failed > 0 || m.Requests > 0 && m.Succeeded() < m.Requests {
			notes = append(notes, fmt.Sprintf("%s: %d requests failed and %d had an error for an answer", p.Name, m.Failed, m.Requests-m.Succeeded()))
		}
		if !m.Reached() {
			r.Disturbed = true
			notes = append(notes, fmt.Sprintf("%s: only %.0f of the %.0f requests a second that were asked", p.Name, m.Rate, m.Asked))
		}
		if r.Loop == closedLoop.String() && pinned && !r.GeneratorBound && m.Busy > 0 && m.Busy < leastBusy {
			r.Disturbed = true
			notes = append(notes, fmt.Sprintf("%s: its CPU was only %.0f %% busy; something disturbed the run, or the generator and the origin had no more to give", p.Name, 100*m.Busy))
		}
	}
	return notes
}

// handshakes is the key of the row about them.
const handshakes = "handshakes"

// handshakes says how many handshakes, with a request each, one CPU can do in
// a second, which the rate does not tell where the generator is slower.
func (r *RowResult) handshakes() string {
	var parts []string
	for _, p := range r.Proxies {
		if p.Median.CPU > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f", p.Name, 1e6/float64(p.Median.CPU)))
		}
	}
	return "full handshakes that one CPU can do in a second, by what each takes: " + strings.Join(parts, ", ")
}

// row returns a row of the results, or nil.
func (r *Results) row(key string) *RowResult {
	i := slices.IndexFunc(r.Rows, func(row RowResult) bool { return row.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Rows[i]
}

// against returns the ratios to a proxy, or nil.
func (r *RowResult) against(other string) *RowRatio {
	i := slices.IndexFunc(r.Ratios, func(q RowRatio) bool { return q.Other == other })
	if i < 0 {
		return nil
	}
	return &r.Ratios[i]
}
