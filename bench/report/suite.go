// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/sluice-mesh/sluice/bench"
)

// Suite writes the results of the suite for a terminal.
func Suite(w io.Writer, r *bench.Results) error {
	var b strings.Builder
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "%s (%s)\n", row.Title, row.Key)
		t := rowTable(&row)
		t.text(&b)
		for _, line := range append(ratios(&row), row.Notes...) {
			b.WriteString("  " + line + "\n")
		}
		b.WriteByte('\n')
	}
	t := goalTable(r)
	t.text(&b)
	for _, p := range r.Missing {
		fmt.Fprintf(&b, "left out: %s: %s\n", p.Name, p.Problem)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rowTable returns what was measured of each proxy in a row.
func rowTable(row *bench.RowResult) table {
	if row.Connections > 0 {
		t := table{head: []string{"proxy", "connections", "memory", "for a connection"}}
		for _, p := range row.Proxies {
			t.add(p.Name, count(row.Connections), size(float64(p.Median.Memory)), size(p.PerConnection))
		}
		return t
	}
	t := table{head: []string{"proxy", "requests/s", "CPU for a " + row.Unit, "CPU busy", "p50", "p99", "failed", "memory"}}
	for _, p := range row.Proxies {
		m := p.Median
		t.add(p.Name, rate(m.Rate), period(m.CPU), fmt.Sprintf("%.0f %%", 100*m.Busy),
			period(m.Latency.P50), period(m.Latency.P99), count(m.Failed), size(float64(m.Memory)))
	}
	return t
}

// ratios says how the first proxy of a row stands to the others.
func ratios(row *bench.RowResult) (lines []string) {
	for _, r := range row.Ratios {
		var parts []string
		add := func(name string, v bench.Ratio) {
			if v.Value > 0 {
				parts = append(parts, name+" "+spread(v))
			}
		}
		add("CPU", r.CPU)
		if !row.GeneratorBound {
			add("requests/s", r.Rate)
			add("p50", r.P50)
			add("p99", r.P99)
		}
		add("memory", r.Memory)
		if len(parts) > 0 {
			lines = append(lines, r.Name+" to "+r.Other+": "+strings.Join(parts, ", "))
		}
	}
	return lines
}

// goalTable returns the goals and how they stand.
func goalTable(r *bench.Results) table {
	t := table{head: []string{"goal", "row", "wanted", "reached", "verdict"}, words: []int{1, 4}}
	for _, g := range r.Goals {
		wanted, bound, reached := "at most ", times(g.Bound), spread(g.Reached)
		if g.AtLeast {
			wanted = "at least "
		}
		switch {
		case g.Bytes:
			bound = size(g.Bound)
			if g.Reached.Value != 0 {
				reached = size(g.Reached.Value)
			}
		case g.Nanoseconds:
			bound = fmt.Sprintf("%.0f ns", g.Bound)
			if g.Reached.Rounds != 0 {
				reached = fmt.Sprintf("%.0f ns (%.0f to %.0f)", g.Reached.Value, g.Reached.Low, g.Reached.High)
			}
		}
		verdict := g.Verdict
		if g.Why != "" {
			verdict += ": " + g.Why
		}
		t.add(g.Text, g.Row, wanted+bound, reached, verdict)
	}
	return t
}
