// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"
	"strings"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
)

// anyHost is the virtual host that stands for all that no other one does.
const anyHost = "*"

// entrance is how one gateway speaks TLS to its clients.
type entrance struct {
	asks      *routing.ListenTLS
	protocols []string        // that clients may agree on
	server    *tlsconf.Server // nil if its files cannot be used
}

// names chooses by the name of the server that a client wants to reach how TLS
// is spoken on a port that gateways share: the whole name, then the wildcard
// with the most labels, as for the hosts of requests. Who names nobody known,
// or nobody at all, gets the star that stands for all others, or else what
// comes first: the gateway whose own port it is, otherwise the first of the
// table. It is not changed once it is in use.
type names struct {
	exact map[string]*entrance
	below map[string]*entrance // by what follows the star
	first *entrance
}

// add has hosts lead to an entrance. Path prefixes are not told apart: they
// come later. A host that stands alone comes before one with a prefix, then the
// first counts; wins reports whether requests for the host go to the gateway.
func (n *names) add(hosts []string, e *entrance, wins func(host string) bool) {
	if n.first == nil {
		n.first = e
	}
	for _, host := range hosts {
		name, _, prefixed := strings.Cut(host, "/")
		m, key := n.exact, name
		if suffix, wild := strings.CutPrefix(name, "*."); wild {
			m, key = n.below, "."+suffix
		}
		if m[key] == nil || !prefixed && wins(name) {
			m[key] = e
		}
	}
}

// choose returns the entrance for a name in lower case.
func (n *names) choose(name string) *entrance {
	if e := n.exact[name]; e != nil {
		return e
	}
	for len(n.below) > 0 {
		at := strings.IndexByte(name, '.')
		if at < 0 {
			break
		}
		if e := n.below[name[at:]]; e != nil && at > 0 {
			return e
		}
		name = name[at+1:]
	}
	if e := n.exact[anyHost]; e != nil {
		return e
	}
	return n.first
}

// serves reports whether any entrance has a certificate.
func (n *names) serves() bool {
	if n.first.server != nil {
		return true
	}
	for _, m := range [...]map[string]*entrance{n.exact, n.below} {
		for _, e := range m {
			if e.server != nil {
				return true
			}
		}
	}
	return false
}

// asked returns what the client was asked for that named a server.
func (n *names) asked(name string) *routing.ListenTLS { return n.choose(name).asks }

// config returns what handshakes begin with; nil if there is nothing to begin
// with for anybody. Who wants to reach a gateway whose certificates cannot be
// used is not shown that of another one.
func (n *names) config() *tls.Config {
	if !n.serves() {
		return nil
	}
	if len(n.exact)+len(n.below) == 0 {
		return n.first.server.Config()
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			e := n.choose(strings.ToLower(hello.ServerName))
			if e.server == nil {
				return nil, tlsconf.ErrNoCertificate
			}
			return e.server.Config(), nil
		},
	}
}
