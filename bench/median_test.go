// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/bench"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"of none is zero", nil, 0},
		{"of one is that one", []float64{3}, 3},
		{"of two lies half way", []float64{4, 1}, 2.5},
		{"of three is the middle one, not the mean", []float64{100, 1, 2}, 2},
		{"of four lies between the middle ones", []float64{9, 1, 4, 2}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.values)
			if got := bench.Median(tt.values); got != tt.want {
				t.Errorf("Median(%v) = %g, want %g", tt.values, got, tt.want)
			}
			if !slices.Equal(tt.values, before) {
				t.Errorf("the values are %v afterwards, want them as they were", tt.values)
			}
		})
	}
}

func TestMedians(t *testing.T) {
	if m := bench.Medians(nil); m.Requests != 0 || m.Rate != 0 {
		t.Errorf("Medians(nil) = %+v, want the zero Measurement", m)
	}
	round := func(n int64) bench.Measurement {
		f := float64(n)
		us := bench.Micros(n)
		return bench.Measurement{
			Requests: n, Failed: 1, Status: map[string]int64{"2xx": n}, Errors: map[string]int64{"reset": 1},
			Seconds: f, Asked: 7, Rate: 10 * f, GeneratorBusy: f, CPU: us, Busy: f, Memory: n, Behind: us,
			BytesIn: n, BytesOut: n, Connections: n, Scheduled: n, Unsent: n,
			Latency: bench.Latency{P50: us, P90: us, P99: us, P999: us, Max: us},
			Curve:   []bench.Point{{Quantile: 0.5, Latency: us}},
			ByKind:  []bench.KindLatency{{Name: "k", Requests: n, Latency: bench.Latency{P50: us}}},
		}
	}
	m := bench.Medians([]bench.Measurement{round(1), round(9), round(2)})
	if m.Requests != 12 || m.Failed != 3 || m.Status["2xx"] != 12 || m.Errors["reset"] != 3 ||
		m.BytesIn != 12 || m.BytesOut != 12 || m.Connections != 12 || m.Scheduled != 12 || m.Unsent != 12 {
		t.Errorf("counts = %+v, want sums", m)
	}
	if m.Behind != 9 || m.Asked != 7 {
		t.Errorf("behind %v, asked %v, want the worst, 9, and 7", m.Behind, m.Asked)
	}
	if m.Seconds != 2 || m.Rate != 20 || m.GeneratorBusy != 2 || m.CPU != 2 || m.Busy != 2 || m.Memory != 2 {
		t.Errorf("figures = %+v, want medians", m)
	}
	if want := (bench.Latency{P50: 2, P90: 2, P99: 2, P999: 2, Max: 2}); m.Latency != want {
		t.Errorf("latency = %+v, want %+v", m.Latency, want)
	}
	if len(m.Curve) != 1 || m.Curve[0] != (bench.Point{Quantile: 0.5, Latency: 2}) {
		t.Errorf("curve = %v, want its median", m.Curve)
	}
	if len(m.ByKind) != 1 || m.ByKind[0].Name != "k" || m.ByKind[0].Requests != 12 || m.ByKind[0].Latency.P50 != 2 {
		t.Errorf("kinds = %+v, want the sum and the median of k", m.ByKind)
	}
}

func TestRatioOf(t *testing.T) {
	rounds := func(rates ...float64) (all []bench.Measurement) {
		for _, r := range rates {
			all = append(all, bench.Measurement{Rate: r})
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		a, b  []bench.Measurement
		want  bench.Ratio
		clear bool
	}{
		{"ahead in each of five rounds is clear", rounds(4, 6, 5, 4, 8), rounds(2, 2, 2, 1, 1), bench.Ratio{Value: 3, Low: 2, High: 8, Rounds: 5}, true},
		{"behind in each is clear", rounds(1, 2, 1, 1, 1), rounds(4, 8, 4, 2, 2), bench.Ratio{Value: 0.25, Low: 0.25, High: 0.5, Rounds: 5}, true},
		{"a machine of changing speed is no difference", rounds(10, 20, 10, 20, 40), rounds(5, 10, 5, 10, 20), bench.Ratio{Value: 2, Low: 2, High: 2, Rounds: 5}, true},
		{"behind in one of five is not", rounds(4, 4, 4, 4, 1), rounds(2, 2, 2, 2, 2), bench.Ratio{Value: 2, Low: 0.5, High: 2, Rounds: 5}, false},
		{"the same is not", rounds(1, 1, 1, 1, 1), rounds(1, 1, 1, 1, 1), bench.Ratio{Value: 1, Low: 1, High: 1, Rounds: 5}, false},
		{"four rounds are not", rounds(4, 4, 4, 4), rounds(2, 2, 2, 2), bench.Ratio{Value: 2, Low: 2, High: 2, Rounds: 4}, false},
		{"rounds without a counterpart do not count", rounds(4, 9, 9), rounds(2), bench.Ratio{Value: 2, Low: 2, High: 2, Rounds: 1}, false},
		{"nothing to divide by has no ratio", rounds(4, 4), rounds(0, 2), bench.Ratio{Rounds: 2}, false},
		{"no rounds have no ratio", nil, rounds(2), bench.Ratio{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := bench.RatioOf(tt.a, tt.b, func(m bench.Measurement) float64 { return m.Rate })
			if got != tt.want || got.Clear() != tt.clear {
				t.Errorf("RatioOf = %+v, clear %t, want %+v, clear %t", got, got.Clear(), tt.want, tt.clear)
			}
		})
	}
}
