// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/proxy/arrive"
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
	door         *arrive.Door   // how connections begin; nil if with nothing special
	http2        *routing.HTTP2 // how it is spoken; nil if it is not
}

// unready reports whether no connection could be let in. A port is not bound
// for that.
func (w want) unready() bool { return w.door != nil && w.door.TLS != nil && w.door.TLS.Config == nil }

// tls reports whether TLS is spoken.
func (w want) tls() bool { return w.door != nil && w.door.TLS != nil }

// listener accepts on one port for as long as it is wanted.
type listener struct {
	want
	ln     *net.TCPListener
	http   *http1.Listener
	tcp    *tcp.Listener
	done   sync.WaitGroup // of accepting; smaller than a channel
	handed bool           // another listener has taken ln over
	left   time.Time      // when it was no longer wanted

	mu     sync.Mutex // guards asleep, paused, and who sets the deadline of ln
	asleep bool       // the porch waits for the next connection
	paused bool       // accepting ends, or has ended
}

// wanted returns what a snapshot asks to listen on, by port, and which ports of
// virtual hosts cannot serve them. Such a port may be a gateway's own besides, if
// the same is spoken there.
func (s *Server) wanted(snap *routing.Snapshot, d *doors) (ws map[int]want, taken map[int]error) {
	ws, taken = make(map[int]want, len(snap.Gateways())+2), make(map[int]error)
	for _, g := range snap.Gateways() {
		if g.Port == 0 {
			continue
		}
		ws[g.Port] = want{port: g.Port, kind: g.Type, door: s.at(d, g)}
		if g.Type == routing.HTTP {
			ws[g.Port] = want{port: g.Port, entry: &g.Entry, door: s.at(d, g), http2: spoken(&g.HTTP2)}
		}
	}
	for _, p := range [...]struct {
		port int
		tls  bool
	}{{s.options.VirtualHostsPort, false}, {s.options.VirtualHostsTLSPort, true}} {
		own, owned := ws[p.port]
		e := widest(snap, own.entry, p.tls)
		switch {
		case e == nil:
		case owned && (own.kind != routing.HTTP || own.tls() != p.tls):
			taken[p.port] = fmt.Errorf("port %d is that of gateway %s, which does not speak the same", p.port, snap.ByPort(p.port).Name)
		case p.tls:
			ws[p.port] = want{port: p.port, virtualHosts: true, entry: e, door: s.shared(own, namesOf(snap, d, p.port), e), http2: widestHTTP2(snap, own.http2, p.tls)}
		default:
			ws[p.port] = want{port: p.port, virtualHosts: true, entry: e, door: s.shared(own, nil, e), http2: widestHTTP2(snap, own.http2, p.tls)}
		}
	}
	return ws, taken
}

// hosted reports whether requests for the virtual hosts of a gateway may come
// to the port for TLS, or for plain text.
func hosted(g *routing.CompiledGateway, tls bool) bool {
	switch asks := g.Asked.TLS; {
	case len(g.Hosts) == 0 || g.Type != routing.HTTP:
		return false
	case tls:
		return asks != nil
	default:
		return asks == nil || asks.Plain != routing.PlainRefuse
	}
}

// namesOf returns how TLS is spoken by name on the port of virtual hosts.
func namesOf(snap *routing.Snapshot, d *doors, port int) *names {
	n := &names{exact: make(map[string]*entrance), below: make(map[string]*entrance)}
	if own := snap.ByPort(port); own != nil {
		n.first = d.entrances[own.Name]
	}
	for _, g := range snap.Gateways() {
		if hosted(g, true) {
			n.add(g.Hosts, d.entrances[g.Name], func(host string) bool { return snap.ByHost(host) == g })
		}
	}
	return n
}

// widest returns what may be a request for a gateway whose virtual hosts are
// reached by TLS, or in plain text, or for the one whose own port it is, if
// there is one; nil if there are no such virtual hosts.
func widest(snap *routing.Snapshot, own *routing.Entry, tls bool) (e *routing.Entry) {
	for _, g := range snap.Gateways() {
		if !hosted(g, tls) {
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

// widestHTTP2 returns how HTTP/2 is spoken where any of the gateways that widest
// looks at may be reached; nil if none of them speaks it.
func widestHTTP2(snap *routing.Snapshot, own *routing.HTTP2, tls bool) *routing.HTTP2 {
	h := routing.HTTP2{Off: true}
	if own != nil {
		h = h.Widen(*own)
	}
	for _, g := range snap.Gateways() {
		if hosted(g, tls) {
			h = h.Widen(g.HTTP2)
		}
	}
	return spoken(&h)
}

// spoken returns h unless it is off.
func spoken(h *routing.HTTP2) *routing.HTTP2 {
	if h.Off {
		return nil
	}
	return h
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
	l := &listener{want: w, ln: ln}
	l.done.Add(1)
	if w.kind == routing.TCP {
		l.tcp = &tcp.Listener{Port: w.port}
	} else {
		l.http = &http1.Listener{Port: w.port}
	}
	l.shape(w)
	return l
}

// shape makes connections that come from now on be what is wanted, which is of
// the same kind as before.
func (l *listener) shape(w want) {
	if l.tcp != nil {
		l.tcp.SetDoor(w.door)
		return
	}
	l.http.SetVirtualHosts(w.virtualHosts)
	l.http.SetEntry(w.entry)
	l.http.SetHTTP2(w.http2)
	l.http.SetDoor(w.door)
}

// door returns how connections begin.
func (l *listener) door() *arrive.Door {
	if l.tcp != nil {
		return l.tcp.Door()
	}
	return l.http.Door()
}

// handOn returns a listener of another kind on the socket of l, which is to
// be paused before the other one accepts: the port is never closed.
func (l *listener) handOn(w want) *listener {
	l.handed = true
	return newListener(w, l.ln)
}

// pause ends accepting; the socket stays open.
func (l *listener) pause(p *porch) {
	l.mu.Lock()
	l.paused = true
	p.leave(l)
	if l.asleep {
		l.asleep = false
		l.done.Done()
	} else {
		_ = l.ln.SetDeadline(time.Unix(1, 0))
	}
	l.mu.Unlock()
	l.done.Wait()
	_ = l.ln.SetDeadline(time.Time{})
}

// maxBacklog is more than the kernel lets wait: what is still there after so
// many has come since.
const maxBacklog = 1 << 16

// stop ends accepting. Connections that the kernel has taken already are
// accepted first: closing the socket would reset them.
func (s *Server) stop(ctx context.Context, l *listener) {
	l.pause(&s.porch)
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
	taken   map[int]error // why a port does not serve virtual hosts
	doors   *doors
	leaving []*listener // no longer wanted; their connections finish
}

// all returns the listeners that may have connections. The mutex is held.
func (ls *listeners) all() []*listener {
	return slices.AppendSeq(slices.Clone(ls.leaving), maps.Values(ls.bound))
}
