// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestClientsTellFates(t *testing.T) {
	q := request{id: 7, kind: get, size: 40}
	right, other := string(content(7, 40)), string(content(8, 40))
	head := "HTTP/1.1 200 OK\r\nX-Id: 7\r\nX-Route: a\r\nX-Epoch: 3\r\n"
	for _, tt := range []struct {
		name, answer string
		want         fate
		keep         bool
	}{
		{"all of the right answer is good", head + "Content-Length: 40\r\n\r\n" + right, good, true},
		{"its connection may end behind it", head + "Connection: close\r\nContent-Length: 40\r\n\r\n" + right, good, false},
		{"a failure with a reason is one", "HTTP/1.1 502 Bad Gateway\r\nSluice-Reason: upstream_reset\r\nContent-Length: 0\r\n\r\n", failed, true},
		{"a failure without a reason is wrong", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", wrong, true},
		{"less than the length is cut", head + "Content-Length: 40\r\n\r\n" + right[:39], cut, false},
		{"chunks without an end are cut", head + "Transfer-Encoding: chunked\r\n\r\n28\r\n" + right + "\r\n", cut, false},
		{"what is cut and another's is wrong", head + "Content-Length: 40\r\n\r\n" + other[:39], wrong, false},
		{"an end before the end is wrong", head + "Transfer-Encoding: chunked\r\n\r\n14\r\n" + right[:20] + "\r\n0\r\n\r\n", wrong, true},
		{"another's answer is wrong", strings.Replace(head, "7", "8", 1) + "Content-Length: 40\r\n\r\n" + other, wrong, true},
		{"another's content is wrong", head + "Content-Length: 40\r\n\r\n" + other, wrong, true},
		{"no answer is dropped", "", dropped, false},
		{"half a head is dropped", head, dropped, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{r: bufio.NewReader(strings.NewReader(tt.answer))}
			if o, keep := c.receive(q); o.fate != tt.want || keep != tt.keep {
				t.Errorf("it is %v, kept %v; want %s, %v", o, keep, tt.want, tt.keep)
			}
		})
	}
}

func TestOriginsAreHeldToTheirJournals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fate   fate
		times  int
		faults int
	}{
		{"answered and acted on", good, 1, 0},
		{"failed and acted on", failed, 1, 0},
		{"failed and not acted on", failed, 0, 0},
		{"answered and not acted on", good, 0, 1},
		{"answered and acted on twice", good, 2, 1},
		{"failed and acted on twice", failed, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			l.enter(request{id: 1, kind: post, post: true}, outcome{fate: tt.fate}, "")
			acted := make(map[uint64]int)
			if tt.times > 0 {
				acted[1] = tt.times
			}
			if l.compare(acted); len(l.faults) != tt.faults {
				t.Errorf("faults %q, want %d", l.faults, tt.faults)
			}
		})
	}
}

func TestMetricsAreHeldToTheBooks(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		accepted, resets, panic int
		missing                 int
		faults                  int
	}{
		{"they agree", 4, 1, 0, 0, 0},
		{"what a client left may have failed too", 4, 2, 0, 0, 0},
		{"one exchange more than was sent", 5, 1, 0, 0, 1},
		{"an exchange is missing", 3, 1, 0, 0, 1},
		{"a failure that was seen is missing", 4, 0, 0, 0, 1},
		{"a failure that nobody saw", 4, 3, 0, 0, 2},
		{"a panic", 4, 1, 1, 0, 1},
		{"one that is unaccounted for", 4, 1, 0, 1, 1},
		{"one that was counted twice", 4, 1, 0, -1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			for id, f := range []fate{good, good, failed, left} {
				l.enter(request{id: uint64(id)}, outcome{fate: f, reason: "upstream_reset"}, "")
			}
			l.balance(series{
				`sluice_gateway_requests_total{code="2xx"}`:                             float64(tt.accepted),
				`sluice_requests_total{code="2xx",route="a"}`:                           float64(tt.accepted),
				`sluice_gateway_proxy_errors_total{gateway="",reason="upstream_reset"}`: float64(tt.resets),
				"sluice_panics_total":                                                   float64(tt.panic),
				"sluice_exchanges_unaccounted":                                          float64(tt.missing),
			})
			if len(l.faults) != tt.faults {
				t.Errorf("faults %q, want %d", l.faults, tt.faults)
			}
		})
	}
}

func TestSamplesAreHeldToZero(t *testing.T) {
	for _, tt := range []struct {
		name    string
		samples []series
		want    string // in what is told; empty if all is right
	}{
		{"0 throughout", []series{{unaccounted: 0}, {unaccounted: 0}}, ""},
		{"one that was missing for a while", []series{{unaccounted: 0}, {unaccounted: 3}, {unaccounted: 0}}, "3 exchanges"},
		{"one that was counted twice", []series{{unaccounted: -1}}, "-1 exchanges"},
		{"the metric is missing", []series{{}}, "lack"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := new(watch)
			for _, m := range tt.samples {
				w.take(m, 0)
			}
			if (w.missing == "") != (tt.want == "") || !strings.Contains(w.missing, tt.want) || w.samples != len(tt.samples) {
				t.Errorf("%d samples tell %q, want %q", w.samples, w.missing, tt.want)
			}
		})
	}
}

func TestInvariantsAreToldByLine(t *testing.T) {
	l := newLedger()
	for id, f := range []fate{good, good, failed, left} {
		l.enter(request{id: uint64(id), post: id == 1}, outcome{fate: f}, "")
	}
	lines := l.invariants(series{
		`sluice_gateway_requests_total{code="2xx"}`:                              4,
		`sluice_gateway_proxy_errors_total{gateway="",reason="upstream_reset"}`:  1,
		`sluice_gateway_proxy_errors_total{gateway="",reason="request_aborted"}`: 1,
	}, map[uint64]int{1: 1}, &watch{samples: 7})
	for _, want := range []string{
		"accepted 4 = answered 2 + failed by the proxy 1 + cut short 0 + left by their clients 1",
		"accepted 4 = answered by an origin 2 + own failures 1 + aborted by clients 1",
		"POSTs acted on 1 = acted on once 1 = answered 1 + not answered 0",
		"unaccounted for: 0 throughout (7 samples), 0 = 0 in the end",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is not told in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func TestSplitsAreHeldToTheirWeights(t *testing.T) {
	for _, tt := range []struct {
		name          string
		a, b, unknown int
		off           bool
	}{
		{"exact", 30, 70, 0, false},
		{"two off", 32, 68, 0, false},
		{"three off", 33, 67, 0, true},
		{"three off and one unknown", 33, 67, 1, false},
		{"a route that starves", 0, 100, 5, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSplits(newEvents(), func(int, int, int) error { return nil })
			if _, err := s.next(30); err != nil {
				t.Fatal(err)
			}
			for route, n := range map[string]int{"a": tt.a, "b": tt.b} {
				for range n {
					if err := s.note(outcome{epoch: 1, route: route}, 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range tt.unknown {
				if err := s.note(outcome{}, 1); err != nil {
					t.Fatal(err)
				}
			}
			faults := s.check()
			if strings.Contains(fmt.Sprint(faults), "table 1:") != tt.off {
				t.Errorf("faults %v, want some: %v", faults, tt.off)
			}
			if err := s.note(outcome{epoch: 2, route: "a"}, 1); err == nil {
				t.Error("a table that was not written is taken for one")
			}
		})
	}
}
