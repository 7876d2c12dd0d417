// SPDX-License-Identifier: Apache-2.0

package routing

import "fmt"

// checkHTTP2 sees that what a gateway and its routes say of HTTP/2 can be
// done, wherever it was written.
func (c *candidate) checkHTTP2() {
	g := c.form
	h := &g.HTTP2
	for _, part := range []struct {
		key string
		n   int64
	}{
		{"max_concurrent_streams", int64(h.Streams)},
		{"max_connection_age", int64(h.MaxAge)},
		{keyAgeGrace, int64(h.MaxAgeGrace)},
		{"ping", int64(h.Ping)},
	} {
		q := quantityOf(http2Keys, part.key)
		if part.n == 0 || q.none != "" && part.n == int64(Never) || part.n >= q.least && part.n <= q.most {
			continue
		}
		c.fault(Fault{Code: codeBound, Path: "sluice.http2." + part.key, Problem: fmt.Sprintf("%d is out of bounds", part.n), Allowed: q.allowed()})
	}
	if g.Port.Type == TCP && *h != (HTTP2{}) {
		c.fault(Fault{Code: codeBoundPort, Path: "sluice." + keyHTTP2, Problem: protocolProblem, Allowed: protocolOnTCP})
	}
	for _, r := range g.Routes {
		c.checkProtocol(r)
	}
}

func (c *candidate) checkProtocol(r *Route) {
	refuse := func(code, key, problem, allowed string) {
		c.fault(Fault{Code: code, At: r.At, Path: r.field("sluice." + key), Problem: problem, Allowed: allowed})
	}
	switch p := r.Protocol; {
	case p == ProtocolHTTP1:
		return
	case int(p) >= len(protocolNames):
		refuse(codeUnexpectedType, keyProtocol, fmt.Sprintf("the protocol is number %d", p), protocolAllowed)
	case c.form.Port.Type == TCP:
		refuse(codeBoundPort, keyProtocol, protocolProblem, protocolOnTCP)
	case p == ProtocolH2 && r.TLS == nil:
		refuse(codeMissing, keyProtocol, h2Problem, h2Allowed)
	case p == ProtocolH2C && r.TLS != nil:
		refuse(codeUnexpectedElement, keyProtocol, h2cProblem, h2cAllowed)
	}
	if r.ProxyProtocol != ProxyNone {
		refuse(codeUnexpectedElement, keyProxyProtocol, sharedProblem, sharedAllowed)
	}
}
