// SPDX-License-Identifier: Apache-2.0

package routing

import "slices"

// KeyPair names the PEM files of a certificate, followed by those that vouch
// for it, and of its key. Relative names are below the directory that the
// proxy keeps for them. The zero KeyPair is none. Comparable.
type KeyPair struct{ Certificate, Key string }

// ClientAuth says what a gateway asks of the certificates of its clients.
type ClientAuth uint8

const (
	// ClientAuthNone asks for none.
	ClientAuthNone ClientAuth = iota
	// ClientAuthOptional asks for one and verifies it if it is sent.
	ClientAuthOptional
	// ClientAuthRequired lets only those in who have one that is verified.
	ClientAuthRequired
)

// String returns none, optional or required.
func (a ClientAuth) String() string {
	switch a {
	case ClientAuthOptional:
		return "optional"
	case ClientAuthRequired:
		return "required"
	default:
		return "none"
	}
}

// PlainHTTP says what a request for a virtual host of a gateway with TLS gets
// that comes in plain text.
type PlainHTTP uint8

const (
	// PlainRedirect sends it to https.
	PlainRedirect PlainHTTP = iota
	// PlainServe answers it.
	PlainServe
	// PlainRefuse treats it as if the host were unknown.
	PlainRefuse
)

// String returns redirect, serve or refuse.
func (p PlainHTTP) String() string {
	switch p {
	case PlainServe:
		return "serve"
	case PlainRefuse:
		return "refuse"
	default:
		return "redirect"
	}
}

// ListenTLS is how a gateway speaks TLS to its clients.
type ListenTLS struct {
	Certificates []KeyPair // 1 to 100; the first serves whom none of them names
	MinVersion   uint16    // as in crypto/tls; TLS 1.2 or 1.3, default applied
	ClientAuth   ClientAuth
	ClientCA     string    // PEM file of who vouches for clients; empty without ClientAuth
	Plain        PlainHTTP // of virtual hosts
	// HSTS is the value of Strict-Transport-Security (RFC 6797 section 6.1) in
	// answers; empty for none.
	HSTS string
}

// equal reports whether both, either of which may be nil, ask for the same.
func (t *ListenTLS) equal(o *ListenTLS) bool {
	if t == nil || o == nil {
		return t == o
	}
	return t.MinVersion == o.MinVersion &&
		t.ClientAuth == o.ClientAuth &&
		t.ClientCA == o.ClientCA &&
		t.Plain == o.Plain &&
		t.HSTS == o.HSTS &&
		slices.Equal(t.Certificates, o.Certificates)
}

// DialTLS is how a route speaks TLS to its instances. Comparable.
type DialTLS struct {
	CA string // PEM file of who vouches for instances; empty means those of the system
	// Name is sent as server name, and what the certificate must be for; empty
	// means the host of the target.
	Name       string
	KeyPair    KeyPair // shown to instances that ask
	SkipVerify bool    // take any certificate
	MinVersion uint16  // as in crypto/tls; TLS 1.2 or 1.3, default applied
}

// equal reports whether both, either of which may be nil, ask for the same.
func (t *DialTLS) equal(o *DialTLS) bool {
	return t == o || t != nil && o != nil && *t == *o
}
