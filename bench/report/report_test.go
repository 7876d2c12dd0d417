// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench"
	"github.com/sluice-mesh/sluice/bench/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test -update writes it anew. Got:\n%s", path, got)
	}
}

// round is a made-up round.
func round(rate float64, cpu, p50 bench.Micros) bench.Measurement {
	m := bench.Measurement{
		Requests: int64(rate), Status: map[string]int64{"2xx": int64(rate)}, Errors: map[string]int64{},
		Seconds: 1, Rate: rate, CPU: cpu, Busy: 0.97, Memory: 20 << 20, Connections: 64,
		Latency: bench.Latency{P50: p50, P90: p50 * 1.5, P99: p50 * 3, P999: p50 * 12, Max: p50 * 30},
	}
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999} {
		m.Curve = append(m.Curve, bench.Point{Quantile: q, Latency: p50 * bench.Micros(0.5+20*q*q*q*q*q*q*q*q)})
	}
	return m
}

// asked has a round be one of a constant rate.
func asked(m bench.Measurement, rate float64) bench.Measurement {
	m.Asked, m.Scheduled = rate, int64(rate)
	return m
}

func series(name string, rounds ...bench.Measurement) bench.Series {
	return bench.Series{Name: name, Median: bench.Medians(rounds), Rounds: rounds}
}

func TestComparison(t *testing.T) {
	mixed := round(900, 0, 700)
	mixed.Status = map[string]int64{"2xx": 890, "5xx": 9, "other": 1}
	mixed.Failed = 13
	mixed.Errors = map[string]int64{"connect": 1, "timeout": 12}
	mixed.ByKind = []bench.KindLatency{
		{Name: "browse", Requests: 810, Latency: bench.Latency{P50: 650, P90: 700, P99: 800, P999: 900, Max: 1000}},
		{Name: "order", Requests: 90, Latency: bench.Latency{P50: 1650, P90: 1700, P99: 1800, P999: 1900, Max: 2e6}},
	}
	late := asked(round(1000, 0, 300), 1000)
	late.Behind = 9000
	short := asked(round(400, 0, 90_000), 1000)
	short.Unsent = 600
	bound := asked(round(400, 0, 90_000), 1000)
	bound.Behind = 600_000
	silent := bench.Measurement{Seconds: 1, Failed: 5, Errors: map[string]int64{"connect": 5, "strange": 1}}
	for _, tt := range []struct {
		name string
		c    bench.Comparison
	}{
		{"one target in a closed loop", bench.Comparison{Targets: []bench.Series{series("shop.example", round(81234, 0, 700))}}},
		{"a mix, with errors", bench.Comparison{Targets: []bench.Series{series("shop.example", mixed)}}},
		{"a rate that came about, sent late once", bench.Comparison{Targets: []bench.Series{series("shop.example", late, late)}}},
		{"a rate that the target could not take", bench.Comparison{Targets: []bench.Series{series("shop.example", short)}}},
		{"a rate that the generator could not send", bench.Comparison{Targets: []bench.Series{series("shop.example", bound)}}},
		{"a target that answers nothing", bench.Comparison{Targets: []bench.Series{series("shop.example", silent)}}},
		{"two targets that differ, five rounds", bench.Comparison{
			Targets: []bench.Series{series("a:80", round(1000, 0, 100), round(1100, 0, 110), round(1050, 0, 90)), series("b:80", round(500, 0, 200))},
			Versus: []bench.Versus{{
				Name: "a:80", Other: "b:80",
				Rate: bench.Ratio{Value: 2.1, Low: 2, High: 2.2, Rounds: 5},
				P50:  bench.Ratio{Value: 0.5, Low: 0.45, High: 0.55, Rounds: 5},
				P90:  bench.Ratio{Value: 1.5, Low: 1.2, High: 1.9, Rounds: 5},
				P99:  bench.Ratio{Value: 0.9, Low: 0.8, High: 1.3, Rounds: 5},
				P999: bench.Ratio{Rounds: 5},
			}},
		}},
		{"two targets, one round", bench.Comparison{
			Targets: []bench.Series{series("a:80", round(1000, 0, 100)), series("b:80", round(500, 0, 200))},
			Versus: []bench.Versus{{
				Name: "a:80", Other: "b:80",
				Rate: bench.Ratio{Value: 0.5, Low: 0.5, High: 0.5, Rounds: 1},
				P50:  bench.Ratio{Value: 2, Low: 2, High: 2, Rounds: 1},
			}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := report.Comparison(&b, &tt.c); err != nil {
				t.Fatal(err)
			}
			golden(t, "compare-"+strings.NewReplacer(" ", "-", ",", "").Replace(tt.name)+".txt", b.Bytes())
		})
	}
}

// suite returns made-up results of each kind of row.
func suite() *bench.Results {
	row := func(key, title, unit, loop string, direct float64, proxies ...bench.ProxyResult) bench.RowResult {
		r := bench.RowResult{Key: key, Title: title, Unit: unit, Loop: loop, Direct: direct, Proxies: proxies}
		if loop == "idle" {
			r.Connections = 5000
		}
		r.Judge(true)
		return r
	}
	of := func(name string, rounds ...bench.Measurement) bench.ProxyResult {
		return bench.ProxyResult{Name: name, Rounds: rounds}
	}
	idle := func(name string, memory int64, each float64) bench.ProxyResult {
		return bench.ProxyResult{Name: name, PerConnection: each, Rounds: []bench.Measurement{{Memory: memory}}}
	}
	disturbed := round(70_000, 13.1, 900)
	disturbed.Busy = 0.8
	r := &bench.Results{
		Machine: bench.Machine{CPU: "Example CPU <1>", Cores: 2, Kernel: "Linux 6.1", Go: "go1.26"},
		Commit:  "0123456789ab", Command: "sluice bench suite --short", Began: time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC),
		Rounds: 2, Seconds: 1.5, Settle: 30, Pinned: true,
		Proxies: []bench.Program{{Name: "sluice", Version: "Sluice v0.1.0"}, {Name: "haproxy", Version: "HAProxy 2.6.12"}},
		Missing: []bench.Program{{Name: "nginx", Problem: "not installed; apt-get install nginx-light"}},
		Rows: []bench.RowResult{
			row("small", "128 B answers, 64 connections", "request", "closed loop", 240_000,
				of("sluice", round(110_000, 8.9, 500), round(112_000, 8.7, 510)), of("haproxy", round(86_000, 11.4, 700), round(87_000, 11.5, 720))),
			row("connect", "a new connection for each request, 32 at a time", "request", "closed loop", 41_000,
				of("sluice", round(37_000, 23, 500), round(38_000, 24, 510)), of("haproxy", round(39_000, 21, 700), disturbed)),
			row("half", "constant rate, half of HAProxy's maximum, 64 connections", "request", "open loop", 0,
				of("sluice", asked(round(43_000, 13.7, 150), 43_000)), of("haproxy", asked(round(43_000, 16.4, 166), 43_000))),
			row("post", "POST of 1 KiB, 64 connections", "request", "closed loop", 240_000,
				of("sluice", round(100_000, 9.8, 500)), of("haproxy", disturbed)),
			row("idle", "idle connections, each after one request", "connection", "idle", 0, idle("sluice", 60<<20, 5900), idle("haproxy", 30<<20, 1200)),
			row("gateways", "1,000 further gateways in the table", "request", "closed loop", 240_000,
				of("sluice, 1,000 further gateways", round(100_000, 9.6, 500)), of("sluice, 3 routes", round(110_000, 9, 500))),
		},
	}
	r.JudgeGoals()
	return r
}

func TestSuite(t *testing.T) {
	var text, markdown bytes.Buffer
	if err := report.Suite(&text, suite()); err != nil {
		t.Fatal(err)
	}
	golden(t, "suite.txt", text.Bytes())
	if err := report.Markdown(&markdown, suite(), "plots"); err != nil {
		t.Fatal(err)
	}
	golden(t, "suite.md", markdown.Bytes())
}

func TestPlots(t *testing.T) {
	plots := report.Plots(suite())
	var names []string
	for _, p := range plots {
		names = append(names, p.Name)
		golden(t, p.Name, p.SVG)
		boxes(t, p)
	}
	if got := strings.Join(names, " "); got != "cpu.svg latency-half.svg" {
		t.Errorf("plots %s, want one of CPU and one of latencies", got)
	}
	disturbed := suite()
	for i := range disturbed.Rows {
		disturbed.Rows[i].Disturbed = true
	}
	if plots := report.Plots(disturbed); len(plots) != 1 || plots[0].Name != "cpu.svg" {
		t.Errorf("%d plots of rows that were disturbed, want that of CPU alone", len(plots))
	}
	if plots := report.Plots(&bench.Results{}); len(plots) != 0 {
		t.Errorf("%d plots of nothing, want none", len(plots))
	}
}

// box is where a text stands.
type box struct {
	text                     string
	left, top, right, bottom float64
}

// boxes checks that a plot is well-formed, and that no text lies over another
// one or beyond the edge. Widths are estimated from above.
func boxes(t *testing.T, p report.Plot) {
	t.Helper()
	var width, height float64
	var all []box
	d := xml.NewDecoder(bytes.NewReader(p.SVG))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch start.Name.Local {
		case "svg":
			width, height = number(t, start, "width"), number(t, start, "height")
		case "text":
			var text string
			if err := d.DecodeElement(&text, &start); err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			all = append(all, boxOf(t, start, text))
		}
	}
	if len(all) < 5 {
		t.Fatalf("%s has %d texts, want headings and figures", p.Name, len(all))
	}
	for i, a := range all {
		if a.left < 0 || a.top < 0 || a.right > width || a.bottom > height {
			t.Errorf("%s: %q reaches beyond the edge", p.Name, a.text)
		}
		for _, b := range all[:i] {
			if a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom {
				t.Errorf("%s: %q lies over %q", p.Name, a.text, b.text)
			}
		}
	}
}

func boxOf(t *testing.T, start xml.StartElement, text string) box {
	t.Helper()
	const glyph, height, descent = 7.4, 11, 3
	x, y, w := number(t, start, "x"), number(t, start, "y"), glyph*float64(len([]rune(text)))
	switch attribute(start, "text-anchor") {
	case "middle":
		x -= w / 2
	case "end":
		x -= w
	}
	return box{text, x, y - height, x + w, y + descent}
}

func attribute(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func number(t *testing.T, start xml.StartElement, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(attribute(start, name), 64)
	if err != nil {
		t.Fatalf("%s of <%s>: %v", name, start.Name.Local, err)
	}
	return v
}

// full fails when it is written to.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsArePassedOn(t *testing.T) {
	if err := report.Comparison(full{}, &bench.Comparison{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Comparison error = %v, want that of the writer", err)
	}
	if err := report.Suite(full{}, suite()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Suite error = %v, want that of the writer", err)
	}
	if err := report.Markdown(full{}, suite(), "plots"); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Markdown error = %v, want that of the writer", err)
	}
}
