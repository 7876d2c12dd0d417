// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/proxy/live"
)

// begin has connections let in until the listener is paused.
func (s *Server) begin(ctx context.Context, l *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asleep = s.porch.enter(l); !l.asleep {
		go s.accept(ctx, l)
	}
}

// rouse wakes the listeners to which connections come until ctx ends.
func (s *Server) rouse(ctx context.Context) {
	s.porch.run(ctx, func(l *listener) { s.wake(s.life, l) })
}

// wake begins to accept where a connection has come.
func (s *Server) wake(ctx context.Context, l *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.asleep {
		return // it was paused since
	}
	l.asleep = false
	_ = l.ln.SetDeadline(time.Now().Add(s.porch.staysAwake()))
	go s.accept(ctx, l)
}

// rest is called when the deadline of a listener has passed. It reports whether
// there is more to accept; if not, the listener is paused, or sleeps, unless it
// was busy since the last time.
func (s *Server) rest(l *listener, busy bool) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.paused:
		l.done.Done()
		return false
	case busy:
		_ = l.ln.SetDeadline(time.Now().Add(s.porch.staysAwake()))
		return true
	default:
		if l.asleep = s.porch.again(l); !l.asleep {
			_ = l.ln.SetDeadline(time.Time{})
		}
		return !l.asleep
	}
}

// accept lets connections in until the listener is paused, or falls asleep as
// none come.
func (s *Server) accept(ctx context.Context, l *listener) {
	var since time.Time // when accepting began to fail; zero if it does not
	busy := false       // connections came since the deadline was set
	for {
		nc, err := l.ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			l.done.Done()
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if !s.rest(l, busy || !since.IsZero()) {
				return
			}
			busy = false
			continue
		}
		busy = true
		if err != nil {
			// Out of descriptors or memory: connections wait in the kernel
			// meanwhile. One log entry tells of it, not fifty a second.
			if since.IsZero() {
				s.options.Log.WarnContext(ctx, "cannot accept connections; trying again", "port", l.port, "error", err)
				since = time.Now()
			}
			s.stall(ctx, l, err, since)
			continue
		}
		if !since.IsZero() {
			s.options.Log.InfoContext(ctx, "accepting connections again", "port", l.port)
			since = time.Time{}
		}
		s.enter(ctx, l, nc)
	}
}

const (
	// acceptAgain is how long after a failure accepting is tried again.
	acceptAgain = 20 * time.Millisecond
	// shortFor is how long descriptors may be short before the connections
	// that wait are told so, one each time: a moment later there may be some.
	shortFor = time.Second
)

// stall waits after a failure to accept.
func (s *Server) stall(ctx context.Context, l *listener, err error, since time.Time) {
	short := errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
	if short && time.Since(since) >= shortFor {
		s.reserve.Lend(func() {
			if gate.TurnAway(l.ln, l.refusal(live.Overloaded)) {
				s.gate.Refuse(live.Overloaded)
			}
		})
	}
	pause(ctx, acceptAgain)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// enter serves a connection, or tells it why not.
func (s *Server) enter(ctx context.Context, l *listener, nc *net.TCPConn) {
	defer func() {
		if fault := recover(); fault != nil {
			s.panics.Caught(0, "letting a connection in", fault)
			_ = nc.Close()
		}
	}()
	if s.full(l) {
		s.refuse(l, nc, s.gate.Refuse(live.ConnectionLimit))
		return
	}
	from := clientOf(nc)
	if l.door().Expects(from) {
		from = netip.Addr{} // whoever it is made for is said by the header
	}
	seat, reason := s.gate.Admit(from)
	if reason != live.None {
		s.refuse(l, nc, reason)
		return
	}
	if l.tcp != nil {
		s.tcp.Serve(ctx, l.tcp, nc, seat)
	} else {
		s.http.Serve(ctx, l.http, nc, seat)
	}
}

// full reports whether the gateway of a port has all the connections that it
// may have.
func (s *Server) full(l *listener) bool {
	g := s.handle.Load().Snapshot.ByPort(l.port)
	if g == nil || !g.Asked.Limits.Written() {
		return false
	}
	most := g.Asked.Limits.Value().Connections
	return most > 0 && int64(l.open()) >= most
}

func clientOf(nc *net.TCPConn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}

// refuse ends a connection that was not let in.
func (s *Server) refuse(l *listener, nc *net.TCPConn, reason live.Reason) {
	answer := l.refusal(reason)
	if answer == nil {
		_ = nc.SetLinger(0) // a reset: it must not look like an answer
		_ = nc.Close()
		return
	}
	s.leaving.Dismiss(nc, answer)
}

// refusal returns what a client that is not let in is told; nothing where
// nothing can be said without a handshake.
func (l *listener) refusal(reason live.Reason) []byte {
	if d := l.door(); l.tcp != nil || d != nil && d.TLS != nil {
		return nil
	}
	return http1.Refusal(reason)
}

// relieve closes some of the connections that wait for a request.
func (s *Server) relieve() {
	ls := &s.sockets
	ls.mu.Lock()
	var from []*http1.Listener
	for _, l := range ls.all() {
		if l.http != nil {
			from = append(from, l.http)
		}
	}
	ls.mu.Unlock()
	http1.CloseIdle(from)
}
