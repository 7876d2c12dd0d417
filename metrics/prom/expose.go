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
	e := exposition{registry: r, native: native}
	families := e.values()
	for i := range sources {
		e.walk(&sources[i])
		if len(e.metrics) > 0 {
			families = append(families, familyOf(sources[i].family, e.metrics))
		}
		e.metrics = nil
	}
	return families
}

func familyOf(f metrics.Family, list []*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: new(f.Name), Help: new(f.Help), Type: kinds[f.Kind].Enum(), Metric: list}
}

var kinds = [...]dto.MetricType{
	metrics.KindCounter:   dto.MetricType_COUNTER,
	metrics.KindGauge:     dto.MetricType_GAUGE,
	metrics.KindHistogram: dto.MetricType_HISTOGRAM,
}

// exposition is the series of one family in the making. Gateways and routes are
// walked once for each family, so that no more than a part of one has to be in
// memory: of 10,000 gateways all would be hundreds of megabytes.
type exposition struct {
	registry *metrics.Registry
	native   bool
	metrics  []*dto.Metric
	totals   metrics.Totals // reused

	// full, if not nil, is called when there are many metrics. It takes them, and
	// calls reuse.
	full func()
	room []*classicRoom // for histograms, if full is not nil
	used int            // of room
	// gone reports that nobody wants any more; it may be nil.
	gone func() bool
}

// most is how many metrics there are when full is called. A histogram is some
// 4 KB.
const most = 128

// add adds a series to the family. The labels are in order of their names.
func (e *exposition) add(m *dto.Metric, labels ...*dto.LabelPair) {
	m.Label = labels
	e.metrics = append(e.metrics, m)
	if e.full != nil && len(e.metrics) >= most {
		e.full()
	}
}

// reuse lets go of the metrics, whose histograms are made again of the same
// parts.
func (e *exposition) reuse() { e.metrics, e.used = e.metrics[:0], 0 }

// classicRoom is what the classic buckets of a histogram are made of.
type classicRoom struct {
	list    []*dto.Bucket
	buckets []dto.Bucket
	counts  []uint64
}

func newClassicRoom() *classicRoom {
	r := &classicRoom{
		list:    make([]*dto.Bucket, len(upperBounds)),
		buckets: make([]dto.Bucket, len(upperBounds)),
		counts:  make([]uint64, len(upperBounds)),
	}
	for i := range r.list {
		r.buckets[i].CumulativeCount, r.buckets[i].UpperBound = &r.counts[i], &upperBounds[i]
		r.list[i] = &r.buckets[i]
	}
	return r
}

// next returns room that is free.
func (e *exposition) next() *classicRoom {
	if e.full == nil {
		return newClassicRoom()
	}
	if e.used == len(e.room) {
		e.room = append(e.room, newClassicRoom())
	}
	e.used++
	return e.room[e.used-1]
}

// values returns the families of process-wide numbers and histograms.
func (e *exposition) values() (families []*dto.MetricFamily) {
	created := timestamppb.New(e.registry.Started())
	for _, v := range e.registry.Values() { // by family
		labels := make([]*dto.LabelPair, len(v.Labels))
		for i, l := range v.Labels {
			labels[i] = pair(l.Name, l.Value)
		}
		m := gauge(v.Value)
		switch {
		case v.Histogram != nil:
			m = e.histogram(v.Histogram, created)
		case v.Family.Kind == metrics.KindCounter:
			m = counter(v.Value, created)
		}
		m.Label = labels
		if n := len(families); n == 0 || families[n-1].GetName() != v.Family.Name {
			families = append(families, familyOf(v.Family, nil))
		}
		last := families[len(families)-1]
		last.Metric = append(last.Metric, m)
	}
	return families
}

// source is a family with what adds the series that a gateway, or a route of
// one, has of it.
type source struct {
	family  metrics.Family
	gateway func(*exposition, *subject)
	route   func(*exposition, *subject)
}

// subject is a gateway, or a route of one, with the parts of its series that
// are made when they are wanted: many have none of most families.
type subject struct {
	of      *metrics.Gateway
	route   *metrics.Route // nil for the gateway itself
	gateway *dto.LabelPair
	path    *dto.LabelPair
	since   *timestamppb.Timestamp
}

func (s *subject) g() *dto.LabelPair {
	if s.gateway == nil {
		s.gateway = pair("gateway", s.of.Name())
	}
	return s.gateway
}

func (s *subject) r() *dto.LabelPair {
	if s.path == nil {
		s.path = pair("route", s.route.Path())
	}
	return s.path
}

func (s *subject) created() *timestamppb.Timestamp {
	if s.since == nil && s.route != nil {
		s.since = timestamppb.New(s.route.Created())
	} else if s.since == nil {
		s.since = timestamppb.New(s.of.Created())
	}
	return s.since
}

// walk adds all series of a family.
func (e *exposition) walk(f *source) {
	for _, g := range e.registry.Gateways() {
		if e.gone != nil && e.gone() {
			return
		}
		s := subject{of: g}
		if f.gateway != nil {
			f.gateway(e, &s)
			continue
		}
		for _, r := range g.Routes() {
			one := subject{of: g, route: r, gateway: s.gateway}
			f.route(e, &one)
			s.gateway = one.gateway
		}
	}
}

// ofGateway and ofRoute are families of what gateways and routes count: add has
// the counts in totals.
func ofGateway(f metrics.Family, add func(*exposition, *subject)) source {
	return source{family: f, gateway: func(e *exposition, s *subject) {
		s.of.Read(&e.totals)
		add(e, s)
	}}
}

func ofRoute(f metrics.Family, add func(*exposition, *subject)) source {
	return source{family: f, route: func(e *exposition, s *subject) {
		s.route.Read(&e.totals)
		add(e, s)
	}}
}

// sources are all families of gateways, routes and conditions.
var sources = []source{
	ofGateway(metrics.GatewayRequests, func(e *exposition, s *subject) {
		for class, n := range e.totals.Requests {
			if shown(metrics.Class(class), n) {
				e.add(counter(float64(n), s.created()), classes[class], s.g())
			}
		}
	}),
	ofGateway(metrics.GatewayRequestDuration, func(e *exposition, s *subject) {
		e.add(e.histogram(&e.totals.Duration, s.created()), s.g())
	}),
	ofGateway(metrics.GatewayRequestBytes, func(e *exposition, s *subject) {
		e.add(counter(float64(e.totals.BytesIn), s.created()), s.g())
	}),
	ofGateway(metrics.GatewayResponseBytes, func(e *exposition, s *subject) {
		e.add(counter(float64(e.totals.BytesOut), s.created()), s.g())
	}),
	ofGateway(metrics.GatewayRequestsInFlight, func(e *exposition, s *subject) {
		e.add(gauge(float64(e.totals.InFlight)), s.g())
	}),
	ofGateway(metrics.GatewayProxyErrors, func(e *exposition, s *subject) {
		for reason, n := range e.totals.Reasons {
			if n > 0 {
				e.add(counter(float64(n), s.created()), s.g(), pair("reason", e.registry.Reason(reason)))
			}
		}
	}),
	ofRoute(metrics.Requests, func(e *exposition, s *subject) {
		for class, n := range e.totals.Requests {
			if shown(metrics.Class(class), n) {
				e.add(counter(float64(n), s.created()), classes[class], s.g(), s.r())
			}
		}
	}),
	ofRoute(metrics.RequestDuration, func(e *exposition, s *subject) {
		e.add(e.histogram(&e.totals.Duration, s.created()), s.g(), s.r())
	}),
	ofRoute(metrics.UpstreamDuration, func(e *exposition, s *subject) {
		e.add(e.histogram(&e.totals.Upstream, s.created()), s.g(), s.r())
	}),
	ofRoute(metrics.RequestBytes, func(e *exposition, s *subject) {
		e.add(counter(float64(e.totals.BytesIn), s.created()), s.g(), s.r())
	}),
	ofRoute(metrics.ResponseBytes, func(e *exposition, s *subject) {
		e.add(counter(float64(e.totals.BytesOut), s.created()), s.g(), s.r())
	}),
	ofRoute(metrics.RequestsInFlight, func(e *exposition, s *subject) {
		e.add(gauge(float64(e.totals.InFlight)), s.g(), s.r())
	}),
	{family: metrics.RouteDecided, route: func(e *exposition, s *subject) {
		for by, n := range s.route.Begun() {
			e.add(counter(float64(n), s.created()), ways[by], s.g(), s.r())
		}
	}},
	ofRoute(metrics.ProxyErrors, func(e *exposition, s *subject) {
		for reason, n := range e.totals.Reasons {
			if n > 0 {
				e.add(counter(float64(n), s.created()), s.g(), pair("reason", e.registry.Reason(reason)), s.r())
			}
		}
	}),
	// What routes show that ever had a tunnel.
	ofTunnels(metrics.TunnelsOpen, func(e *exposition, s *subject, t *metrics.TunnelTotals) {
		e.add(gauge(float64(t.Open)), s.g(), s.r())
	}),
	ofTunnels(metrics.TunnelsEnded, func(e *exposition, s *subject, t *metrics.TunnelTotals) {
		for end, n := range t.Ended {
			e.add(counter(float64(n), s.created()), pair("end", metrics.TunnelEnd(end).String()), s.g(), s.r())
		}
	}),
	ofTunnels(metrics.TunnelBytes, func(e *exposition, s *subject, t *metrics.TunnelTotals) {
		e.add(counter(float64(t.BytesIn), s.created()), pair("direction", "in"), s.g(), s.r())
		e.add(counter(float64(t.BytesOut), s.created()), pair("direction", "out"), s.g(), s.r())
	}),
	// How calls of gRPC ended, if there ever was one. The status of success has a
	// series from then on, so that a share of it is 0 and not unknown where all
	// fail.
	{family: metrics.GRPCResponses, route: func(e *exposition, s *subject) {
		ended, ever := s.route.ReadGRPC()
		for status, n := range ended {
			if ever && (n > 0 || status == 0) {
				e.add(counter(float64(n), s.created()), s.g(), pair("grpc_status", metrics.GRPCStatus(status).String()), s.r())
			}
		}
	}},
	// What routes with limits show.
	{family: metrics.RequestsQueued, route: func(e *exposition, s *subject) {
		if now := s.route.ReadLoad(); now.Queues {
			e.add(gauge(float64(now.Queued)), s.g(), s.r())
		}
	}},
	{family: metrics.BreakerState, route: func(e *exposition, s *subject) {
		if now := s.route.ReadLoad(); now.Breaks {
			e.add(gauge(float64(now.Breaker)), s.g(), s.r())
		}
	}},
	{family: metrics.BreakerOpened, route: func(e *exposition, s *subject) {
		if now := s.route.ReadLoad(); now.Breaks {
			e.add(counter(float64(now.Opened), s.created()), s.g(), s.r())
		}
	}},
	// What routes show that ever wanted to try again.
	ofRoute(metrics.RouteRetriesTotal, func(e *exposition, s *subject) {
		if now, ever := s.route.ReadRetries(e.totals.InFlight); ever {
			e.add(counter(float64(now.Begun), s.created()), s.g(), pair("outcome", "begun"), s.r())
			e.add(counter(float64(now.Spent), s.created()), s.g(), pair("outcome", "retry_budget_spent"), s.r())
		}
	}),
	ofRoute(metrics.RetryBudget, func(e *exposition, s *subject) {
		if now, ever := s.route.ReadRetries(e.totals.InFlight); ever {
			e.add(gauge(now.Budget), s.g(), s.r())
		}
	}),
	// How instances stand, if somebody looks after them.
	ofInstances(metrics.InstancesKnown, func(e *exposition, s *subject, now *metrics.Instances) {
		for state, n := range now.States {
			e.add(gauge(float64(n)), s.g(), s.r(), pair("state", metrics.InstanceStates[state]))
		}
	}),
	ofInstances(metrics.InstanceEjections, func(e *exposition, s *subject, now *metrics.Instances) {
		for cause, n := range now.Ejections {
			e.add(counter(float64(n), s.created()), pair("cause", metrics.EjectionCauses[cause]), s.g(), s.r())
		}
	}),
	ofInstances(metrics.HealthChecks, func(e *exposition, s *subject, now *metrics.Instances) {
		for result, n := range now.Checks {
			if now.Checked {
				e.add(counter(float64(n), s.created()), s.g(), pair("result", metrics.CheckResults[result]), s.r())
			}
		}
	}),
	ofInstances(metrics.InstancesPanic, func(e *exposition, s *subject, now *metrics.Instances) {
		panics := 0.0
		if now.Panic {
			panics = 1
		}
		e.add(gauge(panics), s.g(), s.r())
	}),
	ofInstances(metrics.InstancesPanics, func(e *exposition, s *subject, now *metrics.Instances) {
		e.add(counter(float64(now.Panics), s.created()), s.g(), s.r())
	}),
	// The shares of routes. What was achieved is left out while nothing was
	// decided, and by request while no client stays on its route: it would be the
	// same.
	{family: metrics.RouteWeight, gateway: func(e *exposition, s *subject) {
		for _, one := range s.of.ReadShares() {
			route := pair("route", one.Route.Path())
			e.add(gauge(one.Asked), s.g(), asked, route)
			if one.Decided > 0 {
				e.add(gauge(one.Achieved), s.g(), achieved, route)
			}
			if one.Requests > one.Decided {
				e.add(gauge(one.ByRequest), s.g(), byRequest, route)
			}
		}
	}},
	ofConditions(metrics.ConditionEvaluations, func(c *metrics.ConditionTotals) uint64 { return c.Evaluations }),
	ofConditions(metrics.ConditionMatches, func(c *metrics.ConditionTotals) uint64 { return c.Matches }),
	ofConditions(metrics.ConditionSelected, func(c *metrics.ConditionTotals) uint64 { return c.Selected }),
}

func ofTunnels(f metrics.Family, add func(*exposition, *subject, *metrics.TunnelTotals)) source {
	return source{family: f, route: func(e *exposition, s *subject) {
		if t, ever := s.route.ReadTunnels(); ever {
			add(e, s, &t)
		}
	}}
}

func ofInstances(f metrics.Family, add func(*exposition, *subject, *metrics.Instances)) source {
	return source{family: f, route: func(e *exposition, s *subject) {
		if now := s.route.ReadInstances(); now.Watched {
			add(e, s, &now)
		}
	}}
}

func ofConditions(f metrics.Family, count func(*metrics.ConditionTotals) uint64) source {
	return source{family: f, gateway: func(e *exposition, s *subject) {
		for _, c := range s.of.ReadConditions() {
			e.add(counter(float64(count(&c)), s.created()), pair("condition", c.Condition), s.g(), pair("route", c.Route))
		}
	}}
}

var (
	asked     = pair("kind", "asked")
	achieved  = pair("kind", "achieved")
	byRequest = pair("kind", "achieved_by_request")
)

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
	d.SampleCount = new(e.next().classic(d, h))
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
func (r *classicRoom) classic(d *dto.Histogram, h *metrics.Histogram) (count uint64) {
	d.Bucket = r.list
	for i, n := range h.Counts {
		count += n
		if i < metrics.Bounds && i%classicStep == 0 {
			r.counts[i/classicStep] = count
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
