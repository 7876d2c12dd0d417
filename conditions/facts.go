// SPDX-License-Identifier: Apache-2.0

package conditions

// Facts are kinds of what conditions look at. Addresses, chance and constants
// are of no kind: every connection has them.
type Facts uint8

const (
	// FactRequest is what only an HTTP request has: method, target, fields.
	FactRequest Facts = 1 << iota
	// FactName is the server name that the client of a TLS connection asks for,
	// whoever ends it: sni.
	FactName
	// FactProtocol is the protocol that goes with it: alpn.
	FactProtocol
	// FactHello is the same of connections that pass through alone:
	// req.ssl_sni and its like.
	FactHello
	// FactTLS is what a handshake of ours agreed on: ssl_fc_sni and its like.
	FactTLS
	// FactCertificate is the certificate of the client.
	FactCertificate
)

// Asks returns of what kinds the facts are that c looks at.
func (c *Condition) Asks() Facts {
	var all Facts
	if c.tree != nil {
		c.tree.eachTest(func(e *Expr) { all |= e.test.asks() })
	}
	return all
}

// TestsOf returns the tests of c that look at any of some kinds of facts, in
// written order and canonical form.
func (c *Condition) TestsOf(kinds Facts) []string {
	var tests []string
	if c.tree != nil {
		c.tree.eachTest(func(e *Expr) {
			if e.test.asks()&kinds != 0 {
				tests = append(tests, e.String())
			}
		})
	}
	return tests
}

func (t *test) asks() Facts {
	switch t.subject {
	case ofClient:
		return 0
	case ofServerName:
		return FactName
	case ofProtocol:
		return FactProtocol
	case ofCertificate, ofSubject, ofNames:
		return FactCertificate
	case ofRaw:
		return t.raw.asks()
	case ofProgram:
		return t.program.asks
	default:
		return FactRequest
	}
}

func (a *acl) asks() Facts {
	var all Facts
	for _, terms := range a.any {
		for i := range terms {
			all |= terms[i].test.fetch.asks()
		}
	}
	return all
}

func (f aclFetch) asks() Facts {
	switch f {
	case fetchSrc, fetchSrcPort, fetchDst, fetchDstPort, fetchRand, fetchText, fetchInt, fetchBool, fetchTLS:
		return 0
	case fetchHelloType, fetchHelloSNI, fetchHelloALPN:
		return FactHello
	case fetchSNI, fetchALPN, fetchProtocol, fetchClientVerify:
		return FactTLS
	case fetchClientUsed, fetchClientSubject:
		return FactCertificate
	default:
		return FactRequest
	}
}
