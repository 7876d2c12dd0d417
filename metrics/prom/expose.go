// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/metrics"
)

// expose returns the families of a registry that have any series.
func expose(r *metrics.Registry, native bool) []*dto.MetricFamily {
	e := exposition{byName: map[string]*dto.MetricFamily{}, registry: r, native: native}
	for _, v := range r.Values() {
		e.value(v)
	}
	for _, g := range r.Gateways() {
		e.gateway(g)
	}
	return e.families
}

// exposition is a set of families in the making.
type exposition struct {
	registry *metrics.Registry
	native   bool
	families []*dto.MetricFamily
	byName   map[string]*dto.MetricFamily
	totals   metrics.Totals // reused
}

// add adds a series to a family. The labels are in order of their names.
func (e *exposition) add(f metrics.Family, m *dto.Metric, labels ...*dto.LabelPair) {
	family, ok := e.byName[f.Name]
	if !ok {
		family = &dto.MetricFamily{Name: new(f.Name), Help: new(f.Help), Type: kinds[f.Kind].Enum()}
		e.byName[f.Name] = family
		e.families = append(e.families, family)
	}
	m.Label = labels
	family.Metric = append(family.Metric, m)
}

var kinds = [...]dto.MetricType{
	metrics.KindCounter:   dto.MetricType_COUNTER,
	metrics.KindGauge:     dto.MetricType_GAUGE,
	metrics.KindHistogram: dto.MetricType_HISTOGRAM,
}

// value adds a process-wide number or histogram.
func (e *exposition) value(v metrics.Value) {
	labels := make([]*dto.LabelPair, len(v.Labels))
	for i, l := range v.Labels {
		labels[i] = pair(l.Name, l.Value)
	}
	created := timestamppb.New(e.registry.Started())
	m := gauge(v.Value)
	switch {
	case v.Histogram != nil:
		m = e.histogram(v.Histogram, created)
	case v.Family.Kind == metrics.KindCounter:
		m = counter(v.Value, created)
	}
	e.add(v.Family, m, labels...)
}

// gateway adds the series of a gateway, its routes and its conditions.
func (e *exposition) gateway(g *metrics.Gateway) {
	gateway, created := pair("gateway", g.Name()), timestamppb.New(g.Created())
	t := &e.totals
	g.Read(t)
	for class, n := range t.Requests {
		if shown(metrics.Class(class), n) {
			e.add(metrics.GatewayRequests, counter(float64(n), created), classes[class], gateway)
		}
	}
	e.add(metrics.GatewayRequestDuration, e.histogram(&t.Duration, created), gateway)
	e.add(metrics.GatewayRequestBytes, counter(float64(t.BytesIn), created), gateway)
	e.add(metrics.GatewayResponseBytes, counter(float64(t.BytesOut), created), gateway)
	e.add(metrics.GatewayRequestsInFlight, gauge(float64(t.InFlight)), gateway)
	for reason, n := range t.Reasons {
		if n > 0 {
			e.add(metrics.GatewayProxyErrors, counter(float64(n), created), gateway, pair("reason", e.registry.Reason(reason)))
		}
	}
	for _, route := range g.Routes() {
		e.route(gateway, route)
	}
	for _, s := range g.ReadShares() {
		e.share(gateway, s)
	}
	for _, c := range g.ReadConditions() {
		condition, route := pair("condition", c.Condition), pair("route", c.Route)
		e.add(metrics.ConditionEvaluations, counter(float64(c.Evaluations), created), condition, gateway, route)
		e.add(metrics.ConditionMatches, counter(float64(c.Matches), created), condition, gateway, route)
		e.add(metrics.ConditionSelected, counter(float64(c.Selected), created), condition, gateway, route)
	}
}

// route adds the series of a route.
func (e *exposition) route(gateway *dto.LabelPair, r *metrics.Route) {
	route, created := pair("route", r.Path()), timestamppb.New(r.Created())
	t := &e.totals
	r.Read(t)
	for class, n := range t.Requests {
		if shown(metrics.Class(class), n) {
			e.add(metrics.Requests, counter(float64(n), created), classes[class], gateway, route)
		}
	}
	e.add(metrics.RequestDuration, e.histogram(&t.Duration, created), gateway, route)
	e.add(metrics.UpstreamDuration, e.histogram(&t.Upstream, created), gateway, route)
	e.add(metrics.RequestBytes, counter(float64(t.BytesIn), created), gateway, route)
	e.add(metrics.ResponseBytes, counter(float64(t.BytesOut), created), gateway, route)
	e.add(metrics.RequestsInFlight, gauge(float64(t.InFlight)), gateway, route)
	for by, n := range r.Begun() {
		e.add(metrics.RouteDecided, counter(float64(n), created), ways[by], gateway, route)
	}
	for reason, n := range t.Reasons {
		if n > 0 {
			e.add(metrics.ProxyErrors, counter(float64(n), created), gateway, pair("reason", e.registry.Reason(reason)), route)
		}
	}
	e.tunnels(gateway, route, r)
	e.calls(gateway, route, r)
	e.load(gateway, route, r)
	e.retries(gateway, route, r)
	e.instances(gateway, route, r)
}

// retries adds what a route tells that ever wanted to try again.
func (e *exposition) retries(gateway, route *dto.LabelPair, r *metrics.Route) {
	now, ever := r.ReadRetries(e.totals.InFlight)
	if !ever {
		return
	}
	created := timestamppb.New(r.Created())
	e.add(metrics.RouteRetriesTotal, counter(float64(now.Begun), created), gateway, pair("outcome", "begun"), route)
	e.add(metrics.RouteRetriesTotal, counter(float64(now.Spent), created), gateway, pair("outcome", "retry_budget_spent"), route)
	e.add(metrics.RetryBudget, gauge(now.Budget), gateway, route)
}

// instances adds how the instances of a route stand, if somebody looks after
// them.
func (e *exposition) instances(gateway, route *dto.LabelPair, r *metrics.Route) {
	now := r.ReadInstances()
	if !now.Watched {
		return
	}
	created := timestamppb.New(r.Created())
	for state, n := range now.States {
		e.add(metrics.InstancesKnown, gauge(float64(n)), gateway, route, pair("state", metrics.InstanceStates[state]))
	}
	for cause, n := range now.Ejections {
		e.add(metrics.InstanceEjections, counter(float64(n), created), pair("cause", metrics.EjectionCauses[cause]), gateway, route)
	}
	if now.Checked {
		for result, n := range now.Checks {
			e.add(metrics.HealthChecks, counter(float64(n), created), gateway, pair("result", metrics.CheckResults[result]), route)
		}
	}
	panics := 0.0
	if now.Panic {
		panics = 1
	}
	e.add(metrics.InstancesPanic, gauge(panics), gateway, route)
	e.add(metrics.InstancesPanics, counter(float64(now.Panics), created), gateway, route)
}

// load adds what a route with limits tells.
func (e *exposition) load(gateway, route *dto.LabelPair, r *metrics.Route) {
	now := r.ReadLoad()
	if now.Queues {
		e.add(metrics.RequestsQueued, gauge(float64(now.Queued)), gateway, route)
	}
	if now.Breaks {
		e.add(metrics.BreakerState, gauge(float64(now.Breaker)), gateway, route)
		e.add(metrics.BreakerOpened, counter(float64(now.Opened), timestamppb.New(r.Created())), gateway, route)
	}
}

// tunnels adds the series of a route's tunnels, if it ever had one.
func (e *exposition) tunnels(gateway, route *dto.LabelPair, r *metrics.Route) {
	t, ever := r.ReadTunnels()
	if !ever {
		return
	}
	created := timestamppb.New(r.Created())
	e.add(metrics.TunnelsOpen, gauge(float64(t.Open)), gateway, route)
	for end, n := range t.Ended {
		e.add(metrics.TunnelsEnded, counter(float64(n), created), pair("end", metrics.TunnelEnd(end).String()), gateway, route)
	}
	e.add(metrics.TunnelBytes, counter(float64(t.BytesIn), created), pair("direction", "in"), gateway, route)
	e.add(metrics.TunnelBytes, counter(float64(t.BytesOut), created), pair("direction", "out"), gateway, route)
}

// calls adds how calls of gRPC ended on a route, if there ever was one. The
// status of success has a series from then on, so that a share of it is 0 and
// not unknown where all fail.
func (e *exposition) calls(gateway, route *dto.LabelPair, r *metrics.Route) {
	ended, ever := r.ReadGRPC()
	if !ever {
		return
	}
	created := timestamppb.New(r.Created())
	for status, n := range ended {
		if n > 0 || status == 0 {
			e.add(metrics.GRPCResponses, counter(float64(n), created), gateway, pair("grpc_status", metrics.GRPCStatus(status).String()), route)
		}
	}
}

var (
	asked     = pair("kind", "asked")
	achieved  = pair("kind", "achieved")
	byRequest = pair("kind", "achieved_by_request")
)

// share adds the shares of a route. What was achieved is left out while
// nothing was decided, and by request while no client stays on its route: it
// would be the same.
func (e *exposition) share(gateway *dto.LabelPair, s metrics.ShareTotals) {
	route := pair("route", s.Route.Path())
	e.add(metrics.RouteWeight, gauge(s.Asked), gateway, asked, route)
	if s.Decided > 0 {
		e.add(metrics.RouteWeight, gauge(s.Achieved), gateway, achieved, route)
	}
	if s.Requests > s.Decided {
		e.add(metrics.RouteWeight, gauge(s.ByRequest), gateway, byRequest, route)
	}
}

var classes = func() (pairs [metrics.Classes]*dto.LabelPair) {
	for class := range pairs {
		pairs[class] = pair("code", metrics.Class(class).String())
	}
	return pairs
}()

var ways = func() (pairs [metrics.Ways]*dto.LabelPair) {
	for by := range pairs {
		pairs[by] = pair("by", metrics.Way(by).String())
	}
	return pairs
}()

// shown tells whether a class has a series. The common ones have it from the
// beginning, so that their first request shows as an increase.
func shown(c metrics.Class, n uint64) bool {
	return n > 0 || c != metrics.ClassNone && c != metrics.Class1xx
}

func pair(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: &name, Value: &value}
}

func gauge(v float64) *dto.Metric {
	return &dto.Metric{Gauge: &dto.Gauge{Value: &v}}
}

func counter(v float64, created *timestamppb.Timestamp) *dto.Metric {
	return &dto.Metric{Counter: &dto.Counter{Value: &v, CreatedTimestamp: created}}
}

// classicStep is how many of our buckets make one classic bucket. Two buckets
// in a doubling place a quantile within 41 %, and by interpolation mostly
// within a few percent, for 42 series a histogram.
const classicStep = 2

// histogram returns both forms of a histogram, or the classic one only.
func (e *exposition) histogram(h *metrics.Histogram, created *timestamppb.Timestamp) *dto.Metric {
	d := &dto.Histogram{
		SampleSum:        new(float64(h.Sum) / float64(time.Second)),
		CreatedTimestamp: created,
	}
	d.SampleCount = new(classic(d, h))
	if e.native {
		native(d, h)
	}
	return &dto.Metric{Histogram: d}
}

// Histogram returns a histogram in both forms, for families that are no
// registry's.
func Histogram(h *metrics.Histogram) *dto.Metric {
	e := exposition{native: true}
	return e.histogram(h, nil)
}

// upperBounds holds the bounds of the classic buckets, to point to.
var upperBounds = func() (b [(metrics.Bounds + classicStep - 1) / classicStep]float64) {
	for i := range b {
		b[i] = metrics.Bound(i * classicStep)
	}
	return b
}()

// classic adds the classic buckets and returns the number of observations.
// The bucket without a bound is left to the encoders.
func classic(d *dto.Histogram, h *metrics.Histogram) (count uint64) {
	buckets := make([]dto.Bucket, len(upperBounds))
	counts := make([]uint64, len(upperBounds))
	d.Bucket = make([]*dto.Bucket, len(upperBounds))
	for i, n := range h.Counts {
		count += n
		if i < metrics.Bounds && i%classicStep == 0 {
			at := i / classicStep
			counts[at] = count
			buckets[at].CumulativeCount, buckets[at].UpperBound = &counts[at], &upperBounds[at]
			d.Bucket[at] = &buckets[at]
		}
	}
	return count
}

// maxGap is how many empty native buckets in a row are written out rather
// than skipped by a new span: a span costs as much.
const maxGap = 2

// native adds the native buckets. What is not above the lowest bound is in
// the zero bucket; what is above the highest one is in the bucket after it.
func native(d *dto.Histogram, h *metrics.Histogram) {
	d.Schema = proto.Int32(metrics.Schema)
	d.ZeroThreshold = new(metrics.Bound(0))
	d.ZeroCount = new(h.Counts[0])
	next := int32(0) // the index after the last one that was written
	var last int64   // its count
	for i, n := range h.Counts {
		if i == 0 || n == 0 {
			continue
		}
		index := int32(metrics.FirstIndex + i)
		gap := index - next
		if len(d.PositiveSpan) == 0 || gap > maxGap {
			d.PositiveSpan = append(d.PositiveSpan, &dto.BucketSpan{Offset: new(gap), Length: proto.Uint32(0)})
			gap = 0
		}
		span := d.PositiveSpan[len(d.PositiveSpan)-1]
		*span.Length += uint32(gap) + 1
		for ; gap > 0; gap-- {
			d.PositiveDelta = append(d.PositiveDelta, -last)
			last = 0
		}
		d.PositiveDelta = append(d.PositiveDelta, int64(n)-last)
		last, next = int64(n), index+1
	}
}
