// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
)

// claims is what a request says of where it comes from. It counts only if a
// trusted proxy says it.
type claims struct {
	list     []byte // X-Forwarded-For, lines joined
	elements []byte // Forwarded, lines joined
	parsed   elements
	// certificates is X-Forwarded-Client-Cert, lines joined.
	certificates []byte

	// What may be said once, and is fit to be sent on; empty otherwise.
	proto, host, port, id []byte
	left                  []byte // how long the answer is waited for
	again                 uint8  // bits of those that were said more than once
}

// claim is a field that says something of where a request comes from.
type claim uint8

const (
	claimFor claim = iota
	claimForwarded
	claimProto
	claimHost
	claimPort
	claimCertificate
	claimID
	claimTimeLeft
	claimOther // kept as it is
	claimNone  // nobody may set it
)

var claimNames = [...]string{
	claimFor: "x-forwarded-for", claimForwarded: "forwarded", claimProto: "x-forwarded-proto",
	claimHost: "x-forwarded-host", claimPort: "x-forwarded-port", claimCertificate: "x-forwarded-client-cert",
	claimID:       "x-request-id",
	claimTimeLeft: "sluice-timeout-ms",
}

// claimOf sorts the name of a field of kindOwn.
func claimOf(name []byte) claim {
	for c, n := range claimNames {
		if fold(name, n) {
			return claim(c)
		}
	}
	const family = "x-forwarded-"
	if fold(name, "x-real-ip") || len(name) > len(family) && fold(name[:len(family)], family) {
		return claimOther
	}
	return claimNone
}

func (cl *claims) reset() {
	cl.list, cl.elements, cl.certificates = cl.list[:0], cl.elements[:0], cl.certificates[:0]
	cl.proto, cl.host, cl.port, cl.id, cl.left, cl.again = nil, nil, nil, nil, nil, 0
}

// shrink gives up what was needed for large claims.
func (cl *claims) shrink() {
	if cap(cl.list)+cap(cl.elements)+cap(cl.certificates) > bufferSize {
		cl.list, cl.elements, cl.certificates = nil, nil, nil
	}
}

// take takes the claims out of a head. What is neither replaced nor added to
// stays in it.
func (cl *claims) take(h *head) {
	for i := range h.fields {
		f := &h.fields[i]
		if f.kind != kindOwn || f.name.from == f.name.to {
			continue
		}
		switch c := claimOf(h.bytes(f.name)); c {
		case claimNone:
		case claimOther:
			f.kind = kindOther
		default:
			cl.note(c, h.bytes(f.value))
		}
	}
	cl.check()
}

// read takes the claims of a request that is not a head.
func (cl *claims) read(r conditions.Request) {
	for c, name := range claimNames {
		for value, next := r.Field(name, 0); next >= 0; value, next = r.Field(name, next) {
			cl.note(claim(c), []byte(value))
		}
	}
	cl.check()
}

func (cl *claims) note(c claim, value []byte) {
	switch c {
	case claimFor:
		cl.list = join(cl.list, value)
	case claimForwarded:
		cl.elements = join(cl.elements, value)
	case claimProto:
		cl.once(c, &cl.proto, value)
	case claimHost:
		cl.once(c, &cl.host, value)
	case claimPort:
		cl.once(c, &cl.port, value)
	case claimCertificate:
		cl.certificates = join(cl.certificates, value)
	case claimID:
		cl.once(c, &cl.id, value)
	case claimTimeLeft:
		cl.once(c, &cl.left, value)
	default:
	}
}

// join adds a line to a list (RFC 9110 section 5.3).
func join(list, line []byte) []byte {
	if len(list) > 0 && len(line) > 0 {
		list = append(list, ", "...)
	}
	return append(list, line...)
}

func (cl *claims) once(c claim, to *[]byte, value []byte) {
	if *to != nil {
		cl.again |= 1 << c
	}
	*to = value
}

// check forgets what is not fit to be sent on: what two lines say, or what is
// none of what it should be.
func (cl *claims) check() {
	forget := func(c claim, value *[]byte, valid func([]byte) bool) {
		if cl.again&(1<<c) != 0 || len(*value) == 0 || !valid(*value) {
			*value = nil
		}
	}
	forget(claimProto, &cl.proto, validScheme)
	forget(claimHost, &cl.host, validHost)
	forget(claimPort, &cl.port, validPort)
	forget(claimID, &cl.id, validID)
	forget(claimTimeLeft, &cl.left, validTimeLeft)
}

// validScheme accepts the schemes of what is forwarded here.
func validScheme(b []byte) bool {
	return fold(b, "http") || fold(b, "https") || fold(b, "ws") || fold(b, "wss")
}

// maxID bounds an identifier of a request.
const maxID = 128

func validID(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(b) <= maxID
}

// Where the address of a client was taken from.
const (
	fromConnection = "connection"
	fromList       = "X-Forwarded-For"
	fromElements   = "Forwarded"
)

// client finds the client in the claims of a trusted peer, and where it is
// said. The claims are those by which the gateway tells instances of the client;
// X-Forwarded-For counts before Forwarded if it does by both, since more proxies
// write it and those that do not know Forwarded pass on what a client wrote
// there.
func (t *Trust) client(cl *claims, peer netip.AddrPort, mode routing.ForwardedMode) (client netip.AddrPort, from string) {
	if mode == routing.ForwardedX {
		cl.elements = cl.elements[:0]
	} else if !cl.parsed.read(cl.elements) || cl.parsed.count == 0 {
		cl.elements, cl.parsed.count = cl.elements[:0], 0 // where a malformed list ends is anybody's guess
	}
	if mode == routing.ForwardedStandard {
		cl.list = cl.list[:0]
	}
	client, from = peer, fromConnection
	switch {
	case len(cl.list) > 0:
		rest := cl.list
		client = t.follow(peer, func() (netip.AddrPort, bool) {
			var member []byte
			member, rest = lastMember(rest)
			return parseNode(member), member != nil
		})
		from = fromList
	case len(cl.elements) > 0:
		i := 0
		client = t.follow(peer, func() (netip.AddrPort, bool) {
			e := cl.parsed.last(i)
			if e == nil {
				return netip.AddrPort{}, false
			}
			i++
			return parseNode(e.node), true
		})
		from = fromElements
	}
	if client == peer {
		from = fromConnection
	}
	return client, from
}

// origin is where a connection comes from, as instances are told.
type origin struct {
	// peer is who made it: whoever is at the other end, or who that is
	// according to its PROXY header.
	peer netip.AddrPort
	// certificate is what is told of a client that has a certificate; empty
	// if it has none.
	certificate []byte
	// tlvs are those of the PROXY header (see sniff.Header); nil if it has none.
	tlvs []byte
}

// appendOwn appends the fields that tell an instance of the client, but for an
// identifier that is not claimed. The claims are empty unless the peer is
// trusted.
func appendOwn(b []byte, cl *claims, from *origin, facts *conditions.Conn, host []byte, mode routing.ForwardedMode) []byte {
	scheme := "http"
	if facts.TLS != nil {
		scheme = "https"
	}
	peer := from.peer.Addr().WithZone("")
	if mode != routing.ForwardedStandard {
		b = cl.appendX(b, peer, facts.Local.Port(), scheme, host)
	}
	b = appendCertificates(b, cl.certificates, from.certificate)
	if mode != routing.ForwardedX {
		b = append(b, "Forwarded: "...)
		b = cl.appendElements(b)
		b = append(b, "for="...)
		b = appendNode(b, peer)
		b = append(b, ";host="...)
		b = appendValue(b, host)
		b = append(b, ";proto="...)
		b = append(b, scheme...)
		b = append(b, "\r\n"...)
	}
	if len(cl.id) > 0 {
		b = append(b, "X-Request-Id: "...)
		b = append(b, cl.id...)
		b = append(b, "\r\n"...)
	}
	return b
}

// appendX appends X-Forwarded-For and those that go with it.
func (cl *claims) appendX(b []byte, peer netip.Addr, port uint16, scheme string, host []byte) []byte {
	b = append(b, "X-Forwarded-For: "...)
	b = cl.appendList(b)
	b = peer.AppendTo(b)
	b = append(b, "\r\nX-Forwarded-Proto: "...)
	if len(cl.proto) > 0 {
		b = append(b, cl.proto...)
	} else {
		b = append(b, scheme...)
	}
	b = append(b, "\r\nX-Forwarded-Port: "...)
	if len(cl.port) > 0 {
		b = append(b, cl.port...)
	} else {
		b = strconv.AppendUint(b, uint64(port), 10)
	}
	b = append(b, "\r\nX-Forwarded-Host: "...)
	if len(cl.host) > 0 {
		host = cl.host
	}
	b = append(b, host...)
	return append(b, "\r\n"...)
}

// appendList appends the list so far, and the comma behind it. What only
// Forwarded says is put into its form (RFC 7239 section 7.4).
func (cl *claims) appendList(b []byte) []byte {
	if len(cl.list) > 0 {
		b = append(b, cl.list...)
		return append(b, ", "...)
	}
	if len(cl.elements) == 0 {
		return b
	}
	for i := min(cl.parsed.count, maxHops) - 1; i >= 0; i-- {
		if node := parseNode(cl.parsed.last(i).node); node.Addr().IsValid() {
			b = node.Addr().AppendTo(b)
		} else {
			b = append(b, "unknown"...)
		}
		b = append(b, ", "...)
	}
	return b
}

// appendElements does so for Forwarded.
func (cl *claims) appendElements(b []byte) []byte {
	if len(cl.elements) > 0 {
		b = append(b, cl.elements...)
		return append(b, ", "...)
	}
	rest := cl.list
	for len(rest) > 0 {
		var member []byte
		if member, rest = cutToken(rest); len(member) == 0 {
			continue
		}
		b = append(b, "for="...)
		if node := parseNode(member); node.Addr().IsValid() {
			b = appendNode(b, node.Addr())
		} else {
			b = append(b, "unknown"...)
		}
		b = append(b, ", "...)
	}
	return b
}

// credit finds out who the client is, and makes the fields that tell instances
// of it.
func (c *conn) credit(mode routing.ForwardedMode) {
	w := c.w
	cl := &w.claims
	cl.reset()
	if c.trusted {
		cl.take(&w.head)
		c.facts.Client, _ = c.server.options.Trust.client(cl, c.origin.peer, mode)
	}
	w.own = appendOwn(w.own[:0], cl, &c.origin, &c.facts, w.head.effectiveHost(), mode)
	w.head.told, w.head.identified = true, len(cl.id) > 0
}

// weigh returns the claims of a request that came to a gateway and is not a
// head, and who its client is.
func (t *Trust) weigh(g *routing.CompiledGateway, r conditions.Request) (cl *claims, client netip.AddrPort, from string) {
	cl = new(claims)
	peer := r.Conn().Peer
	if !t.Believes(peer.Addr()) {
		return cl, peer, fromConnection
	}
	cl.read(r)
	client, from = t.client(cl, peer, g.Forwarded)
	return cl, client, from
}

// Client returns the client of a request that came to gateway g: what a
// trusted peer says, otherwise the peer; and where that was taken from.
func (t *Trust) Client(g *routing.CompiledGateway, r conditions.Request) (client netip.AddrPort, from string) {
	_, client, from = t.weigh(g, r)
	return client, from
}

// Vouches reports whether a trusted peer says that the client of a request
// came to it by TLS.
func (t *Trust) Vouches(r conditions.Request) bool {
	if !t.Believes(r.Conn().Peer.Addr()) {
		return false
	}
	cl := new(claims)
	cl.read(r)
	return cl.secure()
}

// secure reports whether the client is said to have come by TLS.
func (cl *claims) secure() bool { return fold(cl.proto, "https") || fold(cl.proto, "wss") }

// Added returns the fields that a request which came to gateway g, and keeps to
// the bounds b, gets before it is sent on, in place of any of these names that
// the client sent. What is another one for each request is described instead, in
// parentheses.
func (t *Trust) Added(g *routing.CompiledGateway, b *routing.Bounds, r conditions.Request) (fields []routing.HeaderField) {
	cl, _, _ := t.weigh(g, r)
	from := originOf(r.Conn().Peer, r.Conn())
	own := appendOwn(nil, cl, &from, r.Conn(), []byte(r.Host()), g.Forwarded)
	for line := range strings.Lines(string(own)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields = append(fields, routing.HeaderField{Name: name, Value: value})
	}
	if len(cl.id) == 0 {
		fields = append(fields, routing.HeaderField{Name: "X-Request-Id", Value: "(a new UUID)"})
	}
	if f, ok := cl.addedTimeLeft(b, r); ok {
		fields = append(fields, f)
	}
	return fields
}
