// SPDX-License-Identifier: Apache-2.0

package book_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/sluice-mesh/sluice/control/agent/report"
	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/metrics"
)

const here = "default/default"

// toHere puts all gateways into one namespace.
func toHere(string) string { return here }

// clock is a time that tests set.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }
func (c *clock) read() time.Time      { return c.now }

// proxy counts, and tells what it counted.
type proxy struct {
	name     string
	clock    *clock
	registry *metrics.Registry
	reporter *report.Reporter
}

func newProxy(name string, c *clock) *proxy {
	p := &proxy{name: name, clock: c}
	p.restart()
	return p
}

func (p *proxy) restart() {
	p.registry = metrics.New(metrics.Options{Shards: 1, Reasons: []string{"none", "connect_refused", "overloaded"}, Now: p.clock.read})
	p.reporter = report.New(p.registry)
}

// route returns a route, with its gateway set up as all proxies have it.
func (p *proxy) route(path string) *metrics.Route {
	gw := p.registry.Gateway("shop")
	a, b := gw.Route("a"), gw.Route("b")
	gw.SetShares([]metrics.Share{{Route: a, Asked: 0.75}, {Route: b, Asked: 0.25}})
	gw.SetConditions([]metrics.ConditionKey{{Route: "b", Condition: "c"}, {Route: "b", Condition: "d"}})
	return gw.Route(path)
}

// tell has a book take in all that is to be told.
func (p *proxy) tell(b *book.Book) {
	for m := p.reporter.Next(); m != nil; m = p.reporter.Next() {
		b.Counters(p.name, toHere, m)
	}
}

// text shows all merged series.
func text(t *testing.T, b *book.Book) string {
	t.Helper()
	families, err := b.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// exchange is one that happens at some proxy.
type exchange struct {
	route   string
	way     metrics.Way
	held    int
	outcome metrics.Observation
}

func randomExchange(r *rand.Rand) exchange {
	e := exchange{route: []string{"a", "b"}[r.IntN(2)], way: metrics.Way(r.IntN(int(metrics.Ways))), held: r.IntN(3)}
	e.outcome = metrics.Observation{
		Code:     []int{0, 200, 200, 200, 301, 404, 503}[r.IntN(7)],
		Duration: time.Duration(r.Int64N(int64(time.Second))) >> r.IntN(20) << r.IntN(8),
		BytesIn:  r.Int64N(1000), BytesOut: r.Int64N(100_000),
		Reason: uint8(r.IntN(3)),
	}
	if r.IntN(4) > 0 {
		e.outcome.Upstream = e.outcome.Duration / 2
	}
	return e
}

func (e *exchange) begin(p *proxy) *metrics.Route {
	route := p.route(e.route)
	p.registry.Gateway("shop").Conditions().Asked(0, e.held, e.way == metrics.ByCondition)
	[...]func(uint32){route.Begin, route.BeginTaken, route.BeginKept}[e.way](0)
	return route
}

// What several proxies tell, who restart and whose messages are lost, is what
// one would that saw everything.
func TestMergedFiguresAreThoseOfOneProxy(t *testing.T) {
	for _, tt := range []struct {
		name     string
		proxies  int
		restarts bool
		losses   bool
	}{
		{"one", 1, false, false},
		{"five", 5, false, false},
		{"five that restart", 5, true, false},
		{"five whose messages are lost", 5, false, true},
		{"five that restart and whose messages are lost", 5, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(10) {
				r := rand.New(rand.NewPCG(seed, 1))
				c := newClock()
				merged, whole := book.New(book.Options{Now: c.read}), book.New(book.Options{Now: c.read})
				one := newProxy("one", c)
				proxies := make([]*proxy, tt.proxies)
				for i := range proxies {
					proxies[i] = newProxy("proxy-"+strconv.Itoa(i), c)
				}
				for range 60 {
					for range r.IntN(30) {
						e := randomExchange(r)
						p := proxies[r.IntN(len(proxies))]
						e.begin(p).End(0, &e.outcome)
						e.begin(one).End(0, &e.outcome)
					}
					c.pass(time.Second)
					one.tell(whole)
					for _, p := range proxies {
						if tt.losses && r.IntN(5) == 0 { // the session breaks
							p.reporter.Next()
							merged.Left(p.name)
							p.reporter.Reset()
							continue
						}
						p.tell(merged)
						if tt.restarts && r.IntN(10) == 0 {
							p.restart()
						}
					}
				}
				for _, p := range proxies { // so that all told of both routes
					for _, route := range []string{"a", "b"} {
						e := exchange{route: route, outcome: metrics.Observation{Code: 200}}
						e.begin(p).End(0, &e.outcome)
						e.begin(one).End(0, &e.outcome)
					}
				}
				c.pass(time.Second)
				one.tell(whole)
				for _, p := range proxies {
					p.tell(merged)
				}
				if got, want := text(t, merged), text(t, whole); got != want {
					t.Fatalf("seed %d: merged are\n%s", seed, difference(got, want))
				}
				for _, window := range []time.Duration{book.Short, book.Middle, book.Long} {
					if (tt.losses || tt.restarts) && window != book.Long {
						continue // when it happened is not known exactly
					}
					got, _ := merged.Gateway(here, "shop", window)
					want, _ := whole.Gateway(here, "shop", window)
					// This alone is about proxies.
					want.Proxies = len(proxies)
					for i := range want.Routes {
						want.Routes[i].Proxies = len(proxies)
					}
					if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
						t.Fatalf("seed %d, %v: merged are\n%+v\nwant\n%+v", seed, window, got, want)
					}
				}
			}
		})
	}
}

// difference returns the lines that are in one text alone.
func difference(got, want string) string {
	var out strings.Builder
	show := func(mark, a, b string) {
		has := map[string]bool{}
		for line := range strings.Lines(b) {
			has[line] = true
		}
		for line := range strings.Lines(a) {
			if !has[line] {
				out.WriteString(mark + line)
			}
		}
	}
	show("got  ", got, want)
	show("want ", want, got)
	return out.String()
}
