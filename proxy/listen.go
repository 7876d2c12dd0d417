// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net"
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
}

// listener accepts on one port for as long as it is wanted.
type listener struct {
	want
	ln   *net.TCPListener
	http *http1.Listener
	tcp  *tcp.Listener
	done chan struct{} // closed when accepting has ended
}

// wanted returns what a snapshot asks to listen on, by port. The port of
// virtual hosts serves a gateway of its own besides.
func (s *Server) wanted(snap *routing.Snapshot) map[int]want {
	ws := make(map[int]want)
	for _, g := range snap.Gateways() {
		ws[g.Port] = want{port: g.Port, kind: g.Type}
	}
	for _, g := range snap.Gateways() {
		if len(g.Hosts) > 0 && g.Type == routing.HTTP {
			p := s.options.VirtualHostsPort
			if w, taken := ws[p]; !taken || w.kind == routing.HTTP {
				ws[p] = want{port: p, virtualHosts: true}
			}
			break
		}
	}
	return ws
}

// bind opens a listening socket. Nothing is accepted yet.
func (s *Server) bind(ctx context.Context, w want) (*listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // the sweep finds dead peers
	addr := net.JoinHostPort(s.options.GatewayAddress, strconv.Itoa(w.port))
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &listener{want: w, ln: ln.(*net.TCPListener), done: make(chan struct{})}
	if w.kind == routing.TCP {
		l.tcp = &tcp.Listener{Port: w.port}
	} else {
		l.http = &http1.Listener{Port: w.port}
		l.http.SetVirtualHosts(w.virtualHosts)
	}
	return l, nil
}

// accept hands connections on until the listener is closed.
func (s *Server) accept(ctx context.Context, l *listener) {
	defer close(l.done)
	for {
		nc, err := l.ln.AcceptTCP()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), isDeadline(err):
			return
		default:
			// Out of descriptors, or a connection that ended before it was
			// accepted: wait a little rather than spin.
			s.options.Log.Warn("accept failed", "port", l.port, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		if l.tcp != nil {
			s.tcp.Serve(ctx, l.tcp, nc)
		} else {
			s.http.Serve(ctx, l.http, nc)
		}
	}
}

func isDeadline(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// stop ends accepting. Connections that the kernel has taken already are
// accepted first: closing the socket would reset them.
func (l *listener) stop() {
	_ = l.ln.SetDeadline(time.Now().Add(5 * time.Millisecond))
	<-l.done
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
	leaving []*listener // no longer wanted; their exchanges finish
}
