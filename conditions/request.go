// SPDX-License-Identifier: Apache-2.0

package conditions

import "net/netip"

// Request is what a condition may ask of a request. Every string is a view,
// valid only until the call that was handed the Request returns.
// Implementations need not be safe for concurrent use.
type Request interface {
	// Method returns the method as sent, such as "GET".
	Method() string
	// Host returns the authority as sent, port included: the Host field, or
	// the authority of an absolute-form target (RFC 9112 section 3.2.2).
	Host() string
	// Target returns the raw request target as sent, such as "/a?b=c".
	Target() string
	// Path returns the raw path of the target, without query.
	Path() string
	// Query returns the raw query without "?"; empty if there is none.
	Query() string
	// Field returns the first value of the named field at or after position
	// from, in the order sent, and the position to go on from. next is -1,
	// and value empty, when no such value is left. Start with position 0.
	// The name is canonical (net/textproto.CanonicalMIMEHeaderKey) and
	// compared without regard to letter case. Values carry no surrounding
	// white space; lists are not split.
	Field(name string, from int) (value string, next int)
	// Conn describes the connection; never nil.
	Conn() *Conn
	// Random returns a number drawn anew for every request by whoever shows
	// it; the same each time it is asked of one request.
	Random() uint32
}

// Conn describes the connection that a request came on. Only Client may change
// from one request to the next, where a proxy in front is trusted to name it.
type Conn struct {
	Client netip.AddrPort // the client, as far as it is known; port 0 if only its address is
	Peer   netip.AddrPort // who is at the other end: the client, or a proxy in front
	Local  netip.AddrPort // where the connection was accepted
	TLS    *TLS           // nil on connections that are plain, or whose TLS is not ours to end
	// Hello is what the client said first on a connection whose TLS passes
	// through; nil if it was not looked at, or is no TLS.
	Hello *Hello
}

// TLS holds the facts of a TLS connection that conditions may ask.
type TLS struct {
	ServerName string // SNI, lower case; empty if none was sent
	Version    uint16 // as in crypto/tls
	ALPN       string // negotiated protocol; empty if none
	// Client is the certificate of the client; nil if it sent none.
	Client *ClientCertificate
}

// ClientCertificate holds the facts of a client's certificate that conditions
// may ask. It is not changed once it was handed on.
type ClientCertificate struct {
	Subject     string   // distinguished name (RFC 2253)
	CommonName  string   // of the subject; empty if it has none
	DNSNames    []string // of the subject's alternative names, like the next two
	Emails      []string
	URIs        []string
	Fingerprint string // SHA-256 of the certificate, 64 lower-case hexadecimal digits
	Verified    bool   // whether somebody who is trusted vouches for it
}

// Hello holds what a ClientHello (RFC 8446 section 4.1.2) offers.
type Hello struct {
	ServerName string   // SNI, lower case; empty if none was sent
	ALPN       []string // protocols offered, in order; may be nil
}
