// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
)

// doors are what gateways speak TLS with. They are not changed once they are
// in use.
type doors struct {
	entrances map[string]*entrance // by gateway that speaks TLS
	failed    map[string]error     // by gateway: why its files cannot be used
}

// doorsOf loads what the gateways of a snapshot speak TLS with. A gateway that
// asks for the same as before keeps what it has. One whose files cannot be used
// keeps it too, if it asks for the same of its clients.
func doorsOf(store *tlsconf.Store, snap *routing.Snapshot, before *doors) *doors {
	d := &doors{entrances: make(map[string]*entrance), failed: make(map[string]error)}
	for _, g := range snap.Gateways() {
		asks := g.Asked.TLS
		if asks == nil {
			continue
		}
		e := &entrance{asks: asks, protocols: protocolsOf(g)}
		d.entrances[g.Name] = e
		old := before.entrances[g.Name]
		if old != nil && before.failed[g.Name] == nil && reflect.DeepEqual(old.asks, asks) && slices.Equal(old.protocols, e.protocols) {
			e.server = old.server
			continue
		}
		var err error
		if e.server, err = store.Server(asks, e.protocols...); err != nil {
			d.failed[g.Name] = fmt.Errorf("tls: %w", err)
			e.server = nil
			if old != nil && asksTheSame(old.asks, asks) {
				e.server = old.server
			}
		}
	}
	return d
}

// protocolsOf returns what clients of a gateway may agree on by ALPN (RFC 7301),
// what is preferred first; nothing where they are not asked.
func protocolsOf(g *routing.CompiledGateway) []string {
	switch {
	case g.Type != routing.HTTP:
		return nil
	case g.HTTP2.Off:
		return []string{"http/1.1"}
	default:
		return []string{"h2", "http/1.1"}
	}
}

// asksTheSame reports whether a gateway asks for the same of its clients as it
// did before.
func asksTheSame(before, now *routing.ListenTLS) bool {
	return before.ClientAuth == now.ClientAuth && before.ClientCA == now.ClientCA && before.MinVersion == now.MinVersion
}

// at returns how connections of a gateway's own port begin.
func (s *Server) at(d *doors, g *routing.CompiledGateway) *arrive.Door {
	e := d.entrances[g.Name]
	if e == nil && len(g.Asked.ProxyFrom) == 0 {
		return nil
	}
	door := s.door(g.Type, g.Asked.ProxyFrom, g.Entry.HeadTimeout)
	if e != nil {
		door.TLS = s.speaking(&names{first: e})
	}
	return door
}

// shared returns how connections of a port of virtual hosts begin, which may be
// the own port of a gateway besides: own is what asks for that one.
func (s *Server) shared(own want, n *names, entry *routing.Entry) *arrive.Door {
	from := s.options.VirtualHostsProxyFrom
	if own.door != nil {
		from = slices.Concat(own.door.ProxyFrom, from)
	}
	if n == nil && len(from) == 0 {
		return nil
	}
	door := s.door(routing.HTTP, from, entry.HeadTimeout)
	if n != nil {
		door.TLS = s.speaking(n)
	}
	return door
}

func (s *Server) door(kind routing.PortType, from []netip.Prefix, within time.Duration) *arrive.Door {
	return &arrive.Door{
		ProxyFrom: from,
		HTTP:      kind == routing.HTTP,
		Within:    within,
		Refused:   func(why live.Reason) { s.gate.Refuse(why) },
	}
}

// speaking returns how TLS is spoken on a port by names.
func (s *Server) speaking(n *names) *arrive.TLS {
	return &arrive.TLS{Config: n.config(), Asked: n.asked, Shaken: s.store.Shaken}
}
