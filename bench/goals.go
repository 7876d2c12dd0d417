// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"slices"
)

// Goal is what a ratio is meant to be.
type Goal struct {
	Row   string  `json:"row"`   // key
	Text  string  `json:"text"`  // what is measured against what
	Bound float64 `json:"bound"` // at most, or at least
	// AtLeast turns the goal round: more is better.
	AtLeast bool `json:"at_least,omitempty"`
	// Bytes tells that the figure is bytes, Nanoseconds that it is those, and
	// not a ratio.
	Bytes       bool `json:"bytes,omitempty"`
	Nanoseconds bool `json:"nanoseconds,omitempty"`

	// needsQuiet has the goal not judged where the generator was the limit, or
	// something disturbed the row. The others are of CPU for a request, which
	// hardly depends on that: they are judged unless some rounds of a disturbed
	// row met the goal and some did not.
	needsQuiet bool
	figure     func(*RowResult) Ratio
}

// Verdicts on a goal.
const (
	Met       = "met"
	Missed    = "missed"
	NotJudged = "not judged"
)

// GoalResult is a goal and how it stands.
type GoalResult struct {
	Goal
	Reached Ratio  `json:"reached"`
	Verdict string `json:"verdict"`       // Met, Missed or NotJudged
	Why     string `json:"why,omitempty"` // it is not judged
}

const haproxy = "haproxy"

// Goals returns what the suite is held against, in the order of its rows.
func Goals() []Goal {
	cpu := func(row, text string, bound float64) Goal {
		return Goal{Row: row, Text: text, Bound: bound, figure: to(haproxy, func(r *RowRatio) Ratio { return r.CPU })}
	}
	table := func(row string) Goal {
		return Goal{Row: row, Text: "CPU for a request, to a table of three routes", Bound: 1.05, figure: to(smallTable, func(r *RowRatio) Ratio { return r.CPU })}
	}
	return []Goal{
		cpu("small", "CPU for a request, to HAProxy", 0.85),
		{
			Row: "small", Text: "requests a second, to HAProxy", Bound: 1.15, AtLeast: true, needsQuiet: true,
			figure: to(haproxy, func(r *RowRatio) Ratio { return r.Rate }),
		},
		cpu("10k", "CPU for a request, to HAProxy", 0.78),
		cpu("1m", "CPU for a MiB, to HAProxy", 0.55),
		cpu("connect", "CPU for a request, to HAProxy", 1.15),
		cpu("active", "CPU for a request, to HAProxy", 0.90),
		{
			Row: "half", Text: "p50, to HAProxy", Bound: 1.0, needsQuiet: true,
			figure: to(haproxy, func(r *RowRatio) Ratio { return r.P50 }),
		},
		{
			Row: "half", Text: "p99, to HAProxy", Bound: 1.5, needsQuiet: true,
			figure: to(haproxy, func(r *RowRatio) Ratio { return r.P99 }),
		},
		{
			Row: "idle", Text: "memory for a connection", Bound: 8 << 10, Bytes: true,
			figure: func(r *RowResult) Ratio {
				if r.Connections == 0 || len(r.Proxies) == 0 {
					return Ratio{}
				}
				return Ratio{Value: r.Proxies[0].PerConnection, Rounds: 1}
			},
		},
		table("gateways"),
		{
			// What the conditions of a request cost is its own affair: there are
			// as many as its gateway has before the first that holds.
			Row: "conditions", Text: "CPU for each of 100 conditions that are asked", Bound: 20, Nanoseconds: true,
			figure: perCondition,
		},
		table("routes"),
		cpu("tls", "CPU for a request over TLS, to HAProxy", 0.95),
		cpu("h2", "CPU for a request over HTTP/2, to HAProxy", 1.5),
		cpu("tcp", "CPU for a round trip, to HAProxy", 1.10),
		cpu("tcp-1m", "CPU for a MiB, to HAProxy", 0.80),
	}
}

// perCondition returns what each condition of the row took, in nanoseconds.
func perCondition(r *RowResult) Ratio {
	if len(r.Proxies) < 2 {
		return Ratio{}
	}
	with, without := r.Proxies[0].Rounds, r.Proxies[1].Rounds
	var costs []float64
	for i := range min(len(with), len(without)) {
		costs = append(costs, float64(with[i].CPU-without[i].CPU)*1000/conditionsAsked)
	}
	if len(costs) == 0 {
		return Ratio{}
	}
	return Ratio{Value: Median(costs), Low: slices.Min(costs), High: slices.Max(costs), Rounds: len(costs)}
}

// holds reports whether a figure is as the goal wants it. Ratios count to the
// two places that goals have and reports show.
func (g Goal) holds(reached float64) bool {
	if !g.Bytes && !g.Nanoseconds {
		reached = math.Round(reached*100) / 100
	}
	if g.AtLeast {
		return reached >= g.Bound
	}
	return reached <= g.Bound
}

// within reports whether some rounds met the goal and some did not.
func (g Goal) within(r Ratio) bool { return g.holds(r.Low) != g.holds(r.High) }

// to takes a ratio to another proxy from a row.
func to(other string, of func(*RowRatio) Ratio) func(*RowResult) Ratio {
	return func(r *RowResult) Ratio {
		ratio := r.against(other)
		if ratio == nil {
			return Ratio{}
		}
		return of(ratio)
	}
}

// JudgeGoals holds the rows against the goals, and replaces what Goals had.
func (r *Results) JudgeGoals() {
	r.Goals = nil
	for _, g := range Goals() {
		r.Goals = append(r.Goals, r.judge(g))
	}
}

func (r *Results) judge(g Goal) GoalResult {
	result := GoalResult{Goal: g, Verdict: NotJudged}
	row := r.row(g.Row)
	if row == nil {
		result.Why = "the row was not run"
		return result
	}
	result.Reached = g.figure(row)
	switch {
	case result.Reached.Value == 0 && slices.ContainsFunc(r.Missing, func(p Program) bool { return p.Name == haproxy }):
		result.Why = "HAProxy is not installed"
	case result.Reached.Value == 0:
		result.Why = "there is nothing to compare with"
	case g.needsQuiet && row.GeneratorBound:
		result.Why = "generator-bound"
	case row.Disturbed && (g.needsQuiet || g.within(result.Reached)):
		result.Why = "the row was disturbed"
	case g.holds(result.Reached.Value):
		result.Verdict = Met
	default:
		result.Verdict = Missed
	}
	return result
}
