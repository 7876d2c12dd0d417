// SPDX-License-Identifier: Apache-2.0

package arrive

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// recordHandshake is the first byte of a connection that begins with TLS (RFC
// 8446 section 5.1).
const recordHandshake = 0x16

// BeginsTLS reports whether a connection begins with TLS by its first byte. No
// protocol of text begins with it.
func BeginsTLS(first byte) bool { return first == recordHandshake }

// secure runs the handshake.
func (d *Door) secure(ctx context.Context, c *socket.Conn, a *Arrival) (in bool, why live.Reason) {
	if d.TLS.Config == nil {
		return d.refuse(live.TLSUnavailable)
	}
	if d.HTTP {
		var first [1]byte
		n, err := c.Peek(first[:], func([]byte) bool { return true })
		switch {
		case errors.Is(err, errors.ErrUnsupported): // then there is no hint
		case n == 0: // it never said a word
			return false, live.None
		case isUpper(first[0]):
			return false, live.PlainOnTLS
		}
	}
	c.ServerTLS(d.TLS.Config)
	err := c.Handshake(ctx)
	state := c.TLSState()
	if d.TLS.Shaken != nil {
		d.TLS.Shaken(state, err)
	}
	if err != nil {
		return false, live.None // whoever counts handshakes has been told
	}
	a.Facts.TLS = Facts(state)
	a.Asked = d.TLS.Asked(a.Facts.TLS.ServerName)
	return true, live.None
}

// isUpper reports whether a byte may begin a request of HTTP: all methods that
// anybody sends are upper-case letters.
func isUpper(b byte) bool { return 'A' <= b && b <= 'Z' }

// Facts returns what conditions may ask of a connection that speaks TLS.
func Facts(state *tls.ConnectionState) *conditions.TLS {
	t := &conditions.TLS{
		ServerName: strings.ToLower(state.ServerName),
		Version:    state.Version,
		ALPN:       state.NegotiatedProtocol,
	}
	if len(state.PeerCertificates) > 0 {
		t.Client = conditions.NewClientCertificate(state.PeerCertificates[0], len(state.VerifiedChains) > 0)
	}
	return t
}
