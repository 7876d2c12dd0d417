// SPDX-License-Identifier: Apache-2.0

package bench

import "slices"

// Goal is what a ratio is meant to be.
type Goal struct {
	Row   string  `json:"row"`   // key
	Text  string  `json:"text"`  // what is measured against what
	Bound float64 `json:"bound"` // at most, or at least
	// AtLeast turns the goal round: more is better.
	AtLeast bool `json:"at_least,omitempty"`
	// Bytes tells that the figure is bytes, no ratio.
	Bytes bool `json:"bytes,omitempty"`

	// needsQuiet has the goal not judged where the generator was the limit, or
	// something disturbed the row: it is not of CPU for a request, which stays
	// as it is then.
	needsQuiet bool
	figure     func(*RowResult) (float64, bool)
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
	Reached float64 `json:"reached,omitempty"`
	Verdict string  `json:"verdict"`       // Met, Missed or NotJudged
	Why     string  `json:"why,omitempty"` // it is not judged
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
			figure: func(r *RowResult) (float64, bool) {
				if len(r.Proxies) == 0 || r.Connections == 0 {
					return 0, false
				}
				return r.Proxies[0].PerConnection, true
			},
		},
		table("gateways"),
		table("conditions"),
		table("routes"),
	}
}

// holds reports whether a figure is as the goal wants it.
func (g Goal) holds(reached float64) bool {
	if g.AtLeast {
		return reached >= g.Bound
	}
	return reached <= g.Bound
}

// to takes a ratio to another proxy from a row.
func to(other string, of func(*RowRatio) Ratio) func(*RowResult) (float64, bool) {
	return func(r *RowResult) (float64, bool) {
		ratio := r.against(other)
		if ratio == nil {
			return 0, false
		}
		v := of(ratio).Value
		return v, v > 0
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
	reached, ok := g.figure(row)
	switch {
	case !ok && slices.ContainsFunc(r.Missing, func(p Program) bool { return p.Name == haproxy }):
		result.Why = "HAProxy is not installed"
		return result
	case !ok:
		result.Why = "there is nothing to compare with"
		return result
	}
	result.Reached = reached
	switch {
	case g.needsQuiet && row.GeneratorBound:
		result.Why = "generator-bound"
	case g.needsQuiet && row.Disturbed:
		result.Why = "the row was disturbed"
	case g.holds(reached):
		result.Verdict = Met
	default:
		result.Verdict = Missed
	}
	return result
}
