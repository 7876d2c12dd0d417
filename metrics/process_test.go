// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

// values shows the process-wide numbers in a line each.
func values(r *metrics.Registry) []string {
	var lines []string
	for _, v := range r.Values() {
		var labels []string
		for _, l := range v.Labels {
			labels = append(labels, l.Name+"="+l.Value)
		}
		lines = append(lines, fmt.Sprintf("%s %s{%s} %v", v.Family.Kind, v.Family.Name, strings.Join(labels, ","), v.Value))
	}
	return lines
}

func TestValues(t *testing.T) {
	r := metrics.New(metrics.Options{Shards: 4})
	r.BuildInfo("1.2.3", "")
	r.TableVersion().Set(7)
	r.TableVersion().Set(8)
	r.TableAge(func() float64 { return 1 })
	r.TableAge(func() float64 { return 2.5 })
	r.TableRejected("invalid").Add(1, 2)
	r.TableRejected("invalid").Add(2, 1)
	r.TableRejected("conflict").Add(0, 1)
	open := r.ConnectionsOpen("client")
	open.Add(1, 5)
	open.Add(2, -3)
	r.RequestsRefused("no_gateway").Add(9, 4)
	r.Retries("connected").Add(0, 1)
	r.Panics().Add(0, 1)
	r.Counter("sluice_more_total", "More.", metrics.Label{Name: "b", Value: "1\xff"}, metrics.Label{Name: "a", Value: "2"}).Add(0, 1)
	want := []string{
		"gauge sluice_build_info{goversion=" + runtime.Version() + ",revision=unknown,version=1.2.3} 1",
		"gauge sluice_connections_open{kind=client} 2",
		"counter sluice_more_total{a=2,b=1\uFFFD} 1",
		"counter sluice_panics_total{} 1",
		"counter sluice_requests_refused_total{reason=no_gateway} 4",
		"counter sluice_retries_total{outcome=connected} 1",
		"counter sluice_series_overflow_total{} 0",
		"gauge sluice_table_age_seconds{} 2.5",
		"counter sluice_table_rejected_total{reason=conflict} 1",
		"counter sluice_table_rejected_total{reason=invalid} 3",
		"gauge sluice_table_version{} 8",
	}
	if got := values(r); !slices.Equal(got, want) {
		t.Errorf("values:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCounterIsTheSame(t *testing.T) {
	r := metrics.New(metrics.Options{})
	x, y := metrics.Label{Name: "x", Value: "1"}, metrics.Label{Name: "y", Value: "2"}
	if r.Counter("c_total", "C.", x, y) != r.Counter("c_total", "Other words.", y, x) {
		t.Error("the order of labels or the help makes another counter")
	}
	if r.Counter("c_total", "C.", x) == r.Counter("c_total", "C.", y) {
		t.Error("other labels make the same counter")
	}
}

func TestNameOfAnotherKindPanics(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(*metrics.Registry)
	}{
		{"a gauge as a counter", func(r *metrics.Registry) { r.Gauge("x", "X."); r.Counter("x", "X.") }},
		{"a family of routes", func(r *metrics.Registry) { r.Counter("sluice_requests_total", "X.") }},
		{"a counter of ours as a gauge", func(r *metrics.Registry) { r.Gauge("sluice_panics_total", "X.") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic, want one")
				}
			}()
			tt.use(metrics.New(metrics.Options{}))
		})
	}
}

func TestConcurrentCounters(t *testing.T) {
	r := metrics.New(metrics.Options{Shards: 3}) // rounded up to 4
	counter, gauge := r.Counter("c_total", "C."), r.Gauge("g", "G.")
	var all sync.WaitGroup
	for w := range uint32(8) {
		all.Go(func() {
			for range 1000 {
				counter.Add(w, 2)
				gauge.Add(w, 1)
				gauge.Add(w+1, -1)
			}
		})
	}
	all.Wait()
	if counter.Value() != 16_000 || gauge.Value() != 0 {
		t.Errorf("counter = %d, gauge = %d, want 16000, 0", counter.Value(), gauge.Value())
	}
}

func TestFamiliesHaveUsableNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range metrics.Families() {
		if seen[f.Name] || !strings.HasPrefix(f.Name, "sluice_") || f.Help == "" || !slices.IsSorted(f.Labels) {
			t.Errorf("%+v: want a name of its own with our prefix, a help text and labels in order", f)
		}
		if total := strings.HasSuffix(f.Name, "_total"); total != (f.Kind == metrics.KindCounter) {
			t.Errorf("%s is a %v", f.Name, f.Kind)
		}
		seen[f.Name] = true
	}
}

// What comes and goes is listed as it is when the numbers are read.
func TestGaugeEach(t *testing.T) {
	r := metrics.New(metrics.Options{Shards: 1})
	ends := map[string]float64{"b.crt": 2, "a.crt": 1}
	r.TLSCertificateNotAfter(func(yield func(string, float64) bool) {
		for file, at := range ends {
			if !yield(file, at) {
				return
			}
		}
		yield("a.crt", 99) // a second one does not count, unless it is the first
	})
	shown := func() []string {
		return slices.DeleteFunc(values(r), func(s string) bool { return !strings.Contains(s, "not_after") })
	}
	const name = "gauge sluice_tls_certificate_not_after_seconds"
	if got, want := shown(), []string{name + "{certificate=a.crt} 1", name + "{certificate=b.crt} 2"}; !slices.Equal(got, want) {
		t.Errorf("shown are %q, want %q", got, want)
	}
	delete(ends, "b.crt")
	if got, want := shown(), []string{name + "{certificate=a.crt} 1"}; !slices.Equal(got, want) {
		t.Errorf("shown are %q once one is gone, want %q", got, want)
	}
	r.TLSCertificateNotAfter(func(func(string, float64) bool) {})
	if got := shown(); len(got) != 0 {
		t.Errorf("shown are %q, want none", got)
	}
}

// A process may watch a cluster and a Marathon: none hides the other.
func TestSourcesAreShownBesideEachOther(t *testing.T) {
	r := metrics.New(metrics.Options{Shards: 1})
	for i, resource := range []string{"pods", "apps"} {
		r.Discovery(func(yield func(metrics.Discovery) bool) {
			yield(metrics.Discovery{Resource: resource, Objects: i + 1, Stale: float64(i)})
		})
	}
	got := slices.DeleteFunc(values(r), func(s string) bool { return !strings.Contains(s, "sluice_discovery_") })
	want := []string{
		"gauge sluice_discovery_held_back{resource=apps} 0", "gauge sluice_discovery_held_back{resource=pods} 0",
		"gauge sluice_discovery_objects{resource=apps} 2", "gauge sluice_discovery_objects{resource=pods} 1",
		"gauge sluice_discovery_stale_seconds{resource=apps} 1", "gauge sluice_discovery_stale_seconds{resource=pods} 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("shown are %q, want %q", got, want)
	}
}
