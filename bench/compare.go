// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

// Target is what is measured, and the load that is offered to it.
type Target struct {
	Name string // for reports, different from those beside it
	Plan load.Plan
}

// Loader offers a plan and returns what came back, as load.Run does.
type Loader func(ctx context.Context, p load.Plan, progress func(load.Progress)) (*load.Result, error)

// CompareOptions shape a comparison. The zero CompareOptions are ready to use.
type CompareOptions struct {
	Rounds int // of each target; zero: 1
	// Progress, if not nil, is called at most each second.
	Progress func(Progress)
	// Load offers the load; nil means load.Run.
	Load Loader
}

// Progress is how far a comparison is.
type Progress struct {
	Target        string
	Round, Rounds int // from 1
	Load          load.Progress
}

// Comparison is what was measured of several targets.
type Comparison struct {
	Targets []Series `json:"targets"` // in the order given
	Versus  []Versus `json:"versus,omitempty"`
}

// Series is the rounds of one target.
type Series struct {
	Name   string        `json:"name"`
	Median Measurement   `json:"median"`
	Rounds []Measurement `json:"rounds"`
}

// Versus is how the first target stands to another one. A rate above 1 and
// latencies below 1 speak for the first.
type Versus struct {
	Name  string `json:"name"`
	Other string `json:"other"`
	Rate  Ratio  `json:"rate"`
	P50   Ratio  `json:"p50"`
	P90   Ratio  `json:"p90"`
	P99   Ratio  `json:"p99"`
	P999  Ratio  `json:"p999"`
}

// Compare measures targets in rounds that take turns. It ends with the first
// target that cannot be measured at all, or with ctx: then what was measured
// until then comes back beside the error.
func Compare(ctx context.Context, targets []Target, o CompareOptions) (*Comparison, error) {
	if o.Rounds < 1 {
		o.Rounds = 1
	}
	if o.Load == nil {
		o.Load = load.Run
	}
	rounds := make([][]Measurement, len(targets))
	err := interleave(len(targets), o.Rounds, func(round, i int) error {
		m, err := o.measure(ctx, targets[i], round)
		if err == nil || m.Requests+m.Failed > 0 {
			rounds[i] = append(rounds[i], m)
		}
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			return nil, err
		}
		err = context.Cause(ctx)
	}
	c := &Comparison{}
	for i, t := range targets {
		if len(rounds[i]) > 0 {
			median, all := summed(rounds[i])
			c.Targets = append(c.Targets, Series{Name: t.Name, Median: median, Rounds: all})
		}
	}
	for _, other := range c.Targets[min(1, len(c.Targets)):] {
		c.Versus = append(c.Versus, versus(c.Targets[0], other))
	}
	return c, err
}

// measure measures one round of one target. If ctx ends it, there is a
// measurement beside the error.
func (o CompareOptions) measure(ctx context.Context, t Target, round int) (Measurement, error) {
	var progress func(load.Progress)
	if o.Progress != nil {
		progress = func(p load.Progress) {
			o.Progress(Progress{Target: t.Name, Round: round + 1, Rounds: o.Rounds, Load: p})
		}
	}
	before, began := processCPU(), time.Now()
	r, err := o.Load(ctx, t.Plan, progress)
	if err != nil && (r == nil || ctx.Err() == nil) {
		return Measurement{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	m := measured(t.Plan, r)
	if took := time.Since(began); took > 0 {
		m.GeneratorBusy = float64(processCPU()-before) / float64(took) / float64(generatorCPUs(t.Plan))
	}
	return m, err
}

// generatorCPUs returns how many CPUs the generator can use: one where it is
// a loop of its own.
func generatorCPUs(p load.Plan) int {
	if p.TLS == nil && runtime.GOOS == "linux" {
		return 1
	}
	return runtime.GOMAXPROCS(0)
}

// interleave calls do for each of n systems in each round, and turns the
// order round each time. It ends with the first error.
func interleave(n, rounds int, do func(round, i int) error) error {
	for round := range rounds {
		for i := range n {
			if round%2 == 1 {
				i = n - 1 - i
			}
			if err := do(round, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func versus(a, b Series) Versus {
	return Versus{
		Name: a.Name, Other: b.Name,
		Rate: RatioOf(a.Rounds, b.Rounds, rateOf),
		P50:  RatioOf(a.Rounds, b.Rounds, p50Of),
		P90:  RatioOf(a.Rounds, b.Rounds, p90Of),
		P99:  RatioOf(a.Rounds, b.Rounds, p99Of),
		P999: RatioOf(a.Rounds, b.Rounds, p999Of),
	}
}
