// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"net/netip"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// roster remembers since when instances are known, so that the same instance
// stays the same value from plan to plan.
type roster struct {
	known map[netip.AddrPort]known
	index *routing.Instances
}

// known is an instance as its source told it, and with the time since when.
type known struct{ told, dated *routing.Instance }

// of returns all instances of the lists, indexed. Of those at one address the
// first counts.
func (r *roster) of(lists [][]*routing.Instance, now time.Time) *routing.Instances {
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	next := make(map[netip.AddrPort]known, n)
	all := make([]*routing.Instance, 0, n)
	same := r.index != nil
	for _, list := range lists {
		for _, told := range list {
			at := told.AddrPort()
			if _, twice := next[at]; twice {
				continue
			}
			k, before := r.known[at]
			if !before || k.told != told {
				same = false
				k = date(told, k, now)
			}
			next[at] = k
			all = append(all, k.dated)
		}
	}
	if !same || len(next) != len(r.known) {
		r.index = routing.NewInstances(all)
	}
	r.known = next
	return r.index
}

// date returns an instance with the time since when its address is known.
func date(told *routing.Instance, before known, now time.Time) known {
	dated := *told
	switch {
	case before.dated != nil:
		dated.Since = before.dated.Since
	case dated.Since.IsZero():
		dated.Since = now
	}
	return known{told, &dated}
}

// lists returns the instances of all objects, in the order of objects.
func (s *space) lists() [][]*routing.Instance {
	var lists [][]*routing.Instance
	for _, o := range s.ordered {
		if len(o.Instances) > 0 {
			lists = append(lists, o.Instances)
		}
	}
	return lists
}

// groups tells of the groups of a gateway.
func (s *space) groups(gateway string) []Group {
	found := make(map[string][]string)
	for _, g := range s.selection.Groups(gateway) {
		for _, i := range g.Instances {
			found[g.Name] = append(found[g.Name], i.AddrPort().String())
		}
	}
	var all []Group
	for _, k := range s.selection.Known(gateway) {
		one := Group{Name: k.Name, Since: k.Since, Instances: found[k.Name], Promoted: k.Promoted}
		if one.Instances == nil {
			one.Instances = []string{}
		}
		if !k.Gone.IsZero() {
			one.Gone = &k.Gone
		}
		all = append(all, one)
	}
	return all
}
