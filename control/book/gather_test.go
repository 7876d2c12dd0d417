// SPDX-License-Identifier: Apache-2.0

package book_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/metrics"
)

// The page of metrics names the families that are shown, each as what it is of
// the proxies.
func TestPageNamesTheMergedFamilies(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(sluice_\\w+)` \\| `(sluice_mesh_\\w+)` \\|$").FindAllStringSubmatch(string(page), -1) {
		if own := "sluice_" + strings.TrimPrefix(m[2], "sluice_mesh_"); own != m[1] {
			t.Errorf("%s is said to be %s of all proxies", m[1], m[2])
		}
		documented = append(documented, m[2])
	}
	c := newClock()
	p, b := newProxy("p", c), book.New(book.Options{Now: c.read})
	e := exchange{route: "a", way: metrics.ByWeight, held: 0, outcome: metrics.Observation{Code: 503, Duration: time.Second, Upstream: time.Second, Reason: 1}}
	e.begin(p).SetInstances(func() metrics.Instances { return metrics.Instances{Watched: true, States: [4]int{1}} })
	p.route("a").End(0, &e.outcome)
	c.pass(time.Second)
	p.tell(b)
	families, err := b.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, f := range families {
		shown = append(shown, f.GetName())
		for _, m := range f.GetMetric() {
			var names []string
			for _, l := range m.GetLabel() {
				names = append(names, l.GetName())
			}
			if !slices.IsSorted(names) || !slices.Contains(names, "namespace") {
				t.Errorf("%s has the labels %v", f.GetName(), names)
			}
		}
	}
	slices.Sort(documented)
	if !slices.Equal(shown, documented) {
		t.Errorf("shown are\n%s\nwant those of the page\n%s", strings.Join(shown, "\n"), strings.Join(documented, "\n"))
	}
}

// BenchmarkCounters takes in what a proxy with 100 busy routes tells each
// second.
func BenchmarkCounters(b *testing.B) {
	c := newClock()
	p, merged := newProxy("p", c), book.New(book.Options{Now: c.read})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		gw := p.registry.Gateway("shop")
		for i := range 100 {
			r := gw.Route(string(rune('a'+i%26)) + string(rune('a'+i/26)))
			for d := time.Millisecond; d < time.Second; d *= 2 {
				r.Begin(0)
				r.End(0, &metrics.Observation{Code: 200, Duration: d, Upstream: d, BytesIn: 10, BytesOut: 100})
			}
		}
		c.pass(time.Second)
		m := p.reporter.Next()
		b.StartTimer()
		merged.Counters("p", toHere, m)
	}
}
