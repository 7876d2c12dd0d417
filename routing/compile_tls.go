// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"crypto/tls"
	"fmt"

	"github.com/sluice-mesh/sluice/conditions"
)

// checkTLS sees that what a gateway and its routes say of TLS and of the
// PROXY protocol can be done, wherever it was written.
func (c *candidate) checkTLS() {
	g := c.form
	c.checkListenTLS(g.TLS)
	if len(g.ProxyFrom) > maxProxyNetworks {
		c.fault(Fault{
			Code: codeBound, Path: "sluice.proxy_protocol",
			Problem: fmt.Sprintf("there are %d networks", len(g.ProxyFrom)), Allowed: proxyFromAllowed,
		})
	}
	for _, n := range g.ProxyFrom {
		if !n.IsValid() || n != n.Masked() {
			c.fault(Fault{
				Code: codeUnexpectedType, Path: "sluice.proxy_protocol",
				Problem: fmt.Sprintf("%v is no network without host bits", n), Allowed: proxyNetworkAllowed,
			})
		}
	}
	for _, r := range g.Routes {
		c.checkDialTLS(r)
	}
}

func (c *candidate) checkListenTLS(t *ListenTLS) {
	if t == nil {
		return
	}
	refuse := func(code, key, problem, allowed string) {
		c.fault(Fault{Code: code, Path: "sluice.tls." + key, Problem: problem, Allowed: allowed})
	}
	if n := len(t.Certificates); n == 0 || n > maxCertificates {
		refuse(codeBound, "certificates", fmt.Sprintf("there are %d certificates", n), pairsAllowed)
	}
	for _, pair := range t.Certificates {
		if pair.Certificate == "" || pair.Key == "" {
			refuse(codeMissing, "certificates", "a certificate or its key has no file", fileAllowed)
		}
	}
	if !isTLSVersion(t.MinVersion) {
		refuse(codeBound, "min_version", fmt.Sprintf("the version is %#04x", t.MinVersion), minVersionAllowed)
	}
	if t.ClientAuth != ClientAuthNone && t.ClientCA == "" {
		refuse(codeMissing, "client_ca", "client_auth is "+t.ClientAuth.String()+", and nothing says who vouches for clients", fileAllowed)
	}
	if c.form.Port.Type == TCP && t.HSTS != "" {
		refuse(codeBoundPort, "hsts", tlsPortProblem, tlsPortAllowed)
	}
	if c.form.Port.Type == TCP && t.Plain != PlainRedirect {
		refuse(codeBoundPort, "plain", tlsPortProblem, tlsPortAllowed)
	}
}

// isTLSVersion reports whether a version may be the oldest that is spoken. 0
// stands for TLS 1.2.
func isTLSVersion(v uint16) bool { return v == 0 || v == tls.VersionTLS12 || v == tls.VersionTLS13 }

func (c *candidate) checkDialTLS(r *Route) {
	t := r.TLS
	if t == nil {
		return
	}
	refuse := func(code, key, problem, allowed string) {
		c.fault(Fault{Code: code, At: r.At, Path: r.field("sluice.tls." + key), Problem: problem, Allowed: allowed})
	}
	switch {
	case c.form.lacksName(r):
		refuse(codeMissing, "name", nameProblem, nameAllowed)
	case t.Name != "" && !isServerName(t.Name):
		refuse(codeUnexpectedType, "name", quote(t.Name)+" is no name of a server", serverNameAllowed)
	}
	if (t.KeyPair.Certificate == "") != (t.KeyPair.Key == "") {
		refuse(codeMissing, "certificate", "of certificate and key one is missing", fileAllowed)
	}
	if !isTLSVersion(t.MinVersion) {
		refuse(codeBound, "min_version", fmt.Sprintf("the version is %#04x", t.MinVersion), minVersionAllowed)
	}
}

// sniffed are the facts that only a ClientHello tells where TLS passes through.
const sniffed = conditions.FactName | conditions.FactProtocol | conditions.FactHello

// sniff finds the tcp gateways whose connections are looked at before they are
// decided: those that ask, and those that lead to them.
func (c *compilation) sniff() {
	for _, one := range c.candidates {
		one.sniffs = false
		if one.form == nil || one.form.Port.Type != TCP || one.form.TLS != nil {
			continue
		}
		one.sniffs = c.asksHello(one, 0)
	}
}

// asksHello reports whether a condition of a settled candidate, or of one that
// it leads to, asks what a ClientHello tells.
func (c *compilation) asksHello(one *candidate, depth int) bool {
	for i, r := range one.form.Routes {
		if condition := one.condition(i); condition != nil && condition.Asks()&sniffed != 0 {
			return true
		}
		if to := c.link(one.form, r); to != nil && depth < MaxDepth && c.asksHello(to, depth+1) {
			return true
		}
	}
	return false
}

// warnOfMixedHosts warns of virtual hosts of which one gateway speaks TLS and
// another does not: that the paths of a host differ in it is hardly meant.
func (c *compilation) warnOfMixedHosts() {
	secure := make(map[string]string) // the first gateway with TLS by host
	for _, g := range c.next.gateways {
		if g.Type != HTTP || g.Asked.TLS == nil {
			continue
		}
		for _, host := range g.Hosts {
			if name, _ := splitPrefix(host); secure[name] == "" {
				secure[name] = g.Name
			}
		}
	}
	if len(secure) == 0 {
		return
	}
	for _, g := range c.next.gateways {
		if g.Type != HTTP || g.Asked.TLS != nil {
			continue
		}
		for _, host := range g.Hosts {
			if name, _ := splitPrefix(host); secure[name] != "" {
				c.byName[g.Name].fault(Fault{
					Code:     codeMixedHosts,
					Path:     "virtual_hosts",
					Problem:  fmt.Sprintf("gateway %s speaks TLS for %s, and this one does not: requests for it over TLS are not answered here", secure[name], name),
					Allowed:  "give both gateways sluice.tls with the same certificates, or neither",
					Severity: Warning,
				})
			}
		}
	}
}
