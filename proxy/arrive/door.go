// SPDX-License-Identifier: Apache-2.0

package arrive

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// Door says how the connections of a port begin. It is not changed once it is
// in use. A port whose connections begin with nothing special needs none.
type Door struct {
	// ProxyFrom are the networks whose connections must begin with a PROXY
	// header. Those of others are not looked at.
	ProxyFrom []netip.Prefix
	// TLS is how connections speak it; nil if they do not.
	TLS *TLS
	// HTTP reports that HTTP is spoken behind: who does so in plain text where
	// TLS is to be spoken is worth an answer.
	HTTP bool
	// Within is how long all of it may take together.
	Within time.Duration
	// Refused is told why a connection was not let in, unless that was what
	// Arrival.Named said, or it is to be answered. Nil means that nobody is.
	Refused func(live.Reason)
}

// TLS is how the connections of a port speak TLS.
type TLS struct {
	// Config is by what they do so. Nil means that there is nothing to do so
	// with: no connection is let in.
	Config *tls.Config
	// Asked returns what a client was asked for that named a server, in lower
	// case, or none. It agrees with what Config chooses.
	Asked func(serverName string) *routing.ListenTLS
	// Shaken is told of each handshake: what was agreed on, or why it failed.
	// Nil means that nobody is.
	Shaken func(*tls.ConnectionState, error)
}

// Arrival is a connection on its way in.
type Arrival struct {
	// Facts are those of the connection, and what was found out.
	Facts conditions.Conn
	// TLVs are those of its PROXY header (see sniff.Header); nil if it has
	// none.
	TLVs []byte
	// Asked is what the client was asked for as TLS began; nil if it did not.
	Asked *routing.ListenTLS
	// Named is told who the client is, before anything is done for it, and may
	// say why it is not let in. It is asked only if a PROXY header names
	// somebody. Nil lets all in.
	Named func(client netip.Addr) live.Reason
}

// Expects reports whether connections from an address must begin with a PROXY
// header. A nil Door expects none.
func (d *Door) Expects(from netip.Addr) bool {
	if d == nil {
		return false
	}
	from = from.Unmap().WithZone("")
	for _, n := range d.ProxyFrom {
		if n.Contains(from) {
			return true
		}
	}
	return false
}

// Enter brings a connection in and reports whether it did. If not the
// connection is to be closed; the reason says why, None that its end is nobody's
// fault. It is called once, by the goroutine that reads from the connection,
// which is due afterwards as it was before.
func (d *Door) Enter(ctx context.Context, c *socket.Conn, a *Arrival) (in bool, why live.Reason) {
	c.Due(socket.Now() + int64(d.Within))
	if d.Expects(a.Facts.Peer.Addr()) {
		if in, why = d.readHeader(c, a); !in {
			return false, why
		}
	}
	if d.TLS != nil {
		if in, why = d.secure(ctx, c, a); !in {
			return false, why
		}
	}
	c.Due(0)
	return true, live.None
}

// refuse tells of a connection that is not let in.
func (d *Door) refuse(why live.Reason) (in bool, _ live.Reason) {
	if d.Refused != nil {
		d.Refused(why)
	}
	return false, why
}

// readHeader takes the PROXY header off the connection. Who has ended it
// before he sent anything only looked whether somebody is there.
func (d *Door) readHeader(c *socket.Conn, a *Arrival) (in bool, why live.Reason) {
	h, ok := takeHeader(c)
	if !ok {
		return false, live.None
	}
	if h == nil {
		return d.refuse(live.ProxyHeader)
	}
	if h.Local {
		return true, live.None
	}
	a.Facts.Client, a.Facts.Local = h.Source, h.Destination
	a.TLVs = h.TLVs
	if a.Named != nil {
		if why = a.Named(h.Source.Addr()); why != live.None {
			return false, why
		}
	}
	return true, live.None
}

// firstLook is room for headers without vectors, and for those that name a
// host or an endpoint.
const firstLook = 512

// takeHeader reads the header, and nothing behind it. It is nil if there is
// none that is whole. ok is false if the peer has ended the connection before it
// sent anything.
func takeHeader(c *socket.Conn) (h *sniff.Header, ok bool) {
	buf := make([]byte, firstLook)
	for {
		header, n, seen, err := look(c, buf)
		switch {
		case n > 0:
			if _, err := io.ReadFull(c, buf[:n]); err != nil {
				return nil, true
			}
			// The vectors are still where they were.
			return &header, true
		case errors.Is(err, sniff.ErrShort) && seen == len(buf) && seen < sniff.MaxHeader:
			buf = make([]byte, sniff.MaxHeader)
		default:
			return nil, seen > 0 || c.Expired()
		}
	}
}

// look looks for a header of n bytes in what the connection has received so
// far, as long as there may be one.
func look(c *socket.Conn, buf []byte) (h sniff.Header, n, seen int, err error) {
	seen, ended := c.Peek(buf, func(b []byte) bool {
		h, n, err = sniff.ParseHeader(b)
		return !errors.Is(err, sniff.ErrShort)
	})
	if seen == len(buf) && n == 0 {
		h, n, err = sniff.ParseHeader(buf)
	}
	if err == nil && n == 0 {
		err = ended
	}
	return h, n, seen, err
}
