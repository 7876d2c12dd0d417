// SPDX-License-Identifier: Apache-2.0

package bench

import "slices"

// Median returns the middle one of values, or what lies half way between the
// two middle ones; zero of none.
func Median[T ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	half := len(v) / 2
	if len(v)%2 == 1 {
		return v[half]
	}
	return v[half-1] + (v[half]-v[half-1])/2
}

// Medians returns several rounds as one measurement: counts are added, of all
// else the median is taken, and of Behind the worst.
func Medians(rounds []Measurement) Measurement {
	if len(rounds) == 0 {
		return Measurement{}
	}
	m := Measurement{Asked: rounds[0].Asked, Status: make(map[string]int64), Errors: make(map[string]int64)}
	for _, r := range rounds {
		m.Requests += r.Requests
		m.Failed += r.Failed
		m.BytesIn += r.BytesIn
		m.BytesOut += r.BytesOut
		m.Connections += r.Connections
		m.Scheduled += r.Scheduled
		m.Unsent += r.Unsent
		m.Behind = max(m.Behind, r.Behind)
		add(m.Status, r.Status)
		add(m.Errors, r.Errors)
	}
	m.Seconds = over(rounds, func(r Measurement) float64 { return r.Seconds })
	m.Rate = over(rounds, func(r Measurement) float64 { return r.Rate })
	m.GeneratorBusy = over(rounds, func(r Measurement) float64 { return r.GeneratorBusy })
	m.CPU = over(rounds, func(r Measurement) Micros { return r.CPU })
	m.Busy = over(rounds, func(r Measurement) float64 { return r.Busy })
	m.Memory = int64(over(rounds, func(r Measurement) float64 { return float64(r.Memory) }))
	m.Latency = medianLatency(rounds, func(r Measurement) Latency { return r.Latency })
	for i, p := range rounds[0].Curve {
		p.Latency = over(rounds, func(r Measurement) Micros { return r.Curve[i].Latency })
		m.Curve = append(m.Curve, p)
	}
	for i, k := range rounds[0].ByKind {
		k.Requests = 0
		for _, r := range rounds {
			k.Requests += r.ByKind[i].Requests
		}
		k.Latency = medianLatency(rounds, func(r Measurement) Latency { return r.ByKind[i].Latency })
		m.ByKind = append(m.ByKind, k)
	}
	return m
}

// summed returns the medians of rounds, and the rounds without their curves,
// which say nothing one by one.
func summed(rounds []Measurement) (Measurement, []Measurement) {
	m := Medians(rounds)
	rounds = slices.Clone(rounds)
	for i := range rounds {
		rounds[i].Curve = nil
	}
	return m, rounds
}

func add(to, from map[string]int64) {
	for k, n := range from {
		to[k] += n
	}
}

// over returns the median of what of takes from each round.
func over[T ~float64](rounds []Measurement, of func(Measurement) T) T {
	return Median(each(rounds, of))
}

func each[T ~float64](rounds []Measurement, of func(Measurement) T) []T {
	values := make([]T, 0, len(rounds))
	for _, r := range rounds {
		values = append(values, of(r))
	}
	return values
}

func medianLatency(rounds []Measurement, of func(Measurement) Latency) Latency {
	return Latency{
		P50:  over(rounds, func(r Measurement) Micros { return of(r).P50 }),
		P90:  over(rounds, func(r Measurement) Micros { return of(r).P90 }),
		P99:  over(rounds, func(r Measurement) Micros { return of(r).P99 }),
		P999: over(rounds, func(r Measurement) Micros { return of(r).P999 }),
		Max:  over(rounds, func(r Measurement) Micros { return of(r).Max }),
	}
}

// Ratio is how one system's figure stands to another's. It is formed of rounds
// that stood beside each other, so that a machine which changes its speed from
// round to round does not become a difference between the systems.
type Ratio struct {
	// Value is the median of the rounds' ratios; zero if there is nothing to
	// divide by.
	Value float64 `json:"value"`
	// Low and High are the least and the greatest of them.
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
}

// Enough is how many rounds it takes to tell a difference from chance: that
// as many fall on the same side by chance happens once in sixteen times.
const Enough = 5

// Clear reports whether the two differ by more than chance: the same one was
// ahead in each of enough rounds.
func (r Ratio) Clear() bool { return r.Rounds >= Enough && (r.Low > 1 || r.High < 1) && r.Value > 0 }

// RatioOf returns how a figure of some rounds stands to that of others, by
// index. Rounds without a counterpart do not count.
func RatioOf[T ~float64](a, b []Measurement, of func(Measurement) T) Ratio {
	r := Ratio{Rounds: min(len(a), len(b))}
	ratios := make([]float64, 0, r.Rounds)
	for i := range r.Rounds {
		y := of(b[i])
		if y <= 0 {
			return r
		}
		ratios = append(ratios, float64(of(a[i])/y))
	}
	if r.Rounds > 0 {
		r.Value, r.Low, r.High = Median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	return r
}

// The figures that are compared.
func rateOf(m Measurement) float64 { return m.Rate }
func cpuOf(m Measurement) Micros   { return m.CPU }
func p50Of(m Measurement) Micros   { return m.Latency.P50 }
func p90Of(m Measurement) Micros   { return m.Latency.P90 }
func p99Of(m Measurement) Micros   { return m.Latency.P99 }
func p999Of(m Measurement) Micros  { return m.Latency.P999 }
