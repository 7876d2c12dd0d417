// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// message is a message in the making.
type message struct {
	series []*controlpb.Series
	bytes  int
}

func (m *message) full() bool { return m.bytes >= maxBytes }

func (m *message) add(s *controlpb.Series) {
	m.series = append(m.series, s)
	m.bytes += proto.Size(s) + 4 // with what stands before it
}

// number adds a counter or gauge. Labels are in the order of their names only
// where that is the order in which they come: nobody relies on it.
func (m *message) number(f metrics.Family, value float64, labels []*controlpb.Label, more ...*controlpb.Label) {
	if len(more) > 0 {
		labels = slices.Concat(labels, more)
	}
	m.add(&controlpb.Series{Name: f.Name, Labels: labels, Value: value})
}

// histogram adds durations with those bounds that a bucket which is not empty
// lies between.
func (m *message) histogram(f metrics.Family, h *metrics.Histogram, labels []*controlpb.Label) {
	s := &controlpb.Series{Name: f.Name, Labels: labels, Value: h.Sum.Seconds()}
	last := -1 // the bound that was added last
	bound := func(i int, n uint64) {
		s.Bounds, s.Buckets, last = append(s.Bounds, metrics.Bound(i)), append(s.Buckets, n), i
	}
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		s.Count += n
		if i-1 > last {
			bound(i-1, 0)
		}
		if i < metrics.Bounds {
			bound(i, n)
		}
	}
	s.Buckets = append(s.Buckets, h.Counts[metrics.Bounds])
	m.add(s)
}

// route adds what a route counted. Durations come first: by them the reader
// knows a route that began anew.
func (m *message) route(labels []*controlpb.Label, n *metrics.Totals, decided [metrics.Ways]uint64, names *metrics.Registry) {
	if n.Duration.Count() > 0 {
		m.histogram(metrics.RequestDuration, &n.Duration, labels)
	}
	if n.Upstream.Count() > 0 {
		m.histogram(metrics.UpstreamDuration, &n.Upstream, labels)
	}
	m.classes(metrics.Requests, n, labels)
	m.positive(metrics.RequestBytes, n.BytesIn, labels)
	m.positive(metrics.ResponseBytes, n.BytesOut, labels)
	m.number(metrics.RequestsInFlight, float64(n.InFlight), labels)
	for by, count := range decided {
		m.positive(metrics.RouteDecided, int64(count), labels, wayLabels[by])
	}
	m.reasons(metrics.ProxyErrors, n, labels, names)
}

// gateway adds what a gateway counted with its routes.
func (m *message) gateway(g *gateway, n *metrics.Totals, names *metrics.Registry) {
	labels := g.labels()
	if n.Duration.Count() > 0 {
		m.histogram(metrics.GatewayRequestDuration, &n.Duration, labels)
	}
	m.classes(metrics.GatewayRequests, n, labels)
	m.positive(metrics.GatewayRequestBytes, n.BytesIn, labels)
	m.positive(metrics.GatewayResponseBytes, n.BytesOut, labels)
	m.number(metrics.GatewayRequestsInFlight, float64(n.InFlight), labels)
	m.reasons(metrics.GatewayProxyErrors, n, labels, names)
}

// condition adds what a condition counted. Evaluations come first, as
// durations do.
func (m *message) condition(g *gateway, c *metrics.ConditionTotals) {
	labels := conditionLabels(g, c.ConditionKey)
	m.number(metrics.ConditionEvaluations, float64(c.Evaluations), labels)
	m.positive(metrics.ConditionMatches, int64(c.Matches), labels)
	m.positive(metrics.ConditionSelected, int64(c.Selected), labels)
}

func (m *message) classes(f metrics.Family, n *metrics.Totals, labels []*controlpb.Label) {
	for class, count := range n.Requests {
		m.positive(f, int64(count), labels, classLabels[class])
	}
}

func (m *message) reasons(f metrics.Family, n *metrics.Totals, labels []*controlpb.Label, names *metrics.Registry) {
	for i, count := range n.Reasons {
		if count > 0 {
			m.number(f, float64(count), labels, &controlpb.Label{Name: "reason", Value: names.Reason(i)})
		}
	}
}

// positive is number for what is only told if there is any.
func (m *message) positive(f metrics.Family, value int64, labels []*controlpb.Label, more ...*controlpb.Label) {
	if value > 0 {
		m.number(f, float64(value), labels, more...)
	}
}

// goneSeries tells that a gateway or route is gone, by its durations.
func goneSeries(f metrics.Family, labels []*controlpb.Label) *controlpb.Series {
	return &controlpb.Series{Name: f.Name, Labels: labels}
}

// goneCondition tells that a condition is gone, by its evaluations.
func goneCondition(g *gateway, k metrics.ConditionKey) *controlpb.Series {
	return &controlpb.Series{Name: metrics.ConditionEvaluations.Name, Labels: conditionLabels(g, k)}
}

func conditionLabels(g *gateway, k metrics.ConditionKey) []*controlpb.Label {
	return []*controlpb.Label{{Name: "gateway", Value: g.series.Name()}, {Name: "route", Value: k.Route}, {Name: "condition", Value: k.Condition}}
}

var (
	askedLabel  = &controlpb.Label{Name: "kind", Value: "asked"}
	classLabels = func() (l [metrics.Classes]*controlpb.Label) {
		for class := range l {
			l[class] = &controlpb.Label{Name: "code", Value: metrics.Class(class).String()}
		}
		return l
	}()
	wayLabels = func() (l [metrics.Ways]*controlpb.Label) {
		for by := range l {
			l[by] = &controlpb.Label{Name: "by", Value: metrics.Way(by).String()}
		}
		return l
	}()
	stateLabels = labelsOf("state", metrics.InstanceStates[:])
	causeLabels = labelsOf("cause", metrics.EjectionCauses[:])
)

func labelsOf(name string, values []string) []*controlpb.Label {
	labels := make([]*controlpb.Label, len(values))
	for i, value := range values {
		labels[i] = &controlpb.Label{Name: name, Value: value}
	}
	return labels
}
