// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/metrics/prom"
)

// Gather returns the merged series as families by name, for Prometheus. They
// are named sluice_mesh_ and what follows in the names of a proxy, and carry
// the label namespace beside those: a sum over a family of proxies is no
// other one for the control plane being scraped as well. What was achieved of
// the weights is that of the longest window. A route that counted nothing
// shows its weight alone.
func (b *Book) Gather() ([]*dto.MetricFamily, error) {
	e := exposition{book: b, byName: map[string]*dto.MetricFamily{}}
	b.mu.Lock()
	groups := make([]*group, 0, len(b.groups))
	for _, g := range b.groups {
		groups = append(groups, g)
	}
	b.mu.Unlock()
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.gateway, b.gateway))
	})
	for _, g := range groups { // proxies get their turn in between
		b.mu.Lock()
		e.group(g)
		b.mu.Unlock()
	}
	families := make([]*dto.MetricFamily, 0, len(e.byName))
	for _, f := range e.byName {
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, nil
}

// exposition is a set of families in the making.
type exposition struct {
	book   *Book
	byName map[string]*dto.MetricFamily
}

// group adds all that is counted of a gateway.
func (e *exposition) group(g *group) {
	members := make([]*series, 0, len(g.members))
	for _, s := range g.members {
		members = append(members, s)
	}
	slices.SortFunc(members, func(a, b *series) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.route, b.route), strings.Compare(a.condition, b.condition))
	})
	var routes []*series
	for _, s := range members {
		switch s.kind {
		case kindGateway:
			e.gateway(s)
		case kindRoute:
			e.route(s)
			routes = append(routes, s)
		case kindCondition:
			e.counter(metrics.ConditionEvaluations, s, fieldEvaluated)
			e.counter(metrics.ConditionMatches, s, fieldMatched)
			e.counter(metrics.ConditionSelected, s, fieldSelected)
		}
	}
	e.shares(routes)
}

func (e *exposition) gateway(s *series) {
	for c, name := range classes {
		e.positive(metrics.GatewayRequests, s, fieldClass+field(c), "code", name)
	}
	e.histogram(metrics.GatewayRequestDuration, s, fieldBucket, fieldSum)
	e.counter(metrics.GatewayRequestBytes, s, fieldBytesIn)
	e.counter(metrics.GatewayResponseBytes, s, fieldBytesOut)
	e.gauge(metrics.GatewayRequestsInFlight, s, float64(s.stands.inFlight))
	e.reasons(metrics.GatewayProxyErrors, s)
}

func (e *exposition) route(s *series) {
	if len(s.total.fields) == 0 && s.stands == (standing{}) {
		return
	}
	for c, name := range classes {
		e.positive(metrics.Requests, s, fieldClass+field(c), "code", name)
	}
	e.histogram(metrics.RequestDuration, s, fieldBucket, fieldSum)
	e.histogram(metrics.UpstreamDuration, s, fieldAsked, fieldUpstream)
	e.counter(metrics.RequestBytes, s, fieldBytesIn)
	e.counter(metrics.ResponseBytes, s, fieldBytesOut)
	e.gauge(metrics.RequestsInFlight, s, float64(s.stands.inFlight))
	for by, name := range ways {
		e.counter(metrics.RouteDecided, s, fieldDecided+field(by), "by", name)
	}
	e.reasons(metrics.ProxyErrors, s)
	if s.stands.instances == (standing{}).instances {
		return
	}
	for i, name := range metrics.InstanceStates {
		e.gauge(metrics.InstancesKnown, s, float64(s.stands.instances[i]), "state", name)
	}
	for i, name := range metrics.EjectionCauses {
		e.counter(metrics.InstanceEjections, s, fieldEjected+field(i), "cause", name)
	}
}

// reasons adds the answers of the proxies' own making, by reason.
func (e *exposition) reasons(f metrics.Family, s *series) {
	counts := map[string]uint64{}
	for n, name := range s.total.reasons(e.book) {
		counts[name] = n
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		e.add(f, s, counted(counts[name]), "reason", name)
	}
}

// shares adds what is asked of the weights, and what comes of it.
func (e *exposition) shares(routes []*series) {
	now, all := e.book.now(), uint64(0)
	decided := make([]uint64, len(routes))
	for i, s := range routes {
		decided[i] = s.lately(fieldDecided+field(metrics.ByWeight), now)
		all += decided[i]
	}
	for i, s := range routes {
		e.gauge(metrics.RouteWeight, s, s.asked, "kind", "asked")
		if all > 0 {
			e.gauge(metrics.RouteWeight, s, ratio(decided[i], all), "kind", "achieved")
		}
	}
}

// lately returns a number of the longest window.
func (s *series) lately(f field, now time.Duration) (n uint64) {
	if s.rings == nil {
		return 0
	}
	at := len(windows) - 1
	for _, step := range s.rings[at].within(now, &windows[at]) {
		n += step.at(f)
	}
	return n
}

// add adds a series to its family, with labels in order of their names.
func (e *exposition) add(f metrics.Family, s *series, m *dto.Metric, more ...string) {
	name := "sluice_mesh_" + strings.TrimPrefix(f.Name, "sluice_")
	family := e.byName[name]
	if family == nil {
		family = &dto.MetricFamily{Name: &name, Help: new("Over all proxies: " + f.Help), Type: kinds[f.Kind].Enum()}
		e.byName[name] = family
	}
	m.Label = append(m.Label, pair("gateway", s.gateway), pair("namespace", s.namespace))
	if s.kind != kindGateway {
		m.Label = append(m.Label, pair("route", s.route))
	}
	if s.kind == kindCondition {
		m.Label = append(m.Label, pair("condition", s.condition))
	}
	for i := 0; i+1 < len(more); i += 2 {
		m.Label = append(m.Label, pair(more[i], more[i+1]))
	}
	slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	family.Metric = append(family.Metric, m)
}

func (e *exposition) counter(f metrics.Family, s *series, at field, more ...string) {
	e.add(f, s, counted(s.total.at(at)), more...)
}

// positive is counter for what has a series once there is any.
func (e *exposition) positive(f metrics.Family, s *series, at field, more ...string) {
	if s.total.at(at) > 0 {
		e.counter(f, s, at, more...)
	}
}

func (e *exposition) gauge(f metrics.Family, s *series, value float64, more ...string) {
	e.add(f, s, &dto.Metric{Gauge: &dto.Gauge{Value: &value}}, more...)
}

func (e *exposition) histogram(f metrics.Family, s *series, buckets, sum field) {
	h := s.total.histogram(buckets, sum)
	e.add(f, s, prom.Histogram(&h))
}

var kinds = [...]dto.MetricType{
	metrics.KindCounter:   dto.MetricType_COUNTER,
	metrics.KindGauge:     dto.MetricType_GAUGE,
	metrics.KindHistogram: dto.MetricType_HISTOGRAM,
}

func counted(n uint64) *dto.Metric {
	return &dto.Metric{Counter: &dto.Counter{Value: new(float64(n))}}
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
