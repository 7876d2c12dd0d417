// SPDX-License-Identifier: Apache-2.0

package prom_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/metrics/prom"
)

// BenchmarkExchange compares what it costs to count one exchange of a gateway
// and a route: its class, two durations, two sizes, the number in flight and
// how its route was chosen. client_golang counts the route alone, without how
// it was chosen, into histograms of the same classic buckets.
func BenchmarkExchange(b *testing.B) {
	o := metrics.Observation{Code: 200, Duration: 3 * time.Millisecond, Upstream: 2 * time.Millisecond, BytesIn: 300, BytesOut: 5000}
	route := metrics.New(metrics.Options{}).Gateway("shop").Route("canary")
	b.Run("begin and end", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			route.Begin(1)
			route.End(1, &o)
		}
	})
	b.Run("end", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			route.End(1, &o)
		}
	})
	missing := o
	missing.Code = 404
	b.Run("begin and end, not a 2xx", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			route.Begin(1)
			route.End(1, &missing)
		}
	})
	rival := newRival()
	b.Run("client_golang, pre-bound", func(b *testing.B) {
		bound := rival.bind("shop", "canary", "2xx")
		b.ReportAllocs()
		for b.Loop() {
			bound.inFlight.Inc()
			bound.end(&o)
		}
	})
	b.Run("client_golang, WithLabelValues", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bound := rival.bind("shop", "canary", "2xx")
			bound.inFlight.Inc()
			bound.end(&o)
		}
	})
}

// BenchmarkExchangeParallel is BenchmarkExchange on all processors at once.
func BenchmarkExchangeParallel(b *testing.B) {
	o := metrics.Observation{Code: 200, Duration: 3 * time.Millisecond, Upstream: 2 * time.Millisecond, BytesIn: 300, BytesOut: 5000}
	b.Run("begin and end", func(b *testing.B) {
		route := metrics.New(metrics.Options{}).Gateway("shop").Route("canary")
		shards := make(chan uint32, 1024)
		for i := range uint32(cap(shards)) {
			shards <- i
		}
		b.RunParallel(func(pb *testing.PB) {
			shard := <-shards
			for pb.Next() {
				route.Begin(shard)
				route.End(shard, &o)
			}
		})
	})
	b.Run("client_golang, pre-bound", func(b *testing.B) {
		bound := newRival().bind("shop", "canary", "2xx")
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				bound.inFlight.Inc()
				bound.end(&o)
			}
		})
	})
}

// rival holds the same series in client_golang.
type rival struct {
	requests, in, out  *prometheus.CounterVec
	duration, upstream *prometheus.HistogramVec
	inFlight           *prometheus.GaugeVec
}

func newRival() *rival {
	labels := []string{"gateway", "route"}
	counter := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
	}
	histogram := func(name string) *prometheus.HistogramVec {
		o := prometheus.HistogramOpts{Name: name}
		for i := 0; i < metrics.Bounds; i += 2 {
			o.Buckets = append(o.Buckets, metrics.Bound(i))
		}
		return prometheus.NewHistogramVec(o, labels)
	}
	return &rival{
		requests: counter("requests_total", "gateway", "route", "code"),
		in:       counter("in_total", labels...),
		out:      counter("out_total", labels...),
		duration: histogram("duration_seconds"),
		upstream: histogram("upstream_seconds"),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "in_flight", Help: "In flight."}, labels),
	}
}

// bound is a route's series in client_golang.
type bound struct {
	requests, in, out  prometheus.Counter
	duration, upstream prometheus.Observer
	inFlight           prometheus.Gauge
}

func (r *rival) bind(gateway, route, code string) bound {
	return bound{
		r.requests.WithLabelValues(gateway, route, code),
		r.in.WithLabelValues(gateway, route), r.out.WithLabelValues(gateway, route),
		r.duration.WithLabelValues(gateway, route), r.upstream.WithLabelValues(gateway, route),
		r.inFlight.WithLabelValues(gateway, route),
	}
}

func (b *bound) end(o *metrics.Observation) {
	b.requests.Inc()
	b.in.Add(float64(o.BytesIn))
	b.out.Add(float64(o.BytesOut))
	b.duration.Observe(o.Duration.Seconds())
	b.upstream.Observe(o.Upstream.Seconds())
	b.inFlight.Dec()
}

// BenchmarkScrape answers for 1,000 routes that have all counted something.
func BenchmarkScrape(b *testing.B) {
	r := metrics.New(metrics.Options{})
	for i := range 1000 {
		route := r.Gateway("shop").Route("route-" + strconv.Itoa(i))
		for d := time.Duration(100_000); d < 10*time.Second; d *= 2 {
			route.Begin(0)
			route.End(0, &metrics.Observation{Code: 200, Duration: d, Upstream: d})
		}
	}
	h := prom.Handler(r)
	for _, tt := range []struct{ name, accept string }{
		{"text", ""},
		{"protobuf", protobuf},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", http.NoBody)
			req.Header.Set("Accept", tt.accept)
			for b.Loop() {
				w := &counting{header: http.Header{}}
				h.ServeHTTP(w, req)
				b.ReportMetric(float64(w.n)/1e6, "MB/scrape")
			}
		})
	}
}

// counting is a ResponseWriter that keeps nothing but the size.
type counting struct {
	header http.Header
	n      int
}

func (w *counting) Header() http.Header         { return w.header }
func (w *counting) WriteHeader(int)             {}
func (w *counting) Write(p []byte) (int, error) { w.n += len(p); return io.Discard.Write(p) }
