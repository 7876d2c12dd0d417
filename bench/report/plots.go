// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/bench"
)

// Plot is a picture of results.
type Plot struct {
	Name  string // of its file
	Title string
	SVG   []byte
}

// Plots returns the pictures of the suite's results: CPU ratios by row, and
// latencies by quantile of each row at a constant rate that nothing disturbed.
// Where there is nothing to show there is no picture.
func Plots(r *bench.Results) (plots []Plot) {
	if bars := cpuBars(r); len(bars.groups) > 0 {
		plots = append(plots, Plot{Name: "cpu.svg", Title: bars.title, SVG: bars.draw()})
	}
	for _, row := range r.Rows {
		if c := latencyCurves(&row); len(c.lines) > 0 {
			plots = append(plots, Plot{Name: "latency-" + row.Key + ".svg", Title: c.title, SVG: c.draw()})
		}
	}
	return plots
}

const (
	plotWidth = 760.0
	margin    = 24.0
)

// bars are groups of horizontal bars from zero. Colours begin with the second:
// the first is Sluice's own in all plots.
type bars struct {
	title  string
	names  []string // of the colours
	groups []group
}

// group is the bars below one heading.
type group struct {
	heading string
	bars    []bar
}

type bar struct {
	colour int
	value  float64
}

// cpuBars returns the CPU ratios of all rows that have any.
func cpuBars(r *bench.Results) bars {
	b := bars{title: "CPU time of Sluice for a request, as a ratio to the other's; less is better"}
	for _, row := range r.Rows {
		g := group{heading: row.Title}
		for _, ratio := range row.Ratios {
			if ratio.CPU.Value == 0 {
				continue
			}
			name := "to " + ratio.Other
			colour := slices.Index(b.names, name)
			if colour < 0 {
				colour = len(b.names)
				b.names = append(b.names, name)
			}
			g.bars = append(g.bars, bar{colour, ratio.CPU.Value})
		}
		if len(g.bars) > 0 {
			b.groups = append(b.groups, g)
		}
	}
	return b
}

func (b bars) draw() []byte {
	const barHeight, barGap, headingHeight, groupGap = 14.0, 4.0, 20.0, 12.0
	most, height := 1.0, 100.0
	for _, g := range b.groups {
		height += headingHeight + groupGap + float64(len(g.bars))*(barHeight+barGap)
		for _, x := range g.bars {
			most = max(most, x.value)
		}
	}
	d := drawing{width: plotWidth, height: height, title: b.title, story: b.story()}
	d.text(margin, 30, "", "start", b.title)
	top := d.legend(margin, 54, b.names, 1)
	// Figures stand in a column of their own, where no bar and no mark is.
	scale := (plotWidth - 2*margin - 50) / most
	y := top
	for _, g := range b.groups {
		y += headingHeight
		d.text(margin, y-6, "soft", "start", g.heading)
		for _, x := range g.bars {
			d.bar(margin, y, x.value*scale, barHeight, 1+x.colour)
			d.text(plotWidth-margin, y+barHeight-3, "", "end", times(x.value))
			y += barHeight + barGap
		}
		// The mark of 1 is as high as the bars, so that it crosses no heading.
		d.rule("mark", margin+scale, y-float64(len(g.bars))*(barHeight+barGap)-2, margin+scale, y-barGap+2)
		y += groupGap
	}
	return d.bytes()
}

// story says what the bars show, for those who do not see them.
func (b bars) story() string {
	var parts []string
	for _, g := range b.groups {
		var values []string
		for _, x := range g.bars {
			values = append(values, b.names[x.colour]+" "+times(x.value))
		}
		parts = append(parts, g.heading+": "+strings.Join(values, ", "))
	}
	return strings.Join(parts, ". ") + "."
}

// curves are latencies by quantile.
type curves struct {
	title string
	names []string
	lines [][]bench.Point
}

// latencyCurves returns the curves of a row at a constant rate, else none: in
// a closed loop latency only says how many requests wait.
func latencyCurves(row *bench.RowResult) curves {
	c := curves{}
	if row.Disturbed {
		return c
	}
	for _, p := range row.Proxies {
		if p.Median.Asked > 0 && len(p.Median.Curve) > 1 {
			c.names = append(c.names, p.Name)
			c.lines = append(c.lines, p.Median.Curve)
			c.title = "Latency at " + rate(p.Median.Asked) + " requests a second, by quantile; less is better"
		}
	}
	return c
}

// quantileAt places a quantile: each ten of nines is as wide as the one
// before.
func quantileAt(q float64) float64 { return -math.Log10(1 - q) }

func (c curves) draw() []byte {
	const height, left, bottom = 420.0, 78.0, 44.0
	d := drawing{width: plotWidth, height: height, title: c.title, story: c.story()}
	d.text(margin, 30, "", "start", c.title)
	top := d.legend(margin, 54, c.names, 0)
	// Half of the last quantile's label stands beyond its line.
	right, floor := plotWidth-margin-4*glyph, height-bottom
	low, high := c.bounds()
	furthest := 1.0
	for _, line := range c.lines {
		furthest = max(furthest, quantileAt(line[len(line)-1].Quantile))
	}
	x := func(q float64) float64 { return left + (right-left)*quantileAt(q)/furthest }
	y := func(m bench.Micros) float64 {
		return floor - (floor-top)*(math.Log10(float64(m))-low)/(high-low)
	}
	for e := low; e <= high; e++ {
		at := bench.Micros(math.Pow(10, e))
		d.rule("grid", left, y(at), right, y(at))
		d.text(left-8, y(at)+4, "soft", "end", period(at))
	}
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999} {
		if quantileAt(q) > furthest+1e-9 {
			break
		}
		d.rule("grid", x(q), top, x(q), floor)
		d.text(x(q), floor+20, "soft", "middle", strconv.FormatFloat(math.Round(q*1e6)/1e4, 'f', -1, 64)+" %")
	}
	for i, line := range c.lines {
		var points []float64
		for _, p := range line {
			points = append(points, x(p.Quantile), y(max(p.Latency, bench.Micros(math.Pow(10, low)))))
		}
		d.curve(points, i)
	}
	return d.bytes()
}

// bounds returns the powers of ten between which all latencies lie.
func (c curves) bounds() (low, high float64) {
	least, most := math.Inf(1), 1.0
	for _, line := range c.lines {
		for _, p := range line {
			least, most = min(least, max(1, float64(p.Latency))), max(most, float64(p.Latency))
		}
	}
	low = math.Floor(math.Log10(least))
	return low, max(low+1, math.Ceil(math.Log10(most)))
}

// story says what the curves show, for those who do not see them.
func (c curves) story() string {
	var parts []string
	for i, line := range c.lines {
		var values []string
		for _, p := range line {
			if p.Quantile == 0.5 || p.Quantile == 0.99 || p.Quantile == 0.999 {
				values = append(values, fmt.Sprintf("%g %% %s", 100*p.Quantile, period(p.Latency)))
			}
		}
		parts = append(parts, c.names[i]+": "+strings.Join(values, ", "))
	}
	return strings.Join(parts, ". ") + "."
}
