// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// hold is what is kept although the newest table does not have it.
type hold struct {
	epoch        uint64 // of the tables that it is missing in
	since, until time.Time
	kept         []kept // in the order of the table that they are from
}

// kept is a gateway in the form that it had.
type kept struct {
	gateway *routing.Gateway
	why     string
}

// The reasons to keep a gateway.
const (
	whyNewEpoch  = "it is missing in the first table of another store"
	whyEmpty     = "the session began with a table without any gateway"
	whyInstances = "the table of another store has less than half of its instances"
)

// holdBack returns what of before is to be kept beside next, nil if nothing
// is. first says that next began a session.
func holdBack(before, next *routing.Table, first bool) []kept {
	switch {
	case before == nil:
		return nil
	case before.Version.Epoch != next.Version.Epoch:
		return missing(before, next, whyNewEpoch)
	case first && len(next.Gateways) == 0 && len(next.Broken) == 0:
		return missing(before, next, whyEmpty)
	}
	return nil
}

// missing returns the gateways of before that next does not have, or has with
// less than half of their instances. A gateway whose text is broken is not
// missing: it is asked for.
func missing(before, next *routing.Table, why string) (all []kept) {
	forms := byName(next)
	for _, g := range before.Gateways {
		if form, asked := forms[g.Name]; !asked {
			all = append(all, kept{g, why})
		} else if losesMost(g, form) {
			all = append(all, kept{g, whyInstances})
		}
	}
	return all
}

// byName returns the gateways that a table asks for, nil for those whose text
// is broken.
func byName(t *routing.Table) map[string]*routing.Gateway {
	forms := make(map[string]*routing.Gateway, len(t.Gateways)+len(t.Broken))
	for _, name := range t.Broken {
		forms[name] = nil
	}
	for _, g := range t.Gateways {
		forms[g.Name] = g
	}
	return forms
}

// losesMost reports whether more than half of the instances of a gateway are
// missing in the next form of it, nil if that is broken.
func losesMost(before, next *routing.Gateway) bool {
	if next == nil {
		return false
	}
	there := addresses(next)
	had := addresses(before)
	lost := 0
	for a := range had {
		if !there[a] {
			lost++
		}
	}
	return 2*lost > len(had)
}

func addresses(g *routing.Gateway) map[netip.AddrPort]bool {
	all := make(map[netip.AddrPort]bool)
	for _, r := range g.Routes {
		for _, i := range r.Instances {
			all[netip.AddrPortFrom(i.Address, uint16(i.Port))] = true
		}
	}
	return all
}

// still returns what of a hold is missing in a later table yet. What the table
// had once is not held any more.
func (h *hold) still(next *routing.Table) []kept {
	forms := byName(next)
	return slices.DeleteFunc(slices.Clone(h.kept), func(k kept) bool {
		form, asked := forms[k.gateway.Name]
		return asked && !losesMost(k.gateway, form)
	})
}

// merge returns a table with what is kept: in its place if it has one, behind
// the others if not.
func merge(t *routing.Table, keep []kept) *routing.Table {
	if len(keep) == 0 {
		return t
	}
	forms := make(map[string]*routing.Gateway, len(keep))
	for _, k := range keep {
		forms[k.gateway.Name] = k.gateway
	}
	out := &routing.Table{Version: t.Version, Broken: t.Broken, Gateways: slices.Clone(t.Gateways)}
	for i, g := range out.Gateways {
		if form := forms[g.Name]; form != nil {
			out.Gateways[i] = form
			delete(forms, g.Name)
		}
	}
	for _, k := range keep {
		if forms[k.gateway.Name] != nil {
			out.Gateways = append(out.Gateways, k.gateway)
		}
	}
	return out
}
