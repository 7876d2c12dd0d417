// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// size is how much a mesh is to carry. Gateways are reached by virtual hosts,
// g0.example and so on.
type size struct {
	gateways  int
	routes    int // of each gateway; 0 for 1, 2, 3, 4, 5, 1, 2, ...
	instances int // of each route
	// live are origins that answer: the instances of the first gateways.
	live []netip.AddrPort
}

// firstPort is that of the first gateway: there are not so many that are
// assigned.
const firstPort = 22_000

// lively is how many gateways lead to origins that answer.
const lively = 10

func (z size) routesOf(i int) int {
	if z.routes > 0 {
		return z.routes
	}
	return 1 + i%5
}

func hostOf(i int) string { return fmt.Sprintf("g%d.example", i) }

// table returns a table of that size, as a planner makes it of selectors.
func (z size) table() *routing.Table {
	t := &routing.Table{Version: routing.Version{Epoch: 1, Revision: 1}}
	for i := range z.gateways {
		t.Gateways = append(t.Gateways, z.gateway(i, 0))
	}
	return t
}

// gateway returns a gateway as it is after n changes, each of which is of one
// instance.
func (z size) gateway(i, n int) *routing.Gateway {
	name := fmt.Sprintf("g%d", i)
	g := &routing.Gateway{Name: name, Port: routing.Port{Number: firstPort + i}, VirtualHosts: []string{hostOf(i)}}
	routes := z.routesOf(i)
	for r := range routes {
		version := "v" + strconv.Itoa(r+1)
		route := &routing.Route{
			Path: version, Weight: share(r, routes), Strength: routing.FullWeight,
			Selector: fmt.Sprintf("label(app)(%s) and label(version)(%s)", name, version),
		}
		for k := range z.instances {
			is := &routing.Instance{
				Name: name, Address: address(i, r, k), Port: 8080, Ready: true, Kind: "container", Namespace: "default",
				Labels: []routing.Label{{Name: "app", Value: name}, {Name: "version", Value: version}},
			}
			if r == 0 && k == 0 && n > 0 {
				is.Labels = append(is.Labels, routing.Label{Name: "generation", Value: strconv.Itoa(n)})
				is.Port = 8081 + n%1000
			}
			if i < lively && len(z.live) > 0 {
				live := z.live[(k+n)%len(z.live)]
				is.Address, is.Port = live.Addr(), int(live.Port())
			}
			route.Instances = append(route.Instances, is)
		}
		g.Routes = append(g.Routes, route)
	}
	return g
}

// share spreads all of the weight over n routes.
func share(r, n int) routing.Weight {
	w := routing.FullWeight / routing.Weight(n)
	if r == 0 {
		w = routing.FullWeight - w*routing.Weight(n-1)
	}
	return w
}

func address(i, r, k int) netip.Addr {
	n := (i*5+r)*4 + k
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// text returns a gateway as a user writes it whose routes lead to one address
// each, after n changes of its weights.
func (z size) text(i, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: g%d\nport: %d/http\nvirtual_hosts: %s\n", i, firstPort+i, hostOf(i))
	routes := z.routesOf(i)
	if routes == 1 && n > 0 { // its weight stays
		fmt.Fprintf(&b, "metadata: {generation: %d}\n", n)
	}
	b.WriteString("routes:\n")
	for r := range routes {
		at := netip.AddrPortFrom(address(i, r, 0), 8080)
		if i < lively && len(z.live) > 0 {
			at = z.live[r%len(z.live)]
		}
		weight := 100 / routes
		if r == 0 {
			weight = 100 - weight*(routes-1)
		}
		shift := 0
		if n > 0 {
			shift = 1 + n%4
		}
		switch {
		case routes > 1 && r == 0:
			weight += shift
		case r == 1:
			weight -= shift
		}
		fmt.Fprintf(&b, "  \"[%s]\": {weight: %d%%}\n", at, weight)
	}
	return b.String()
}

// changes returns what writes all gateways into a store, in lots that it takes.
func (z size) changes() func(yield func([]store.Change) bool) {
	all := make([]store.Change, z.gateways)
	for i := range all {
		key := store.Key{Namespace: store.DefaultNamespace, Kind: "gateways", Name: fmt.Sprintf("g%d", i)}
		all[i] = store.Change{Key: key, Text: z.text(i, 0)}
	}
	return slices.Chunk(all, store.MaxChanges)
}
