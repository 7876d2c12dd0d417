// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// ExplainCertificate is the certificate of a client, as somebody describes it.
// Who vouches for it is taken for granted.
type ExplainCertificate struct {
	// Subject is its distinguished name (RFC 2253), such as CN=cart,O=Example.
	Subject string `json:"subject,omitempty"`
	// SANs are its alternative names: DNS names, email addresses and URIs.
	SANs []string `json:"sans,omitempty"`
	// Fingerprint is its SHA-256, in hexadecimal digits.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// facts returns what conditions see of the certificate.
func (e *ExplainCertificate) facts() *conditions.ClientCertificate {
	c := &conditions.ClientCertificate{Subject: e.Subject, Fingerprint: e.Fingerprint, Verified: true}
	for _, name := range e.SANs {
		switch {
		case strings.Contains(name, ":"):
			c.URIs = append(c.URIs, name)
		case strings.Contains(name, "@"):
			c.Emails = append(c.Emails, name)
		default:
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

// The schemes of what is explained.
const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
	schemeTCP   = "tcp"

	methodGet = "GET" // what is asked if nothing is said
)

const (
	noServerName  = "-" // asks for none
	http11        = "http/1.1"
	http2         = "h2"
	maxProtocols  = 100
	maxProtocol   = 255 // bytes (RFC 7301 section 3.1)
	maxCertNames  = 100
	plainTextOnly = "the request comes in plain text; write https:// or tcp://"
)

// readTLS takes what a client says before its request.
func (r *described) readTLS(e *ExplainRequest) error {
	if r.scheme == schemeHTTP {
		switch {
		case e.SNI != "":
			return explainErrorf("sni", plainTextOnly)
		case len(e.ALPN) > 0:
			return explainErrorf("alpn", plainTextOnly)
		case e.Certificate != nil:
			return explainErrorf("client_certificate", plainTextOnly)
		}
		return nil
	}
	r.secure = r.scheme == schemeHTTPS || e.SNI != "" || len(e.ALPN) > 0 || e.Certificate != nil
	switch {
	case e.SNI == noServerName:
		r.hello.ServerName = ""
	case e.SNI != "" && !isHostName(e.SNI):
		return explainErrorf("sni", "%s is not a server name; such as shop.example, or - for none", quote(e.SNI))
	case e.SNI != "":
		r.hello.ServerName = strings.ToLower(e.SNI)
	}
	if len(e.ALPN) > maxProtocols || slices.ContainsFunc(e.ALPN, func(p string) bool { return p == "" || len(p) > maxProtocol }) {
		return explainErrorf("alpn", "up to %d protocols of 1 to %d bytes, such as h2", maxProtocols, maxProtocol)
	}
	if r.hello.ALPN = e.ALPN; len(e.ALPN) == 0 && r.scheme == schemeHTTPS {
		r.hello.ALPN = []string{http11}
	}
	if e.Certificate != nil {
		if len(e.Certificate.SANs) > maxCertNames {
			return explainErrorf("client_certificate", "it has %d names; at most %d", len(e.Certificate.SANs), maxCertNames)
		}
		r.certificate = e.Certificate.facts()
	}
	return nil
}

// readConnection takes the place that a connection without requests comes to.
func (r *described) readConnection(e *ExplainRequest, at string) error {
	name, port, err := splitHost(strings.TrimSuffix(at, "/"))
	switch {
	case err != nil:
		return explainErrorf("url", "%v; such as tcp://db.example:5432", err)
	case port == 0:
		return explainErrorf("url", "a connection needs a port; such as tcp://%s:5432", name)
	case len(e.Headers) > 0:
		return explainErrorf("headers", "a connection has no headers; write http:// for a request")
	case e.Method != "" && e.Method != methodGet:
		return explainErrorf("method", "a connection has no method; write http:// for a request")
	}
	r.method, r.host, r.port = "", name, port
	return nil
}

// Why a connection ends, or a request is answered, before anything is decided.
// The names are those of the proxy.
const (
	reasonPlainOnTLS  = "plain_on_tls"
	reasonTLSOnPlain  = "tls_on_plain"
	reasonHandshake   = "tls_handshake"
	reasonMisdirected = "misdirected_request"
	reasonVersion     = "version_refused"
	reasonRedirect    = "to_tls"
)

// arrive finds out what is known of the connection once gateway g takes it. It
// returns the outcome if there is one before anything is decided.
func (x *explainer) arrive(g *CompiledGateway) *Outcome {
	r, asks := x.request, g.Asked.TLS
	switch {
	case g.Type == TCP && asks == nil:
		if r.secure {
			r.conn.Hello = &r.hello
		}
		return nil
	case !r.secure && asks == nil:
		return nil
	case !r.secure:
		return x.arrivePlain(g, asks)
	case asks == nil:
		return refusal(reasonTLSOnPlain, 0, "the port does not speak TLS")
	}
	first := x.shownTo(g)
	if out := x.shake(first); out != nil {
		return out
	}
	shown := first.Asked.TLS
	if shown != asks && (shown.ClientAuth != asks.ClientAuth || shown.ClientCA != asks.ClientCA) {
		began := "for the server name " + r.hello.ServerName
		if r.hello.ServerName == "" {
			began = "without a server name"
		}
		return refusal(reasonMisdirected, 421, "the connection began "+began+", and its gateway asks for other certificates of clients")
	}
	if g.HTTP2.Off && r.conn.TLS.ALPN == http2 {
		return refusal(reasonVersion, 421, "the connection speaks HTTP/2, and the gateway does not")
	}
	return nil
}

func refusal(reason string, status int, text string) *Outcome {
	return &Outcome{Reason: reason, Status: status, Text: text}
}

// arrivePlain says what becomes of plain text at a gateway with TLS.
func (x *explainer) arrivePlain(g *CompiledGateway, asks *ListenTLS) *Outcome {
	switch {
	case g.Type == TCP:
		return refusal(reasonPlainOnTLS, 0, "the port speaks TLS, and the client does not")
	case x.out.Entrance.By != byHost:
		return refusal(reasonPlainOnTLS, 400, "the port speaks TLS; write https://")
	case asks.Plain == PlainServe, x.options.Vouched != nil && x.options.Vouched(x.request):
		return nil
	}
	return &Outcome{Status: 308, Location: x.secureAddress()}
}

// secureAddress returns the address of the request at https.
func (x *explainer) secureAddress() string {
	host, port := withoutPort(x.request.host), cmp.Or(x.options.VirtualHostsTLSPort, 443)
	if port != 443 && (host != x.request.host || x.request.port == 80) {
		host += ":" + strconv.Itoa(port)
	}
	return "https://" + host + x.request.target
}

// shownTo returns the gateway with whose TLS a connection begins that gateway g
// takes: itself, or on the port of virtual hosts the gateway which has the
// server name, as a whole or by its longest wildcard. Without any it is that of
// the gateway whose own port it is, or else of the first one.
func (x *explainer) shownTo(g *CompiledGateway) *CompiledGateway {
	if g.Type == TCP || !x.virtualHosts() {
		return g
	}
	var first, best *CompiledGateway
	if own := x.snapshot.ByPort(x.request.port); own != nil && own.Asked.TLS != nil {
		first = own
	}
	rank := 0
	for _, by := range x.snapshot.gateways {
		if by.Type != HTTP || by.Asked.TLS == nil || len(by.Hosts) == 0 {
			continue
		}
		if first == nil {
			first = by
		}
		for _, host := range by.Hosts {
			if fits := fit(x.request.hello.ServerName, host); fits > rank {
				rank, best = fits, by
			}
		}
	}
	if best == nil {
		best = first
	}
	return best
}

// fit says how well a virtual host fits a server name: not at all (0), by a
// wildcard, the longer the better, as a whole with a path prefix, or as a
// whole.
func fit(name, host string) int {
	host, prefix := splitPrefix(host)
	switch {
	case name == "":
		return 0
	case name == host && prefix == "":
		return 2*maxHost + 1
	case name == host:
		return 2 * maxHost
	case isWildcard(host) && strings.HasSuffix(name, host[1:]) && len(name) >= len(host):
		return len(host)
	default:
		return 0
	}
}

// shake makes the facts of a handshake with gateway g, or says why it fails.
func (x *explainer) shake(g *CompiledGateway) *Outcome {
	r, shown := x.request, g.Asked.TLS
	facts := &conditions.TLS{ServerName: r.hello.ServerName, Version: tls.VersionTLS13}
	if g.Type == HTTP && len(r.hello.ALPN) > 0 {
		offers := []string{http2, http11} // the first that the client knows
		if g.HTTP2.Off {
			offers = offers[1:]
		}
		at := slices.IndexFunc(offers, func(p string) bool { return slices.Contains(r.hello.ALPN, p) })
		if at < 0 {
			return refusal(reasonHandshake, 0, fmt.Sprintf("the client speaks %s, and the gateway %s", choices(r.hello.ALPN), choices(offers)))
		}
		facts.ALPN = offers[at]
	}
	if shown.ClientAuth == ClientAuthRequired && r.certificate == nil {
		return refusal(reasonHandshake, 0, "the gateway asks for a certificate, and the client has none")
	}
	if shown.ClientAuth != ClientAuthNone {
		facts.Client = r.certificate
	}
	r.conn.TLS = facts
	return nil
}
