// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"

	"github.com/sluice-mesh/sluice/routing"
)

// Way is how instances are spoken to. The zero Way is plain TCP. Comparable:
// equal ones share their instances, and so their connections.
type Way struct {
	// Secure reports that it is by TLS, as TLS says; the zero DialTLS if it is
	// not.
	Secure bool
	TLS    routing.DialTLS
	// HTTP reports that HTTP/1.1 is what is spoken inside TLS, which the
	// handshake then says (ALPN, RFC 7301).
	HTTP bool
	// Protocol is what is spoken in its place if it is HTTP/2. Then HTTP/2 alone
	// is agreed on in TLS; without TLS the instance knows it before.
	Protocol routing.Protocol
	// Proxy is the PROXY header with which connections begin.
	Proxy routing.ProxyVersion
}

// ErrSettings reports that the proxy itself lacks what it needs to speak to an
// instance in the way that is asked for.
var ErrSettings = errors.New("settings that cannot be used")
