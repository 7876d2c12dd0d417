// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// nameKey returns the form in which an address that a route asks for and a
// name that an instance bears are compared: without regard to letter case, to
// the dot of a complete name, and to how an IP address is written. It is empty
// if the text is no host and port.
func nameKey(text string) string {
	host, port, problem := parseAddress(text)
	if problem != "" {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), uint16(port)).String()
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")) + ":" + strconv.Itoa(port)
}

// addressKey returns the key of the address that a route leads to, empty if it
// leads to none.
func (r *Route) addressKey() string {
	inner, opens := strings.CutPrefix(r.Path, "[")
	address, closes := strings.CutSuffix(inner, "]")
	if !opens || !closes || r.Redirect != nil {
		return ""
	}
	return nameKey(address)
}

// nameKeys returns the keys of the names of an instance, each once.
func (i *Instance) nameKeys() []string {
	if len(i.Names) == 0 {
		return nil
	}
	keys := make([]string, 0, len(i.Names))
	for _, name := range i.Names {
		if key := nameKey(name); key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// named reports whether an instance bears the address of a route of the
// gateway as a name.
func (s *selecting) named(g *Gateway) bool {
	if len(s.instances.byAddress) == 0 {
		return false // as nearly everywhere
	}
	return slices.ContainsFunc(g.Routes, func(r *Route) bool { return len(s.instances.byAddress[r.addressKey()]) > 0 })
}

// bearers returns the instances that bear the address of a route as a name, as
// far as the selector that counts everywhere finds them, sorted by address.
// They belong to nobody: several gateways may ask for one address.
func (s *selecting) bearers(r *Route) []*Instance {
	if len(s.instances.byAddress) == 0 {
		return nil
	}
	list := slices.Clone(s.instances.byAddress[r.addressKey()])
	if base := s.options.Base; base != nil {
		m := matcher{namespace: s.options.Namespace}
		list = slices.DeleteFunc(list, func(i *Instance) bool { return !base.matches(i, &m) })
	}
	return byAddress(list)
}

// addressed are the gateways with routes that lead to addresses. The zero
// addressed are none.
type addressed struct {
	gateways map[string]*Gateway
	// byAddress has the names of those that ask for an address, sorted. It is
	// nil until an instance bears a name: there may be very many addresses.
	byAddress map[string][]string
}

// set says what the gateway of a name asks for; nil that there is none.
func (a *addressed) set(name string, g *Gateway) {
	was := a.gateways[name]
	if was == g {
		return
	}
	if was != nil {
		delete(a.gateways, name)
		a.index(name, was, false)
	}
	if g == nil || !slices.ContainsFunc(g.Routes, (*Route).external) {
		return
	}
	if a.gateways == nil {
		a.gateways = make(map[string]*Gateway)
	}
	a.gateways[name] = g
	a.index(name, g, true)
}

// index adds the addresses of a gateway, or takes them away.
func (a *addressed) index(name string, g *Gateway, add bool) {
	if a.byAddress == nil {
		return
	}
	for _, r := range g.Routes {
		key := r.addressKey()
		if key == "" {
			continue
		}
		list := a.byAddress[key]
		at, there := slices.BinarySearch(list, name)
		switch {
		case add && !there:
			list = slices.Insert(list, at, name)
		case !add && there:
			list = slices.Delete(list, at, at+1)
		}
		if a.byAddress[key] = list; len(list) == 0 {
			delete(a.byAddress, key)
		}
	}
}

// concerned adds to found the gateways that ask for an instance by name.
func (a *addressed) concerned(i *Instance, found map[string]bool) {
	keys := i.nameKeys()
	if len(keys) > 0 && a.byAddress == nil {
		a.byAddress = make(map[string][]string)
		for name, g := range a.gateways {
			a.index(name, g, true)
		}
	}
	for _, key := range keys {
		for _, name := range a.byAddress[key] {
			found[name] = true
		}
	}
}
