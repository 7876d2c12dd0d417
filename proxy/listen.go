// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/proxy/tcp"
	"github.com/sluice-mesh/sluice/routing"
)

// want is what should listen on a port.
type want struct {
	port         int
	kind         routing.PortType
	virtualHosts bool
	entry        *routing.Entry // what heads are read by; nil on tcp ports
}

// listener accepts on one port for as long as it is wanted.
type listener struct {
	want
	ln     *net.TCPListener
	http   *http1.Listener
	tcp    *tcp.Listener
	done   chan struct{} // closed when accepting has ended
	handed bool          // another listener has taken ln over
	left   time.Time     // when it was no longer wanted
}

// wanted returns what a snapshot asks to listen on, by port. The port of
// virtual hosts serves a gateway of its own besides.
func (s *Server) wanted(snap *routing.Snapshot) map[int]want {
	ws := make(map[int]want)
	for _, g := range snap.Gateways() {
		ws[g.Port] = want{port: g.Port, kind: g.Type}
		if g.Type == routing.HTTP {
			ws[g.Port] = want{port: g.Port, entry: &g.Entry}
		}
	}
	p := s.options.VirtualHostsPort
	if w, taken := ws[p]; !taken || w.kind == routing.HTTP {
		if e := widest(snap, w.entry); e != nil {
			ws[p] = want{port: p, virtualHosts: true, entry: e}
		}
	}
	return ws
}

// widest returns what may be a request for a gateway with virtual hosts, or
// for the one whose own port it is, if there is one; nil if no gateway has
// virtual hosts.
func widest(snap *routing.Snapshot, own *routing.Entry) (e *routing.Entry) {
	for _, g := range snap.Gateways() {
		if len(g.Hosts) == 0 || g.Type != routing.HTTP {
			continue
		}
		if e == nil {
			e = new(routing.Entry)
			if own != nil {
				e.Widen(own)
			}
		}
		e.Widen(&g.Entry)
	}
	return e
}

// bind opens a listening socket. Nothing is accepted yet.
func (s *Server) bind(ctx context.Context, w want) (*listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // the sweep finds dead peers
	addr := net.JoinHostPort(s.options.GatewayAddress, strconv.Itoa(w.port))
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s.reserve.Hold()
	return newListener(w, ln.(*net.TCPListener)), nil
}

func newListener(w want, ln *net.TCPListener) *listener {
	l := &listener{want: w, ln: ln, done: make(chan struct{})}
	if w.kind == routing.TCP {
		l.tcp = &tcp.Listener{Port: w.port}
	} else {
		l.http = &http1.Listener{Port: w.port}
		l.http.SetVirtualHosts(w.virtualHosts)
		l.http.SetEntry(w.entry)
	}
	return l
}

// handOn returns a listener of another kind on the socket of l, which is to
// be paused before the other one accepts: the port is never closed.
func (l *listener) handOn(w want) *listener {
	l.handed = true
	return newListener(w, l.ln)
}

// pause ends accepting; the socket stays open.
func (l *listener) pause() {
	_ = l.ln.SetDeadline(time.Unix(1, 0))
	<-l.done
	_ = l.ln.SetDeadline(time.Time{})
}

// maxBacklog is more than the kernel lets wait: what is still there after so
// many has come since.
const maxBacklog = 1 << 16

// stop ends accepting. Connections that the kernel has taken already are
// accepted first: closing the socket would reset them.
func (s *Server) stop(ctx context.Context, l *listener) {
	l.pause()
	for range maxBacklog {
		if !acceptable(l.ln) {
			break
		}
		_ = l.ln.SetDeadline(time.Now().Add(time.Second)) // it may be gone again
		nc, err := l.ln.AcceptTCP()
		if err != nil {
			break
		}
		s.enter(ctx, l, nc)
	}
	_ = l.ln.Close()
}

// drain lets exchanges finish and closes connections that wait.
func (l *listener) drain() {
	if l.http != nil {
		l.http.Drain()
	}
	if l.tcp != nil {
		l.tcp.Announce()
	}
}

// announce makes answers the last ones of their connections.
func (l *listener) announce() {
	if l.http != nil {
		l.http.Announce()
	}
	if l.tcp != nil {
		l.tcp.Announce()
	}
}

// cut ends the tunnels: nothing else ends them, and nothing in them can say
// that an answer is the last one.
func (l *listener) cut() {
	if l.http != nil {
		l.http.Cut()
	}
}

func (l *listener) abort() {
	if l.http != nil {
		l.http.Abort()
	}
	if l.tcp != nil {
		l.tcp.Abort()
	}
}

func (l *listener) open() int {
	if l.http != nil {
		return l.http.Open()
	}
	return l.tcp.Open()
}

// listeners are the sockets of a server.
type listeners struct {
	mu      sync.Mutex // guards all below
	want    map[int]want
	bound   map[int]*listener
	failed  map[int]error
	leaving []*listener // no longer wanted; their connections finish
}

// all returns the listeners that may have connections. The mutex is held.
func (ls *listeners) all() []*listener {
	return slices.AppendSeq(slices.Clone(ls.leaving), maps.Values(ls.bound))
}
