// SPDX-License-Identifier: Apache-2.0

package report

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

const (
	// maxBytes is the size of a message beyond which nothing is added.
	maxBytes = 1 << 20
	// turns is among how many calls the instances of idle routes are divided:
	// to count them takes a lock of the proxy.
	turns = 4
	// relistEvery is after how many calls what lingers in the registry is
	// dropped, in case nobody else asks for it.
	relistEvery = 64
	// maxUnwell is how many routes wait for Health.
	maxUnwell = 100_000
)

// Reporter reads a registry again and again. It is made by [New]. Its methods
// are called by one goroutine at a time.
type Reporter struct {
	registry *metrics.Registry
	shape    uint64
	listed   bool
	gateways []*gateway
	gone     []*controlpb.Series // that is still to be told
	next     int                 // the gateway at which the next message begins
	calls    int
	totals   metrics.Totals // reused
	unwell   []unwell       // whose instances Health has to look at
}

// unwell is a route whose instances changed how they stand.
type unwell struct {
	gateway *gateway
	route   *route
}

// New returns a reporter of a registry.
func New(r *metrics.Registry) *Reporter { return &Reporter{registry: r} }

// Next returns the series that changed since the call before, nil if none did.
// A message is at most some 1 MiB long: what did not fit comes with the next
// one.
func (r *Reporter) Next() *controlpb.Counters {
	m := &message{}
	r.calls++
	r.list()
	for len(r.gone) > 0 && !m.full() {
		m.add(r.gone[0])
		r.gone = r.gone[1:]
	}
	for n := len(r.gateways); n > 0 && !m.full(); n-- {
		if r.next >= len(r.gateways) {
			r.next = 0
		}
		if !r.gateway(m, r.gateways[r.next], (r.next+r.calls)%turns == 0) {
			break // it is the first one of the next message
		}
		r.next++
	}
	if len(m.series) == 0 {
		return nil
	}
	return &controlpb.Counters{
		Start:  timestamppb.New(r.registry.Started()),
		At:     timestamppb.New(r.registry.Now()),
		Series: m.series,
	}
}

// Reset makes the next calls tell everything again, as a new session needs it.
func (r *Reporter) Reset() {
	r.unwell = nil
	for _, g := range r.gateways {
		*g = gateway{series: g.series, routes: g.routes, told: g.told, conditions: g.conditions, anew: true}
		for _, t := range g.routes {
			*t = route{series: t.series, told: t.told}
		}
	}
}

// list looks which gateways there are, if others have come or gone.
func (r *Reporter) list() {
	shape := r.registry.Shape()
	if r.listed && r.shape == shape && r.calls%relistEvery != 0 {
		return
	}
	r.shape, r.listed = shape, true
	known := make(map[*metrics.Gateway]*gateway, len(r.gateways))
	for _, g := range r.gateways {
		known[g.series] = g
	}
	series := r.registry.Gateways()
	r.gateways = make([]*gateway, len(series))
	for i, s := range series {
		g := known[s]
		if g == nil { // not many in one array: the last of them would keep all
			g = &gateway{series: s}
		}
		delete(known, s)
		r.gateways[i] = g
	}
	for _, g := range known {
		r.leave(g)
	}
}

// leave notes that a gateway and all that it has is gone.
func (r *Reporter) leave(g *gateway) {
	for _, c := range g.conditions {
		r.gone = append(r.gone, goneCondition(g, c.ConditionKey))
	}
	for _, t := range g.routes {
		if t.told {
			r.gone = append(r.gone, goneSeries(metrics.RequestDuration, g.labelsOf(t)))
		}
	}
	if g.told {
		r.gone = append(r.gone, goneSeries(metrics.GatewayRequestDuration, g.labels()))
	}
}
