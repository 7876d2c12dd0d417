// SPDX-License-Identifier: Apache-2.0

package routing

import "time"

// Protocol is what is spoken to the instances of a route.
type Protocol uint8

const (
	// ProtocolHTTP1 is HTTP/1.1 (RFC 9112), in TLS where the route has it.
	ProtocolHTTP1 Protocol = iota
	// ProtocolH2 is HTTP/2 (RFC 9113) in TLS, agreed on by ALPN.
	ProtocolH2
	// ProtocolH2C is HTTP/2 in plain text, of which both sides know before
	// (RFC 9113 section 3.3).
	ProtocolH2C
	// ProtocolGRPC is ProtocolH2 where the route has TLS, else ProtocolH2C.
	ProtocolGRPC
)

var protocolNames = [...]string{"http1", "h2", "h2c", "grpc"}

// String returns http1, h2, h2c or grpc.
func (p Protocol) String() string { return protocolNames[p] }

// HTTP2 reports whether it is HTTP/2, in whatever form.
func (p Protocol) HTTP2() bool { return p != ProtocolHTTP1 }

// spoken names what is spoken to the instances of a route; empty if that is
// HTTP/1, or if it has none.
func (r *CompiledRoute) spoken() string {
	if !r.Protocol.HTTP2() || r.Target.Kind == TargetGateway || r.Edits != nil && r.Edits.Redirect != nil {
		return ""
	}
	return r.Protocol.String()
}

// HTTP2 is how a gateway speaks HTTP/2 to its clients.
//
// In a [Gateway] it is what is written: a zero field is not, and Never is the
// word none. In a [CompiledGateway] defaults are applied, and a time of 0 is
// none. Comparable.
type HTTP2 struct {
	Off     bool // clients are spoken to by HTTP/1 alone; compiled: always of tcp ports
	Streams int  // that a client may have open in one connection
	// HeaderList bounds the header list of a request in bytes, counted as
	// SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113 section 6.5.2). It
	// follows the limits of the gateway and is not written by itself.
	HeaderList int
	// MaxAge is about how old a connection becomes before its client is told to
	// make another; MaxAgeGrace is how long streams may go on after that.
	MaxAge, MaxAgeGrace time.Duration
	// Ping is how long nothing may come from a client that has open streams
	// before it is asked for a sign of life.
	Ping time.Duration
}

// fieldOverhead is what a field counts in a header list beside its name and
// value (RFC 9113 section 6.5.2).
const fieldOverhead = 32

// DefaultHTTP2 returns the HTTP2 of a compiled gateway that says nothing.
func DefaultHTTP2() HTTP2 {
	e := DefaultEntry()
	return HTTP2{
		Streams: 100, HeaderList: e.Head + e.Fields*fieldOverhead,
		MaxAgeGrace: 30 * time.Second, Ping: 30 * time.Second,
	}
}

// Widen returns what suits both where one connection may carry requests for
// several gateways: it is off if both are, allows what one of them allows, and
// is as careful with time as the more careful one.
func (h HTTP2) Widen(o HTTP2) HTTP2 {
	switch {
	case o.Off:
		return h
	case h.Off:
		return o
	}
	h.Streams, h.HeaderList = max(h.Streams, o.Streams), max(h.HeaderList, o.HeaderList)
	h.MaxAge, h.Ping = sooner(h.MaxAge, o.MaxAge), sooner(h.Ping, o.Ping)
	h.MaxAgeGrace = max(h.MaxAgeGrace, o.MaxAgeGrace)
	return h
}

// sooner returns the shorter time, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// http2 returns how a gateway speaks HTTP/2 to its clients, defaults applied.
// The header list has room for every head that its limits allow.
func (g *Gateway) http2() HTTP2 {
	if g.Port.Type == TCP || g.HTTP2.Off {
		return HTTP2{Off: true}
	}
	h, e := DefaultHTTP2(), g.entry()
	h.HeaderList = e.Head + e.Fields*fieldOverhead
	put(&h.Streams, g.HTTP2.Streams)
	put(&h.MaxAge, g.HTTP2.MaxAge)
	put(&h.MaxAgeGrace, g.HTTP2.MaxAgeGrace)
	put(&h.Ping, g.HTTP2.Ping)
	if h.MaxAge == Never {
		h.MaxAge = 0
	}
	if h.Ping == Never {
		h.Ping = 0
	}
	return h
}
