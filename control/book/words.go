// SPDX-License-Identifier: Apache-2.0

package book

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// word says what a family tells.
type word struct {
	kind kind
	tell func(t *telling, w *row, s *controlpb.Series)
}

// words are the families that are taken in, by name.
var words = map[string]word{
	metrics.Requests.Name:               {kindRoute, tellClass},
	metrics.RequestDuration.Name:        {kindRoute, tellDuration},
	metrics.UpstreamDuration.Name:       {kindRoute, tellUpstream},
	metrics.RequestBytes.Name:           {kindRoute, tellNumber(fieldBytesIn)},
	metrics.ResponseBytes.Name:          {kindRoute, tellNumber(fieldBytesOut)},
	metrics.RequestsInFlight.Name:       {kindRoute, tellInFlight},
	metrics.RouteDecided.Name:           {kindRoute, tellDecided},
	metrics.ProxyErrors.Name:            {kindRoute, tellReason},
	metrics.RouteWeight.Name:            {kindRoute, tellAsked},
	metrics.InstancesKnown.Name:         {kindRoute, tellInstances},
	metrics.InstanceEjections.Name:      {kindRoute, tellEjections},
	metrics.GatewayRequests.Name:        {kindGateway, tellClass},
	metrics.GatewayRequestDuration.Name: {kindGateway, tellDuration},
	metrics.GatewayRequestBytes.Name:    {kindGateway, tellNumber(fieldBytesIn)},
	metrics.GatewayResponseBytes.Name:   {kindGateway, tellNumber(fieldBytesOut)},
	metrics.GatewayRequestsInFlight.Name: {
		kindGateway, tellInFlight,
	},
	metrics.GatewayProxyErrors.Name:   {kindGateway, tellReason},
	metrics.ConditionEvaluations.Name: {kindCondition, tellNumber(fieldEvaluated)},
	metrics.ConditionMatches.Name:     {kindCondition, tellNumber(fieldMatched)},
	metrics.ConditionSelected.Name:    {kindCondition, tellNumber(fieldSelected)},
}

// gone reports whether a series says that what it is of is gone.
func gone(s *controlpb.Series) bool {
	switch s.GetName() {
	case metrics.RequestDuration.Name, metrics.GatewayRequestDuration.Name:
		return s.GetCount() == 0 && len(s.GetBounds()) == 0 && len(s.GetBuckets()) == 0
	case metrics.ConditionEvaluations.Name:
		return s.GetValue() == 0
	}
	return false
}

// maxLabel bounds the labels that are taken in, in bytes.
const maxLabel = 1024

// label returns a label of a series, empty if it has none of the name.
func label(s *controlpb.Series, name string) string {
	for _, l := range s.GetLabels() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// keyOf returns what a series is of, and whether it says so.
func keyOf(k kind, s *controlpb.Series) (key, bool) {
	named := key{kind: k, gateway: label(s, "gateway")}
	if k != kindGateway {
		named.route = label(s, "route")
	}
	if k == kindCondition {
		named.condition = label(s, "condition")
	}
	ok := named.gateway != "" && (k != kindCondition || named.condition != "") && (k == kindGateway || named.route != "") &&
		len(named.gateway) <= maxLabel && len(named.route) <= maxLabel && len(named.condition) <= maxLabel
	return named, ok
}

// count returns a number as it is counted in, and whether it is one.
func count(value float64) (uint64, bool) {
	if !(value >= 0 && value < 1<<63) { // NaN neither
		return 0, false
	}
	return uint64(math.Round(value)), true
}

func tellNumber(f field) func(*telling, *row, *controlpb.Series) {
	return func(t *telling, w *row, s *controlpb.Series) { t.number(w, f, s.GetValue()) }
}

var classes = func() (names []string) {
	for c := range metrics.Classes {
		names = append(names, c.String())
	}
	return names
}()

var ways = func() (names []string) {
	for w := range metrics.Ways {
		names = append(names, w.String())
	}
	return names
}()

// one tells the number of the name that a label has among those of a list.
func (t *telling) one(w *row, s *controlpb.Series, name string, names []string, first field) {
	if i := slices.Index(names, label(s, name)); i >= 0 {
		t.number(w, first+field(i), s.GetValue())
	}
}

func tellClass(t *telling, w *row, s *controlpb.Series)   { t.one(w, s, "code", classes, fieldClass) }
func tellDecided(t *telling, w *row, s *controlpb.Series) { t.one(w, s, "by", ways, fieldDecided) }

func tellEjections(t *telling, w *row, s *controlpb.Series) {
	t.one(w, s, "cause", metrics.EjectionCauses[:], fieldEjected)
}

func tellReason(t *telling, w *row, s *controlpb.Series) {
	t.number(w, fieldReason+field(t.book.reason(label(s, "reason"))), s.GetValue())
}

func tellInFlight(_ *telling, w *row, s *controlpb.Series) {
	if n, ok := count(s.GetValue()); ok {
		w.stand(func(now *standing) { now.inFlight = int64(n) })
	}
}

func tellInstances(_ *telling, w *row, s *controlpb.Series) {
	n, ok := count(s.GetValue())
	if i := slices.Index(metrics.InstanceStates[:], label(s, "state")); ok && i >= 0 {
		w.stand(func(now *standing) { now.instances[i] = int64(n) })
	}
}

func tellAsked(_ *telling, w *row, s *controlpb.Series) {
	if v := s.GetValue(); label(s, "kind") == "asked" && v >= 0 && v <= 1 {
		w.series.asked = v
	}
}

func tellDuration(t *telling, w *row, s *controlpb.Series) {
	var before uint64
	for i, f := range w.told.fields {
		if f >= fieldBucket && f < fieldAsked {
			before += w.told.values[i]
		}
	}
	if s.GetCount() < before {
		w.told.reset() // it began anew, with all that belongs to it
	}
	t.histogram(w, s, fieldBucket)
	t.seconds(w, fieldSum, s.GetValue())
}

func tellUpstream(t *telling, w *row, s *controlpb.Series) {
	t.histogram(w, s, fieldAsked)
	t.number(w, fieldAnswered, float64(s.GetCount()))
	t.seconds(w, fieldUpstream, s.GetValue())
}

// histogram takes in buckets. Ours are found as they are; those of another
// shape count where their upper bounds are.
func (t *telling) histogram(w *row, s *controlpb.Series, first field) {
	bounds, buckets := s.GetBounds(), s.GetBuckets()
	if len(buckets) != len(bounds)+1 || !slices.IsSorted(bounds) {
		return
	}
	for i := 0; i < len(buckets); {
		at, n := bucketUpTo(bounds, i), buckets[i]
		for i++; i < len(buckets) && bucketUpTo(bounds, i) == at; i++ {
			n += buckets[i]
		}
		t.grow(w, first+field(at), n)
	}
}

// bucketUpTo returns which of our buckets the upper bound i is in; the last
// one has none.
func bucketUpTo(bounds []float64, i int) int {
	if i == len(bounds) {
		return metrics.Bounds
	}
	return sort.Search(metrics.Bounds, func(b int) bool { return metrics.Bound(b) >= bounds[i] })
}

// seconds takes in a sum of durations.
func (t *telling) seconds(w *row, f field, value float64) {
	t.number(w, f, value*float64(time.Second))
}

// number takes in a number that only grows.
func (t *telling) number(w *row, f field, value float64) {
	if n, ok := count(value); ok {
		t.grow(w, f, n)
	}
}

// grow counts by how much a number grew.
func (t *telling) grow(w *row, f field, value uint64) {
	grown := w.grow(f, value)
	if grown == 0 || t.baseline {
		return
	}
	s := w.series
	s.total.add(f, grown)
	if !f.windowed() {
		return
	}
	if s.rings == nil {
		s.rings = new(rings)
	}
	s.rings.add(t.span, f, grown)
}

func nanoseconds(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64))
}
