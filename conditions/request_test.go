// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"unsafe"

	"github.com/sluice-mesh/sluice/conditions"
)

// staticRequest is a request made of its header fields, in the order sent.
type staticRequest struct {
	method, target string
	fields         []field
	conn           conditions.Conn
	random         uint32
}

type field struct{ name, value string }

// newRequest makes a request of lines "Name: value". A line "POST /a?b=c"
// gives method and target, a line "client 10.0.0.1" the address of the client.
// What is known of its TLS stand on lines "tls NAME PROTOCOL", "certificate
// SUBJECT", "san NAME" and "unverified -", and, where the TLS passes through,
// on a line "hello NAME PROTOCOL...". A name that is "-" is none.
func newRequest(lines ...string) *staticRequest {
	r := &staticRequest{method: "GET", target: "/"}
	for _, line := range lines {
		if first, second, ok := strings.Cut(line, " "); ok && !strings.Contains(first, ":") {
			r.know(first, second)
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		r.fields = append(r.fields, field{name, strings.TrimSpace(value)})
	}
	return r
}

func (r *staticRequest) know(first, second string) {
	if first != "client" && !r.knowTLS(first, second) {
		r.method, r.target = first, second
	}
	if first != "client" {
		return
	}
	if a, err := netip.ParseAddr(second); err == nil {
		r.conn.Client = netip.AddrPortFrom(a, 50000)
	}
}

func (r *staticRequest) knowTLS(first, second string) bool {
	words := strings.Fields(second)
	if len(words) == 0 {
		return false
	}
	name := strings.TrimPrefix(words[0], "-")
	client := func() *conditions.ClientCertificate {
		if r.conn.TLS == nil {
			r.conn.TLS = &conditions.TLS{Version: tls.VersionTLS13}
		}
		if r.conn.TLS.Client == nil {
			r.conn.TLS.Client = &conditions.ClientCertificate{Verified: true}
		}
		return r.conn.TLS.Client
	}
	switch first {
	case "tls":
		r.conn.TLS = &conditions.TLS{ServerName: name, Version: tls.VersionTLS13, ALPN: strings.Join(words[1:], "")}
	case "hello":
		r.conn.Hello = &conditions.Hello{ServerName: name, ALPN: words[1:]}
	case "certificate":
		client().Subject = second
	case "unverified":
		client().Verified = false
	case "san":
		switch c := client(); {
		case strings.Contains(name, "://"):
			c.URIs = append(c.URIs, name)
		case strings.Contains(name, "@"):
			c.Emails = append(c.Emails, name)
		default:
			c.DNSNames = append(c.DNSNames, name)
		}
	default:
		return false
	}
	return true
}

func (r *staticRequest) Method() string         { return r.method }
func (r *staticRequest) Target() string         { return r.target }
func (r *staticRequest) Conn() *conditions.Conn { return &r.conn }
func (r *staticRequest) Random() uint32         { return r.random }

func (r *staticRequest) Path() string {
	path, _, _ := strings.Cut(r.target, "?")
	return path
}

func (r *staticRequest) Query() string {
	_, query, _ := strings.Cut(r.target, "?")
	return query
}

func (r *staticRequest) Host() string {
	host, _ := r.Field("Host", 0)
	return host
}

func (r *staticRequest) Field(name string, from int) (string, int) {
	for i := from; i < len(r.fields); i++ {
		if len(r.fields[i].name) == len(name) && strings.EqualFold(r.fields[i].name, name) {
			return r.fields[i].value, i + 1
		}
	}
	return "", -1
}

// viewOf returns b as a string that changes with it.
func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
