// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// Figures are what a gateway, or one of its routes, does in a window. Times
// are in seconds.
type Figures struct {
	Window float64 `json:"window_seconds"` // 10, 60 or 300
	// Covers is what it covers: up to one step more, or less if there was
	// nothing to count before. Rates are by this.
	Covers float64 `json:"covers_seconds"`

	Requests   uint64  `json:"requests"` // exchanges that ended
	Rate       float64 `json:"requests_per_second"`
	Errors     uint64  `json:"errors"` // those of them that ended in 5xx
	ErrorRate  float64 `json:"errors_per_second"`
	ErrorRatio float64 `json:"error_ratio"` // 0 to 1; 0 without requests
	Mean       float64 `json:"mean_seconds"`
	// P50, P90 and P99 are within a bucket of the histograms, which is 19 %
	// wide; they and the means are 0 without requests.
	P50          float64 `json:"p50_seconds"`
	P90          float64 `json:"p90_seconds"`
	P99          float64 `json:"p99_seconds"`
	UpstreamMean float64 `json:"upstream_mean_seconds"` // what the instances took, of those that reached one
	BytesIn      float64 `json:"bytes_in_per_second"`
	BytesOut     float64 `json:"bytes_out_per_second"`
	// Codes counts exchanges by class of the status, such as 2xx, and Reasons
	// the answers of the proxies' own making by reason.
	Codes   map[string]uint64 `json:"codes"`
	Reasons map[string]uint64 `json:"reasons"`

	InFlight int64 `json:"in_flight"` // now
	Proxies  int   `json:"proxies"`   // connected ones that told of it
	// Total is how many exchanges ended since proxies count.
	Total uint64 `json:"requests_total"`
}

// RouteFigures are the figures of one route.
type RouteFigures struct {
	Route string `json:"route"`
	Figures
	// Asked is the share of what the weights decide that is asked for, and
	// Achieved what came of it in the window, 0 to 1; Decided is how many
	// exchanges the weights gave to the route.
	Asked    float64 `json:"asked_share"`
	Achieved float64 `json:"achieved_share"`
	Decided  uint64  `json:"decided"`
	// Instances counts instances by state, each at each connected proxy that
	// looks after it. HealthyShare is that of those that are not unhealthy or
	// ejected, 1 if nobody looks.
	Instances    map[string]int64 `json:"instances"`
	HealthyShare float64          `json:"healthy_share"`
	Ejections    uint64           `json:"ejections"` // in the window
}

// ConditionFigures are what a condition did in a window.
type ConditionFigures struct {
	Route       string  `json:"route"`
	Condition   string  `json:"condition"`
	Evaluations uint64  `json:"evaluations"` // requests for which it was asked
	Matches     uint64  `json:"matches"`     // those of them for which it held
	Selected    uint64  `json:"selected"`    // those of them that it took
	MatchRate   float64 `json:"matches_per_second"`
	MatchRatio  float64 `json:"match_ratio"` // 0 to 1; 0 without evaluations
}

// GatewayFigures are the figures of a gateway, with its routes and conditions
// by name.
type GatewayFigures struct {
	Gateway string `json:"gateway"`
	Figures
	Routes     []RouteFigures     `json:"routes"`
	Conditions []ConditionFigures `json:"conditions"`
}

// Figures returns those of a gateway, or of one of its routes if route is not
// empty, and false if nothing was told of it. The window is the shortest one
// that is not below the given time, the longest one if none is.
func (b *Book) Figures(namespace, gateway, route string, window time.Duration) (Figures, bool) {
	k := key{gateway: gateway}
	if route != "" {
		k = key{kind: kindRoute, gateway: gateway, route: route}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.find(namespace, k)
	if s == nil {
		return Figures{}, false
	}
	f, _ := b.figures(s, windowOf(window), b.now())
	return f, true
}

func (b *Book) find(namespace string, k key) *series {
	if g := b.groups[gatewayKey{namespace, k.gateway}]; g != nil {
		return g.members[k]
	}
	return nil
}

// Gateway returns the figures of a gateway with its routes and conditions, and
// false if nothing was told of it. The window is as for [Book.Figures].
func (b *Book) Gateway(namespace, gateway string, window time.Duration) (GatewayFigures, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[gatewayKey{namespace, gateway}]
	if g == nil {
		return GatewayFigures{}, false
	}
	return b.group(g, windowOf(window), b.now()), true
}

// group returns the figures of a gateway with all that belongs to it.
func (b *Book) group(g *group, window int, now time.Duration) GatewayFigures {
	own := g.members[key{gateway: g.gateway}]
	if own == nil {
		own = &series{group: g}
	}
	all := GatewayFigures{Gateway: g.gateway, Routes: []RouteFigures{}, Conditions: []ConditionFigures{}}
	all.Figures, _ = b.figures(own, window, now)
	decided := uint64(0)
	for k, s := range g.members {
		switch k.kind {
		case kindRoute:
			r := b.routeFigures(s, window, now)
			decided += r.Decided
			all.Routes = append(all.Routes, r)
		case kindCondition:
			all.Conditions = append(all.Conditions, b.conditionFigures(s, window, now))
		case kindGateway:
		}
	}
	for i := range all.Routes {
		all.Routes[i].Achieved = ratio(all.Routes[i].Decided, decided)
	}
	slices.SortFunc(all.Routes, func(a, b RouteFigures) int { return strings.Compare(a.Route, b.Route) })
	slices.SortFunc(all.Conditions, func(a, b ConditionFigures) int {
		return cmp.Or(strings.Compare(a.Route, b.Route), strings.Compare(a.Condition, b.Condition))
	})
	return all
}

// Gateways returns the names of the gateways of a namespace of which anything
// was told, sorted.
func (b *Book) Gateways(namespace string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for k := range b.groups {
		if k.namespace == namespace {
			names = append(names, k.gateway)
		}
	}
	slices.Sort(names)
	return names
}

// figures returns what a series did in a window, and the numbers of that.
func (b *Book) figures(s *series, window int, now time.Duration) (Figures, *vector) {
	w := &windows[window]
	v, since := &vector{}, time.Duration(w.oldest(now))*w.step
	if s.rings != nil {
		for _, step := range s.rings[window].within(now, w) {
			v.addAll(step)
		}
	}
	began := s.since
	if s.kind != kindRoute { // what there is of a gateway before it counts are its routes
		began = s.group.since
	}
	covers := max(now-max(since, began), time.Second).Seconds()
	f := Figures{
		Window: w.length.Seconds(), Covers: covers, InFlight: s.stands.inFlight, Proxies: s.tells,
		Codes: map[string]uint64{}, Reasons: map[string]uint64{},
		Requests: v.requests(), Total: s.total.requests(),
		Errors:  v.at(fieldClass + field(metrics.Class5xx)),
		BytesIn: float64(v.at(fieldBytesIn)) / covers, BytesOut: float64(v.at(fieldBytesOut)) / covers,
		UpstreamMean: ratio(v.at(fieldUpstream), v.at(fieldAnswered)) / float64(time.Second),
	}
	for c := range metrics.Classes {
		if n := v.at(fieldClass + field(c)); n > 0 {
			f.Codes[c.String()] = n
		}
	}
	for n, name := range v.reasons(b) {
		f.Reasons[name] = n
	}
	f.Rate, f.ErrorRate, f.ErrorRatio = float64(f.Requests)/covers, float64(f.Errors)/covers, ratio(f.Errors, f.Requests)
	h := v.histogram(fieldBucket, fieldSum)
	if n := h.Count(); n > 0 {
		f.Mean = h.Sum.Seconds() / float64(n)
		f.P50, f.P90, f.P99 = quantile(&h, n, 0.5), quantile(&h, n, 0.9), quantile(&h, n, 0.99)
	}
	return f, v
}

func (b *Book) routeFigures(s *series, window int, now time.Duration) RouteFigures {
	f, v := b.figures(s, window, now)
	r := RouteFigures{
		Route: s.route, Figures: f, Asked: s.asked, Decided: v.at(fieldDecided + field(metrics.ByWeight)),
		Instances: map[string]int64{}, HealthyShare: s.stands.healthy(),
	}
	for i, n := range s.stands.instances {
		if n > 0 {
			r.Instances[metrics.InstanceStates[i]] = n
		}
	}
	for i := range metrics.EjectionCauses {
		r.Ejections += v.at(fieldEjected + field(i))
	}
	return r
}

func (b *Book) conditionFigures(s *series, window int, now time.Duration) ConditionFigures {
	f, v := b.figures(s, window, now)
	c := ConditionFigures{
		Route: s.route, Condition: s.condition,
		Evaluations: v.at(fieldEvaluated), Matches: v.at(fieldMatched), Selected: v.at(fieldSelected),
	}
	c.MatchRate, c.MatchRatio = float64(c.Matches)/f.Covers, ratio(c.Matches, c.Evaluations)
	return c
}

// healthy returns the share of instances that are not known to fail.
func (s *standing) healthy() float64 {
	all, ill := int64(0), int64(0)
	for i, n := range s.instances {
		all += n
		if state := metrics.InstanceStates[i]; state == "unhealthy" || state == "ejected" {
			ill += n
		}
	}
	if all == 0 {
		return 1
	}
	return float64(all-ill) / float64(all)
}

// requests returns how many exchanges ended.
func (v *vector) requests() (n uint64) {
	for c := range metrics.Classes {
		n += v.at(fieldClass + field(c))
	}
	return n
}

// reasons calls yield with how often each reason was told, and its name.
func (v *vector) reasons(b *Book) func(yield func(n uint64, name string) bool) {
	return func(yield func(uint64, string) bool) {
		at, _ := slices.BinarySearch(v.fields, fieldReason)
		for ; at < len(v.fields); at++ {
			if !yield(v.values[at], b.names[v.fields[at]-fieldReason]) {
				return
			}
		}
	}
}

// quantile returns a duration in seconds below which the share q of n lies. It
// is told within a bucket as if logarithms were evenly spread there, as
// buckets are.
func quantile(h *metrics.Histogram, n uint64, q float64) float64 {
	rank := q * float64(n)
	for i, count := range h.Counts {
		if rank > float64(count) || count == 0 {
			rank -= float64(count)
			continue
		}
		inside := rank / float64(count)
		switch i {
		case 0:
			return metrics.Bound(0) * inside
		case metrics.Bounds:
			return metrics.Bound(metrics.Bounds - 1)
		}
		low, high := metrics.Bound(i-1), metrics.Bound(i)
		return low * math.Pow(high/low, inside)
	}
	return metrics.Bound(metrics.Bounds - 1) // rounding
}

// ratio returns part of whole, 0 if there is nothing.
func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Health returns what Vamp called the health of a gateway or route: 0 if at
// least one exchange of the window ended in 5xx, else 1.
func (f *Figures) Health() float64 {
	if f.Errors > 0 {
		return 0
	}
	return 1
}

// VampRate returns requests by second as Vamp told them, to hundredths.
func (f *Figures) VampRate() float64 { return math.Round(f.Rate*100) / 100 }

// VampResponseTime returns the mean time of an exchange as Vamp told it, in
// milliseconds, to tenths.
func (f *Figures) VampResponseTime() float64 { return math.Round(f.Mean*1e4) / 10 }
