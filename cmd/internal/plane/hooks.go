// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// slow is how long a change may take to all proxies before that is an event.
const slow = 10 * time.Second

// hooks has what happens to proxies written down.
func (p *Plane) hooks() stream.Hooks {
	return stream.Hooks{
		Joined:  p.joined,
		Left:    p.left,
		Refused: p.refused,
		Settled: p.settled,
	}
}

func (p *Plane) joined(x stream.Proxy) {
	p.look()
	for _, ns := range x.Namespaces {
		p.events.Tell(events.ProxyJoined(ns, x.Node))
	}
}

func (p *Plane) left(x stream.Proxy) {
	p.look()
	for _, ns := range x.Namespaces {
		p.events.Tell(events.ProxyLeft(ns, x.Node, x.Reason))
	}
}

func (p *Plane) refused(x stream.Proxy, r stream.Refusal) {
	p.look()
	reasons := make([]string, 0, len(r.Reasons))
	for _, one := range r.Reasons {
		reasons = append(reasons, one.String())
	}
	text := strings.Join(reasons, "; ")
	if r.Gateway != "" {
		p.events.Tell(events.ProxyRefused(r.Namespace, x.Node, r.Gateway, text))
		return
	}
	if len(x.Namespaces) > 1 { // the reasons may name what is another's
		text = "the whole table"
	}
	for _, ns := range x.Namespaces {
		p.events.Tell(events.ProxyRefused(ns, x.Node, "", text))
	}
}

// settled tells what differs now that all proxies serve a table.
func (p *Plane) settled(s stream.Settled) {
	p.look()
	if s.Table != nil { // else one that comes after it tells of both
		p.tellSettled(s)
	}
	if s.Took < slow {
		return
	}
	for _, c := range s.Changes {
		if c.Change != 0 {
			p.events.Tell(events.SlowConvergence(s.Namespace, c.Change, s.Took, s.Last))
		}
	}
}

// tellSettled notes the table that all proxies of a namespace serve, and tells
// what differs from the one before. Hooks may overtake each other, so that an
// older table may come late; what it brought was told with the newer one.
func (p *Plane) tellSettled(s stream.Settled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.served[s.Namespace]
	if before != nil && before.Version.Epoch == s.Version.Epoch && before.Version.Revision > s.Version.Revision {
		return
	}
	if before == nil {
		before = &routing.Table{}
	}
	p.served[s.Namespace] = s.Table
	p.events.Tell(differences(s.Namespace, before, s.Table)...) // which does not block
}

// begin notes what a namespace begins with. What there was at the start of the
// process is nothing new; what comes by a change is.
func (p *Plane) begin(plan planner.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.served[plan.Namespace] != nil {
		return
	}
	p.served[plan.Namespace] = &routing.Table{}
	if len(plan.Changes) == 0 {
		p.served[plan.Namespace] = plan.Table
	}
}

// differences returns the events between two tables.
func differences(namespace string, before, after *routing.Table) []store.Event {
	old := make(map[string]*routing.Gateway, len(before.Gateways))
	for _, g := range before.Gateways {
		old[g.Name] = g
	}
	var all []store.Event
	for _, g := range after.Gateways {
		was := old[g.Name]
		delete(old, g.Name)
		if was == g {
			continue
		}
		if was == nil {
			all = append(all, events.Deployed(namespace, g))
		}
		all = append(all, events.Differences(namespace, was, g)...)
	}
	for _, g := range before.Gateways {
		if old[g.Name] != nil {
			all = append(all, events.Undeployed(namespace, g))
		}
	}
	return all
}
