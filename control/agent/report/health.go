// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// maxStates bounds how many instances one message tells of.
const maxStates = 1000

// state is what was told of an instance that is not well.
type state struct {
	word  string
	until time.Time
}

// Health returns which instances are no longer well, or well again, as [Next]
// has noticed since the call before; nil if nothing changed. states tells how
// those of a route stand, nothing for a route that is gone. Instances that are
// well are not told of, unless they were not before. What does not fit into a
// message comes with the next one.
func (r *Reporter) Health(states func(gateway, route string) []routing.InstanceState) *controlpb.Health {
	var changed []*controlpb.InstanceState
	for len(r.unwell) > 0 && len(changed) < maxStates {
		one := r.unwell[0]
		r.unwell = r.unwell[1:]
		one.route.unwell = false
		changed = one.health(changed, states(one.gateway.series.Name(), one.route.series.Path()))
	}
	if len(r.unwell) == 0 {
		r.unwell = nil // after a large table it was long
	}
	if len(changed) == 0 {
		return nil
	}
	return &controlpb.Health{Changed: changed}
}

// health appends what changed of the instances of a route.
func (u unwell) health(changed []*controlpb.InstanceState, now []routing.InstanceState) []*controlpb.InstanceState {
	t := u.route
	before := t.states
	t.states = nil
	for i := range now {
		s := &now[i]
		was, ill := before[s.Address]
		delete(before, s.Address)
		if s.State != routing.StateUnhealthy && s.State != routing.StateEjected {
			if ill {
				changed = append(changed, u.tell(s))
			}
			continue
		}
		if t.states == nil {
			t.states = map[string]state{}
		}
		t.states[s.Address] = state{s.State, s.Until}
		if !ill || was != t.states[s.Address] {
			changed = append(changed, u.tell(s))
		}
	}
	for address := range before {
		gone := u.tell(&routing.InstanceState{Address: address, State: routing.StateUnknown})
		gone.Gone = true
		changed = append(changed, gone)
	}
	return changed
}

func (u unwell) tell(s *routing.InstanceState) *controlpb.InstanceState {
	m := &controlpb.InstanceState{
		Gateway: u.gateway.series.Name(), Route: u.route.series.Path(),
		Address: s.Address, State: s.State, Why: s.Why,
	}
	if !s.Since.IsZero() {
		m.Since = timestamppb.New(s.Since)
	}
	if !s.Until.IsZero() {
		m.Until = timestamppb.New(s.Until)
	}
	return m
}
