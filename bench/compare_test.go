// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluice-mesh/sluice/bench"
	"github.com/sluice-mesh/sluice/bench/load"
)

// answered returns a result of n answers within a second, each after the
// given time.
func answered(n int64, after time.Duration) *load.Result {
	h := hdrhistogram.New(1000, int64(time.Minute), 3)
	if err := h.RecordValues(int64(after), n); err != nil {
		panic(err)
	}
	return &load.Result{
		Elapsed: time.Second, Requests: n, Status: [6]int64{2: n}, Errors: map[string]int64{}, Latency: h,
	}
}

// scripted answers each round of each address with the next rate of a list.
type scripted struct {
	rates map[string][]int64
	order []string
}

func (s *scripted) load(_ context.Context, p load.Plan, progress func(load.Progress)) (*load.Result, error) {
	s.order = append(s.order, p.Address)
	next := s.rates[p.Address]
	if len(next) == 0 {
		return nil, errors.New("nothing could connect")
	}
	s.rates[p.Address] = next[1:]
	if progress != nil {
		progress(load.Progress{Requests: next[0]})
	}
	return answered(next[0], time.Second/time.Duration(next[0])), nil
}

func targets(addresses ...string) (all []bench.Target) {
	for _, a := range addresses {
		all = append(all, bench.Target{Name: a, Plan: load.Plan{Address: a}})
	}
	return all
}

func TestCompare(t *testing.T) {
	s := &scripted{rates: map[string][]int64{
		"a": {200, 1000, 300, 400, 100},
		"b": {100, 250, 100, 200, 20},
		"c": {400, 100, 250, 400, 250},
	}}
	var told []string
	c, err := bench.Compare(t.Context(), targets("a", "b", "c"), bench.CompareOptions{
		Rounds: 5, Load: s.load,
		Progress: func(p bench.Progress) {
			if p.Rounds != 5 {
				t.Errorf("progress of %d rounds, want 5", p.Rounds)
			}
			told = append(told, p.Target+" "+strconv.Itoa(p.Round))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c", "c", "b", "a", "a", "b", "c", "c", "b", "a", "a", "b", "c"}; !slices.Equal(s.order, want) {
		t.Errorf("rounds in the order %q, want %q", s.order, want)
	}
	want := []string{
		"a 1", "b 1", "c 1", "c 2", "b 2", "a 2", "a 3", "b 3", "c 3", "c 4", "b 4", "a 4", "a 5", "b 5", "c 5",
	}
	if !slices.Equal(told, want) {
		t.Errorf("progress of %q, want %q", told, want)
	}
	for i, want := range []float64{300, 100, 250} {
		m := c.Targets[i].Median
		if m.Rate != want || len(c.Targets[i].Rounds) != 5 {
			t.Errorf("%s: median rate %g of %d rounds, want %g of 5", c.Targets[i].Name, m.Rate, len(c.Targets[i].Rounds), want)
		}
	}
	if got := c.Targets[0].Median.Requests; got != 2000 {
		t.Errorf("answers of all rounds = %d, want 2000", got)
	}
	if len(c.Versus) != 2 {
		t.Fatalf("%d comparisons, want one with b and one with c", len(c.Versus))
	}
	for i, want := range []struct {
		other string
		rate  bench.Ratio
		clear bool
	}{
		{"b", bench.Ratio{Value: 3, Low: 2, High: 5, Rounds: 5}, true},
		{"c", bench.Ratio{Value: 1, Low: 0.4, High: 10, Rounds: 5}, false},
	} {
		v := c.Versus[i]
		if v.Name != "a" || v.Other != want.other || v.Rate != want.rate || v.Rate.Clear() != want.clear {
			t.Errorf("versus[%d] = %s beside %s, rate %+v, clear %t, want %+v", i, v.Name, v.Other, v.Rate, v.Rate.Clear(), want)
		}
	}
	// An answer takes a third of the time that it takes b.
	if got := c.Versus[0].P50; got.Value < 0.33 || got.Value > 0.34 || !got.Clear() {
		t.Errorf("ratio of p50 to b = %+v, want a third, clear", got)
	}
}

func TestCompareEndsWithTheFirstTargetThatCannotBeMeasured(t *testing.T) {
	s := &scripted{rates: map[string][]int64{"a": {1, 2}, "b": {1}}}
	c, err := bench.Compare(t.Context(), targets("a", "b"), bench.CompareOptions{Rounds: 2, Load: s.load})
	if c != nil || err == nil || !strings.Contains(err.Error(), "b: nothing could connect") {
		t.Errorf("Compare = %+v, %v, want an error that names b", c, err)
	}
	if want := []string{"a", "b", "b"}; !slices.Equal(s.order, want) {
		t.Errorf("rounds of %q, want %q", s.order, want)
	}
}

func TestCompareKeepsWhatWasMeasuredBeforeTheEnd(t *testing.T) {
	stop := errors.New("received interrupt")
	for _, tt := range []struct {
		name    string
		last    int64 // answers of the round that is cut
		targets int
	}{
		{"with what a round that was cut had already", 30, 2},
		{"without a round that had nothing yet", 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			rounds := 0
			loader := func(context.Context, load.Plan, func(load.Progress)) (*load.Result, error) {
				if rounds++; rounds == 2 {
					cancel(stop)
					return answered(tt.last, time.Millisecond), stop
				}
				return answered(10, time.Millisecond), nil
			}
			c, err := bench.Compare(ctx, targets("a", "b"), bench.CompareOptions{Rounds: 5, Load: loader})
			if !errors.Is(err, stop) || rounds != 2 {
				t.Fatalf("Compare error = %v after %d rounds, want %v after 2", err, rounds, stop)
			}
			if len(c.Targets) != tt.targets {
				t.Errorf("%d targets were measured, want %d", len(c.Targets), tt.targets)
			}
		})
	}
}

func TestMeasurement(t *testing.T) {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(time.Minute), 3) }
	all := h()
	for i := range int64(1000) {
		if err := all.RecordValue((i + 1) * int64(time.Microsecond)); err != nil {
			t.Fatal(err)
		}
	}
	first, second := h(), h()
	_ = first.RecordValues(int64(time.Millisecond), 3)
	_ = second.RecordValues(int64(2*time.Millisecond), 1)
	r := &load.Result{
		Elapsed: 2 * time.Second, Requests: 1000, Status: [6]int64{1, 0, 990, 4, 3, 2}, Errors: map[string]int64{"reset": 5},
		BytesIn: 7, BytesOut: 8, Connections: 9, Latency: all, ByRequest: []*hdrhistogram.Histogram{first, second},
		Scheduled: 1010, Unsent: 6, Behind: 3 * time.Millisecond,
	}
	plan := load.Plan{Address: "a", Rate: 505, Mix: []load.Request{{Name: "browse"}, {}}}
	c, err := bench.Compare(t.Context(), []bench.Target{{Name: "a", Plan: plan}}, bench.CompareOptions{
		Load: func(context.Context, load.Plan, func(load.Progress)) (*load.Result, error) { return r, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	m := c.Targets[0].Median
	if m.Requests != 1000 || m.Failed != 5 || m.Seconds != 2 || m.Rate != 500 || m.Asked != 505 || m.Behind != 3000 ||
		m.Scheduled != 1010 || m.Unsent != 6 || m.BytesIn != 7 || m.BytesOut != 8 || m.Connections != 9 || m.Errors["reset"] != 5 {
		t.Errorf("measurement = %+v, want what the result says", m)
	}
	for class, want := range map[string]int64{"other": 1, "2xx": 990, "3xx": 4, "4xx": 3, "5xx": 2} {
		if m.Status[class] != want {
			t.Errorf("%s = %d, want %d", class, m.Status[class], want)
		}
	}
	if _, ok := m.Status["1xx"]; ok || m.Succeeded() != 994 {
		t.Errorf("statuses %v, %d succeeded, want no 1xx and 994", m.Status, m.Succeeded())
	}
	near := func(got, want bench.Micros) bool { return got > want*0.998 && got < want*1.002 }
	l := m.Latency
	if !near(l.P50, 500) || !near(l.P90, 900) || !near(l.P99, 990) || !near(l.P999, 999) || !near(l.Max, 1000) {
		t.Errorf("latency = %+v, want 500, 900, 990, 999 and 1000 µs", l)
	}
	if n := len(m.Curve); n < 10 || !near(m.Curve[n-1].Latency, 1000) || m.Curve[0].Latency > 2 {
		t.Errorf("curve = %v, want it from 1 to 1000 µs", m.Curve)
	}
	if len(m.ByKind) != 2 || m.ByKind[0].Name != "browse" || m.ByKind[0].Requests != 3 ||
		m.ByKind[1].Name != "mix[1]" || !near(m.ByKind[1].Latency.P50, 2000) {
		t.Errorf("kinds = %+v, want browse with 3 requests and mix[1] at 2 ms", m.ByKind)
	}
	if rounds := c.Targets[0].Rounds; len(rounds) != 1 || rounds[0].Curve != nil {
		t.Errorf("rounds = %+v, want one without a curve", rounds)
	}
}

func TestGeneratorBound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		m       bench.Measurement
		reached bool
		want    bool
	}{
		{"a closed loop with CPU to spare", bench.Measurement{Seconds: 1, Rate: 9, GeneratorBusy: 0.9}, true, false},
		{"a closed loop that has all of its CPU", bench.Measurement{Seconds: 1, Rate: 9, GeneratorBusy: 0.96}, true, true},
		{"too short to say", bench.Measurement{Seconds: 0.01, Rate: 9, GeneratorBusy: 1}, true, false},
		{"a rate that came about", bench.Measurement{Seconds: 1, Asked: 1000, Rate: 991, Behind: 50_000, GeneratorBusy: 1}, true, false},
		{"a rate that the target could not take", bench.Measurement{Seconds: 1, Asked: 1000, Rate: 500, Behind: 900}, false, false},
		{"a rate that the generator could not send", bench.Measurement{Seconds: 1, Asked: 1000, Rate: 500, Behind: 480_000}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.Reached(); got != tt.reached {
				t.Errorf("Reached() = %t, want %t", got, tt.reached)
			}
			if got := tt.m.GeneratorBound(); got != tt.want {
				t.Errorf("GeneratorBound() = %t, want %t", got, tt.want)
			}
		})
	}
}
