// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// patienceForSession is how long a connection may have no session, before its
// first one and after its last.
const patienceForSession = 15 * time.Second

// strangers returns how many connections without a session may be open beside
// those that have one: who is not known yet takes no place of who is. A tenth
// of all proxies may be about to begin at once; the others come again.
func strangers(proxies int) int { return max(spare, proxies/10) }

// gate is a listener that bounds the connections which have no session, by
// number and by time. What is beyond is closed and told of. Connections with
// one are bounded by the number of sessions.
type gate struct {
	net.Listener
	most    int
	within  func() time.Duration
	refused func(why *ending)

	mu        sync.Mutex // guards strangers, and what says so
	strangers int
}

// Accept returns the next connection for which there is room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p := g.let(conn); p != nil {
			return p, nil
		}
		g.refused(endf(refusedStrangers, codes.ResourceExhausted,
			"%d connections without a session are open, which is as many as may be, and that from %s is closed; if proxies that begin need more, allow more of these with --max-proxies", g.most, conn.RemoteAddr()))
		_ = conn.Close()
	}
}

// let returns a connection as one that was let in, nil if there is no room.
func (g *gate) let(conn net.Conn) *passing {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.strangers >= g.most {
		return nil
	}
	p := &passing{Conn: conn, gate: g}
	p.estrange()
	return p
}

// passing is a connection that a gate let in. Its fields are guarded by the
// gate's mu.
type passing struct {
	net.Conn
	gate     *gate
	sessions int
	since    time.Time // since when there are none
	late     *time.Timer
	closed   bool
}

// estrange counts the connection among those without a session. The gate is
// locked.
func (p *passing) estrange() {
	within := p.gate.within()
	p.gate.strangers++
	p.since = time.Now()
	p.late = time.AfterFunc(within, func() { p.expire(within) })
}

// know does so no more. The gate is locked.
func (p *passing) know() {
	p.gate.strangers--
	p.late.Stop()
}

// begin notes that a session began on the connection.
func (p *passing) begin() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.sessions++; p.sessions == 1 && !p.closed {
		p.know()
	}
}

// end notes that one ended.
func (p *passing) end() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.sessions--; p.sessions == 0 && !p.closed {
		p.estrange()
	}
}

// expire closes the connection if it has had no session for so long.
func (p *passing) expire(within time.Duration) {
	p.gate.mu.Lock()
	late := p.sessions == 0 && !p.closed && time.Since(p.since) >= within
	p.gate.mu.Unlock()
	if !late {
		return
	}
	p.gate.refused(endf(refusedLate, codes.DeadlineExceeded, "the connection from %s had no session for %v", p.RemoteAddr(), within))
	_ = p.Close()
}

// Close makes room for another connection.
func (p *passing) Close() error {
	p.gate.mu.Lock()
	if !p.closed {
		if p.closed = true; p.sessions == 0 {
			p.know()
		}
	}
	p.gate.mu.Unlock()
	return p.Conn.Close()
}

// handshake is how gRPC comes from a connection to who is at its other end; it
// keeps which connection that was.
type handshake struct {
	credentials.TransportCredentials
}

// plainly is the handshake that there is none.
func plainly() handshake { return handshake{insecure.NewCredentials()} }

// ServerHandshake implements credentials.TransportCredentials.
func (h handshake) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	spoken, info, err := h.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	let, _ := conn.(*passing)
	return spoken, acquaintance{info, let}, nil
}

// Clone implements credentials.TransportCredentials.
func (h handshake) Clone() credentials.TransportCredentials {
	return handshake{h.TransportCredentials.Clone()}
}

// acquaintance is what a handshake came to.
type acquaintance struct {
	credentials.AuthInfo
	passing *passing
}

// passingOf returns the connection of a stream.
func passingOf(ctx context.Context) *passing {
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.AuthInfo.(acquaintance); ok {
			return a.passing
		}
	}
	return nil
}
