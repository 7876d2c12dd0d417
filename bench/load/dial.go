// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
)

// target is where connections go: an address without names.
type target struct {
	addr   netip.AddrPort
	spread bool // connections come from many local addresses
	tls    *tls.Config
	limit  time.Duration // of connecting
}

// resolve looks the plan's address up. Of several addresses it takes the first
// that accepts a connection.
func resolve(ctx context.Context, p Plan) (target, error) {
	host, service, err := net.SplitHostPort(p.Address)
	if err != nil {
		return target{}, err // checked before
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return target{}, fmt.Errorf("load: address %q: %w", p.Address, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return target{}, fmt.Errorf("load: address %q: %w", p.Address, err)
	}
	t := target{tls: p.TLS, limit: p.Timeout}
	for i, a := range addrs {
		addr := netip.AddrPortFrom(a.Unmap(), uint16(port))
		if i == 0 {
			t.addr = addr // if none accepts
		}
		if len(addrs) > 1 && accepts(ctx, addr, p.Timeout) {
			t.addr = addr
			break
		}
	}
	t.spread = runtime.GOOS == "linux" && t.addr.Addr().Is4() && t.addr.Addr().IsLoopback() &&
		(p.PerConnection > 0 || p.Connections > spreadAbove)
	return t, nil
}

// accepts tells whether something listens there.
func accepts(ctx context.Context, addr netip.AddrPort, limit time.Duration) bool {
	d := net.Dialer{Timeout: limit}
	c, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// localAddresses is over how many local addresses connections are spread. Each
// has about 28,000 ports, and a port rests for a minute after use.
const localAddresses = 200

// local returns the local address of the n-th connection of a spread target.
func (t target) local(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + n%localAddresses)})
}

// dialer returns what makes connections to the target, with TLS if it asks for
// that.
func (t target) dialer() func(context.Context) (net.Conn, error) {
	var made atomic.Uint32
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: t.limit, KeepAlive: -1}
		if t.spread {
			d.LocalAddr = &net.TCPAddr{IP: t.local(made.Add(1)).AsSlice()}
		}
		if t.tls == nil {
			return d.DialContext(ctx, "tcp", t.addr.String())
		}
		td := tls.Dialer{NetDialer: &d, Config: t.tls}
		return td.DialContext(ctx, "tcp", t.addr.String())
	}
}
