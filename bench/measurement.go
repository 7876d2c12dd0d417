// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"maps"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluice-mesh/sluice/bench/load"
)

// Micros is a duration in microseconds.
type Micros float64

// Duration returns m as a duration, to the nanosecond.
func (m Micros) Duration() time.Duration { return time.Duration(float64(m) * 1e3) }

func micros(d time.Duration) Micros { return Micros(float64(d) / 1e3) }

// Latency is the time from when a request was due, or sent in a closed loop,
// to the end of its answer, by quantile.
type Latency struct {
	P50  Micros `json:"p50_us"`
	P90  Micros `json:"p90_us"`
	P99  Micros `json:"p99_us"`
	P999 Micros `json:"p999_us"`
	Max  Micros `json:"max_us"`
}

// Point is one point of the curve of latencies.
type Point struct {
	Quantile float64 `json:"quantile"` // 0 to 1
	Latency  Micros  `json:"latency_us"`
}

// curveAt are the quantiles of a curve: each two halves what is left to 1.
var curveAt = []float64{
	0, 0.25, 0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.99975, 0.9999,
}

// Measurement is what one round of load gave, or several: counts are sums
// then, and everything else is the median.
type Measurement struct {
	Requests int64            `json:"requests"` // answered
	Failed   int64            `json:"failed"`   // sent, or meant to be, without an answer
	Status   map[string]int64 `json:"status"`   // answers by class, such as 2xx; "other" is none
	Errors   map[string]int64 `json:"errors"`   // failures by kind; see load.Result
	Seconds  float64          `json:"seconds"`  // measured time of a round
	Asked    float64          `json:"asked_rate,omitempty"`
	Rate     float64          `json:"rate"` // answers a second
	Latency  Latency          `json:"latency"`
	Curve    []Point          `json:"curve,omitempty"`
	ByKind   []KindLatency    `json:"by_kind,omitempty"` // where a mix has several
	BytesIn  int64            `json:"bytes_in"`
	BytesOut int64            `json:"bytes_out"`
	// Connections is how many were opened.
	Connections int64 `json:"connections"`
	// Scheduled and Unsent are for a rate that is asked: how many requests
	// were due, and how many of them found no free connection until the end.
	Scheduled int64 `json:"scheduled,omitempty"`
	Unsent    int64 `json:"unsent,omitempty"`
	// Behind is how late the generator itself was at most; no fault of what
	// is measured.
	Behind Micros `json:"behind_us,omitempty"`
	// GeneratorBusy is the share of the CPUs that the generator can use which
	// it used, 0 to 1; zero where the operating system does not tell.
	GeneratorBusy float64 `json:"generator_busy,omitempty"`
	// CPU is what a proxy took for a request, and Busy the share of one CPU
	// that it used; Memory is what it has resident afterwards, in bytes. They
	// are zero where no process is known.
	CPU    Micros  `json:"cpu_us,omitempty"`
	Busy   float64 `json:"busy,omitempty"`
	Memory int64   `json:"memory_bytes,omitempty"`
}

// KindLatency is how one kind of a mix fared.
type KindLatency struct {
	Name     string  `json:"name"`
	Requests int64   `json:"requests"`
	Latency  Latency `json:"latency"`
}

// measured takes a measurement from what the generator found.
func measured(p load.Plan, r *load.Result) Measurement {
	m := Measurement{
		Requests: r.Requests, Failed: r.Failed(), Seconds: r.Elapsed.Seconds(), Asked: p.Rate, Rate: r.Rate(),
		Status: make(map[string]int64), Errors: make(map[string]int64),
		BytesIn: r.BytesIn, BytesOut: r.BytesOut, Connections: r.Connections,
		Scheduled: r.Scheduled, Unsent: r.Unsent, Behind: micros(r.Behind),
		Latency: latencies(r.Latency),
	}
	for class, n := range r.Status {
		if n > 0 {
			m.Status[className(class)] = n
		}
	}
	maps.Copy(m.Errors, r.Errors)
	for _, q := range curveAt {
		m.Curve = append(m.Curve, Point{Quantile: q, Latency: at(r.Latency, q)})
	}
	if len(p.Mix) > 1 {
		for i, h := range r.ByRequest {
			m.ByKind = append(m.ByKind, KindLatency{Name: kindName(p.Mix[i], i), Requests: h.TotalCount(), Latency: latencies(h)})
		}
	}
	return m
}

func className(class int) string {
	if class == 0 {
		return "other"
	}
	return strconv.Itoa(class) + "xx"
}

func kindName(r load.Request, i int) string {
	if r.Name != "" {
		return r.Name
	}
	return "mix[" + strconv.Itoa(i) + "]"
}

func latencies(h *hdrhistogram.Histogram) Latency {
	return Latency{P50: at(h, 0.5), P90: at(h, 0.9), P99: at(h, 0.99), P999: at(h, 0.999), Max: micros(time.Duration(h.Max()))}
}

// at returns a quantile of a histogram of nanoseconds.
func at(h *hdrhistogram.Histogram, q float64) Micros {
	return micros(time.Duration(h.ValueAtQuantile(q * 100)))
}

// Succeeded returns how many requests were answered with a status below 400.
func (m Measurement) Succeeded() int64 {
	return m.Status["1xx"] + m.Status["2xx"] + m.Status["3xx"]
}

// tolerance is the share of an asked rate that may be missing before the
// rate counts as not reached.
const tolerance = 0.01

// Reached reports whether the rate that was asked came about; always in a
// closed loop, where none is asked.
func (m Measurement) Reached() bool { return m.Rate >= m.Asked*(1-tolerance) }

// saturated is how busy a generator is that cannot do more.
const saturated = 0.95

// shortest is how long a measurement lasts at least, in seconds, to tell
// whether the generator was busy: before that it only connects.
const shortest = 0.1

// GeneratorBound reports whether the generator was the limit, so that the
// measurement says more of it than of what it measured. A generator that
// misses an asked rate falls behind by as large a part of the time.
func (m Measurement) GeneratorBound() bool {
	if m.Asked == 0 {
		return m.GeneratorBusy >= saturated && m.Seconds >= shortest
	}
	return !m.Reached() && float64(m.Behind) >= m.Seconds*1e6*tolerance
}
