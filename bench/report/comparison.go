// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/bench"
)

// Comparison writes what was measured of one target or several: a table, and
// what it means.
func Comparison(w io.Writer, c *bench.Comparison) error {
	var b strings.Builder
	t := table{head: []string{"target", "requests/s", "p50", "p90", "p99", "p99.9", "max", "answers", "failed"}}
	for _, s := range c.Targets {
		m := s.Median
		t.add(append([]string{s.Name, rate(m.Rate)}, append(quantiles(m.Latency), count(m.Requests), count(m.Failed))...)...)
		for _, k := range m.ByKind {
			t.add(append([]string{"  " + k.Name, ""}, append(quantiles(k.Latency), count(k.Requests), "")...)...)
		}
	}
	t.text(&b)
	b.WriteByte('\n')
	for _, line := range Verdict(c) {
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func quantiles(l bench.Latency) []string {
	return []string{period(l.P50), period(l.P90), period(l.P99), period(l.P999), period(l.Max)}
}

// Verdict returns in sentences what a comparison means: of each target
// whether it did what was asked and what went wrong, then how the first one
// stands to each other one. Lines that belong to a heading are indented.
func Verdict(c *bench.Comparison) (lines []string) {
	for _, s := range c.Targets {
		lines = append(lines, s.Name+":")
		for _, line := range sentences(s) {
			lines = append(lines, "  "+line)
		}
	}
	for _, v := range c.Versus {
		lines = append(lines, versus(v)...)
	}
	return lines
}

// sentences says how one target fared.
func sentences(s bench.Series) []string {
	m := s.Median
	lines := []string{speed(m, len(s.Rounds)), answers(m)}
	for _, kind := range byCount(m.Errors) {
		lines = append(lines, fmt.Sprintf("%s failed: %s", things(m.Errors[kind], "request"), cmp.Or(failures[kind], kind)))
	}
	switch {
	case m.GeneratorBound():
		lines = append(lines, "generator-bound: the generator could not do more, so this is a measure of it; try a lower --rate, or send from another machine")
	case !m.Reached() && m.Unsent > 0:
		lines = append(lines, things(m.Unsent, "request")+" found no free connection: it is too slow for this rate; try more --connections, or a lower --rate")
	case m.Behind > max(m.Latency.P99, lateness):
		lines = append(lines, "the generator itself was once "+period(m.Behind)+" late, which no target is to blame for; quantiles near the maximum are in doubt")
	}
	return lines
}

// lateness is how late a generator may be once without a word of it: less is
// usual on a machine with other work to do.
const lateness bench.Micros = 5000

// speed says how many requests a second there were, and whether as many as
// were asked.
func speed(m bench.Measurement, rounds int) string {
	median := ""
	if rounds > 1 {
		median = fmt.Sprintf(" (median of %d rounds)", rounds)
	}
	switch {
	case m.Asked == 0:
		return rate(m.Rate) + " requests a second" + median + ", as fast as answers came"
	case m.Reached():
		return rate(m.Rate) + " requests a second" + median + ", as asked"
	default:
		return "only " + rate(m.Rate) + " of the " + rate(m.Asked) + " requests a second that were asked" + median
	}
}

// answers says which statuses there were.
func answers(m bench.Measurement) string {
	classes := byCount(m.Status)
	switch len(classes) {
	case 0:
		return "no request was answered"
	case 1:
		return "all " + things(m.Requests, "answer") + " " + classes[0]
	}
	parts := make([]string, 0, len(classes))
	for _, class := range classes {
		parts = append(parts, class+" "+count(m.Status[class])+" ("+share(m.Status[class], m.Requests)+")")
	}
	return "answers " + strings.Join(parts, ", ")
}

// byCount returns the keys of counts, the largest count first.
func byCount(counts map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// failures says what the kinds of errors mean, and what to look at.
var failures = map[string]string{
	"connect":  "no connection could be made; does it listen there, and may it have so many connections?",
	"reset":    "the connection was reset; did it end, or run out of connections?",
	"timeout":  "no answer within --timeout",
	"closed":   "the connection was closed in the middle of an exchange",
	"protocol": "the answer is not HTTP/1.1; is it the right port, and http rather than https?",
}

// versus says how the first target stands to another one.
func versus(v bench.Versus) []string {
	lines := []string{v.Name + " beside " + v.Other + ":"}
	for _, at := range []struct {
		name   string
		ratio  bench.Ratio
		slower bool // more is slower
	}{
		{"requests a second", v.Rate, false},
		{"p50", v.P50, true},
		{"p90", v.P90, true},
		{"p99", v.P99, true},
		{"p99.9", v.P999, true},
	} {
		lines = append(lines, fmt.Sprintf("  %s: %s", at.name, difference(v, at.ratio, at.slower)))
	}
	if n := v.Rate.Rounds; n < bench.Enough {
		lines = append(lines, fmt.Sprintf("  %s cannot tell a difference from chance; try --rounds %d.", things(n, "round"), bench.Enough))
	}
	return lines
}

// difference says who is better by a ratio, unless the rounds differ as much
// among themselves.
func difference(v bench.Versus, r bench.Ratio, slower bool) string {
	if r.Value == 0 {
		return "nothing to compare"
	}
	verb, better := "does more", v.Name
	fact := v.Name + " has " + spread(r) + " times as many"
	if slower {
		verb = "is faster"
		fact = v.Name + " takes " + spread(r) + " times as long"
	}
	if (r.Value > 1) == slower {
		better = v.Other
	}
	switch {
	case r.Rounds < bench.Enough:
		return fact
	case !r.Clear():
		return "no difference beyond the spread of the rounds, " + fact
	default:
		return better + " " + verb + ", " + fact
	}
}
