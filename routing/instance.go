// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"net/netip"
	"slices"
	"time"
)

// Instance is one reachable address: one port of one thing that runs. What
// runs with three ports is three instances. An Instance is not changed once
// it was handed on.
type Instance struct {
	// Name is that of the group that the instance belongs to, such as a
	// deployment; selectors ask for it by name(...). It may be empty.
	Name string
	// ID is the whole name of that group where names have a path, such as that
	// of an app of Marathon: "/shop/web", whose Name is "web". It is empty
	// elsewhere.
	ID string
	// Names are those by which routes may ask for the instance instead of
	// looking an address up: a host name or IP address and a port, in lower
	// case, such as "web.example:80" or "10.0.0.1:80". Most have none.
	Names   []string
	Address netip.Addr
	Port    int // where it listens, 1 to 65535
	// Declared is the number of the port as its owner declared it, where that
	// differs from where it listens. Zero means Port.
	Declared int
	// Index is the position of the port in the list of ports, from 0.
	Index     int
	Labels    []Label // in the order of their source, which matching follows
	Kind      string  // container, service or app
	Namespace string
	Image     string // empty if it has none
	Zone      string // where it runs; may be empty
	Node      string // machine on which it runs; may be empty
	// Weight is its share among the instances of a route. Zero means 100.
	Weight int
	// Ready reports that it may take requests.
	Ready bool
	// Unproven reports that it is Ready for no better reason than that it runs:
	// whoever started it does not check whether it answers.
	Unproven bool
	// SlowStart is how long it takes to get its whole share when it comes beside
	// others, where neither route nor gateway says. Zero means that it has it at
	// once.
	SlowStart time.Duration
	// Since is when the instance was first known. The zero time is older than
	// any other.
	Since time.Time
	At    Position // where it is written; zero if it is not
}

// Label is a name and a value that an instance bears.
type Label struct{ Name, Value string }

// AddrPort returns where the instance is reached.
func (i *Instance) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(i.Address.Unmap(), uint16(i.Port))
}

// equal reports whether two instances are the same to whoever uses them,
// wherever and whenever they were found.
func (i *Instance) equal(o *Instance) bool {
	return i == o || i.Name == o.Name &&
		i.ID == o.ID &&
		i.Address == o.Address &&
		i.Port == o.Port &&
		i.Declared == o.Declared &&
		i.Index == o.Index &&
		i.Kind == o.Kind &&
		i.Namespace == o.Namespace &&
		i.Image == o.Image &&
		i.Zone == o.Zone &&
		i.Node == o.Node &&
		i.Weight == o.Weight &&
		i.Ready == o.Ready &&
		i.Unproven == o.Unproven &&
		i.SlowStart == o.SlowStart &&
		slices.Equal(i.Names, o.Names) &&
		slices.Equal(i.Labels, o.Labels)
}

// led reports whether a route that has no address leads to instances: its own
// selector or that of its gateway finds them, or they were handed in with it.
func (g *Gateway) led(r *Route) bool {
	return !r.external() && (g.Selector != "" || r.Selector != "" || len(r.Instances) > 0)
}
