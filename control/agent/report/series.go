// SPDX-License-Identifier: Apache-2.0

package report

import (
	"unique"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// gateway is what was told of a gateway.
type gateway struct {
	series *metrics.Gateway
	routes []*route

	listed     bool // shape is that of the routes
	shape      uint64
	next       int    // the route at which the next message goes on
	stirred    bool   // something of it changed that it was not told with yet
	told       bool   // ever, not only since Reset
	begun      uint64 // at the gateway itself
	inFlight   uint64
	ended      uint64
	conditions []metrics.ConditionTotals // those that were ever asked
	anew       bool                      // they have to be told again
}

// labels returns those of the gateway's own series. They are made when there is
// something to tell: of a large table, next to nothing is told at a time.
func (g *gateway) labels() []*controlpb.Label {
	return []*controlpb.Label{{Name: "gateway", Value: g.series.Name()}}
}

// route is what was told of a route. There is one for each route of the table,
// most of which are idle, so what many have alike is shared.
type route struct {
	series *metrics.Route

	begun     uint64
	inFlight  uint64
	asked     float64 // as it is
	askedTold float64
	instances unique.Handle[metrics.Instances] // the zero Handle for none
	states    map[string]state
	told      bool // ever, not only since Reset
	unwell    bool // it waits for Health
}

// labelsOf returns those of a route's series, made as those of the gateway.
func (g *gateway) labelsOf(t *route) []*controlpb.Label {
	return append(g.labels(), &controlpb.Label{Name: "route", Value: t.series.Path()})
}

// stand returns how the instances of the route stood when that was told.
func (t *route) stand() metrics.Instances {
	if t.instances == (unique.Handle[metrics.Instances]{}) {
		return metrics.Instances{}
	}
	return t.instances.Value()
}

// gateway tells of a gateway and its routes what changed, and reports whether
// all of it did fit. Instances of routes that are idle are only looked at if
// it is their turn.
func (r *Reporter) gateway(m *message, g *gateway, turn bool) bool {
	if shape := g.series.Shape(); !g.listed || g.shape != shape {
		g.listed, g.shape, g.stirred = true, shape, true
		r.routes(g)
	}
	for n := len(g.routes); n > 0; n-- {
		if m.full() {
			return false
		}
		if g.next >= len(g.routes) {
			g.next = 0
		}
		if r.route(m, g, g.routes[g.next], turn) {
			g.stirred = true
		}
		g.next++
	}
	if begun := g.series.Begun(); begun != g.begun || g.inFlight > 0 {
		g.begun, g.stirred = begun, true
	}
	if g.stirred {
		g.stirred = false
		r.own(m, g)
	}
	return true
}

// routes looks which routes a gateway has, and what is asked of them.
func (r *Reporter) routes(g *gateway) {
	asked := map[*metrics.Route]float64{}
	for _, share := range g.series.ReadShares() {
		asked[share.Route] = share.Asked
	}
	known := make(map[*metrics.Route]*route, len(g.routes))
	for _, t := range g.routes {
		known[t.series] = t
	}
	series := g.series.Routes()
	g.routes = make([]*route, len(series))
	for i, s := range series {
		t := known[s]
		if t == nil { // each by itself, as gateways are
			t = &route{series: s}
		}
		delete(known, s)
		t.asked = asked[s]
		g.routes[i] = t
	}
	for _, t := range known {
		if t.told {
			r.gone = append(r.gone, goneSeries(metrics.RequestDuration, g.labelsOf(t)))
		}
	}
}

// route tells what changed of a route, and reports whether exchanges did.
func (r *Reporter) route(m *message, g *gateway, t *route, turn bool) (stirred bool) {
	decided := t.series.Begun() // before all else is read, see there
	begun := decided[metrics.ByWeight] + decided[metrics.ByCondition] + decided[metrics.ByClient]
	if begun != t.begun || t.inFlight > 0 {
		r.totals = metrics.Totals{}
		t.series.Read(&r.totals)
		if begun != t.begun || r.totals.InFlight != t.inFlight {
			t.begun, t.inFlight, t.told = begun, r.totals.InFlight, true
			m.route(g.labelsOf(t), &r.totals, decided, r.registry)
			stirred = true
		}
	}
	if t.asked != t.askedTold {
		t.askedTold, t.told = t.asked, true
		m.number(metrics.RouteWeight, t.asked, g.labelsOf(t), askedLabel)
	}
	if turn || stirred {
		r.instances(m, g, t)
	}
	return stirred
}

// instances tells how the instances of a route stand, if that changed.
func (r *Reporter) instances(m *message, g *gateway, t *route) {
	now := t.series.ReadInstances()
	now.Checked, now.Checks = false, [len(now.Checks)]uint64{} // they are not told
	was := t.stand()
	if now == was {
		return
	}
	labels := g.labelsOf(t)
	for i, n := range now.States {
		if n != was.States[i] {
			m.number(metrics.InstancesKnown, float64(n), labels, stateLabels[i])
		}
	}
	for i, n := range now.Ejections {
		if n != was.Ejections[i] {
			m.number(metrics.InstanceEjections, float64(n), labels, causeLabels[i])
		}
	}
	t.instances, t.told = unique.Make(now), true
	if !t.unwell && len(r.unwell) < maxUnwell {
		t.unwell = true
		r.unwell = append(r.unwell, unwell{g, t})
	}
}

// own tells what a gateway came to with all its routes, and its conditions.
func (r *Reporter) own(m *message, g *gateway) {
	g.series.Read(&r.totals)
	if ended := r.totals.Duration.Count(); ended != g.ended || r.totals.InFlight != g.inFlight {
		g.ended, g.inFlight, g.told = ended, r.totals.InFlight, true
		m.gateway(g, &r.totals, r.registry)
	}
	r.conditions(m, g)
}

// conditions tells of the conditions of a gateway what changed.
func (r *Reporter) conditions(m *message, g *gateway) {
	former := make(map[metrics.ConditionKey]metrics.ConditionTotals, len(g.conditions))
	for _, c := range g.conditions {
		former[c.ConditionKey] = c
	}
	g.conditions = g.conditions[:0]
	for _, c := range g.series.ReadConditions() {
		before := former[c.ConditionKey]
		if c.Evaluations < before.Evaluations { // it was gone meanwhile
			r.gone = append(r.gone, goneCondition(g, c.ConditionKey))
			before = metrics.ConditionTotals{}
		}
		delete(former, c.ConditionKey)
		if c.Evaluations == 0 {
			continue
		}
		g.conditions = append(g.conditions, c)
		if before.Evaluations != c.Evaluations || g.anew {
			m.condition(g, &c)
		}
	}
	g.anew = false
	for key := range former {
		r.gone = append(r.gone, goneCondition(g, key))
	}
}
