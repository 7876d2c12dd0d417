// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
)

const (
	// protocol is the one that is spoken.
	protocol = 1
	// patienceForHello is how long a proxy may take to say who it is.
	patienceForHello = 10 * time.Second
	// maxLabels and maxLabel bound what a proxy says of itself.
	maxLabels, maxLabel = 64, 256
	// spare is how many sessions may be about to begin beside those that are
	// there.
	spare = 64
)

// noCertificate is the connection of a proxy that shows a token alone.
var noCertificate = &tls.ConnectionState{HandshakeComplete: true}

// endpoint is the Server as gRPC sees it.
type endpoint struct {
	controlpb.UnimplementedControlServer
	s *Server
}

// Connect implements controlpb.ControlServer.
func (e endpoint) Connect(stream grpc.BidiStreamingServer[controlpb.FromProxy, controlpb.ToProxy]) (err error) {
	s := e.s
	defer func() {
		if fault := recover(); fault != nil {
			err = s.refused(s.panicked(fault))
		}
	}()
	if s.streams.Add(1) > int64(s.o.MaxProxies+spare) {
		s.streams.Add(-1)
		return s.refused(s.full())
	}
	defer s.streams.Add(-1)
	c, why := s.admit(stream)
	if why != nil {
		return s.refused(why)
	}
	if p := passingOf(stream.Context()); p != nil {
		p.begin()
		defer p.end()
	}
	why = c.run(stream.Context())
	s.leave(c, why)
	return why.result()
}

// admit hears who a proxy is, and begins its session.
func (s *Server) admit(stream grpc.ServerStream) (*session, *ending) {
	c := &session{
		s: s, stream: stream, since: s.o.Clock(), began: time.Now(),
		wake: make(chan struct{}, 1), over: make(chan struct{}), departing: make(chan struct{}),
		settled: make(chan struct{}), parted: make(chan struct{}),
	}
	state, token, why := s.knock(stream.Context(), c)
	if why != nil {
		return nil, why
	}
	if c.hello, why = s.hear(stream); why != nil {
		return nil, why
	}
	held, err := newHolding(c.hello.GetHeld())
	if err != nil {
		return nil, malformed("Hello: %v", err)
	}
	c.held, c.hello.Held = held, nil
	if c.identity, err = s.identify(stream.Context(), state, token, c.hello); err != nil {
		return nil, refuseIdentity(err)
	}
	if c.identity.Role != auth.RoleProxy {
		return nil, endf(refusedIdentity, codes.PermissionDenied, "the credentials are those of a %s, not of a proxy; issue others with 'sluice pki issue --role proxy'", c.identity.Role)
	}
	for _, name := range c.hello.GetNamespaces() {
		if s.o.Namespaces != nil && !slices.Contains(s.o.Namespaces, name) {
			return nil, endf(refusedNamespace, codes.PermissionDenied, "the namespace %s is not served here; connect to a control plane of it", name)
		}
	}
	c.proof = "claim"
	switch {
	case c.identity.Token != "":
		c.proof, c.token = "token "+c.identity.Token, token
	case state != nil:
		c.proof = "certificate"
	}
	c.key = c.identity.Node + " " + strings.Join(c.identity.Namespaces, " ")
	return c, s.join(c)
}

// knock looks at what a peer shows before it may say anything, so that what
// strangers say is not even read.
func (s *Server) knock(ctx context.Context, c *session) (state *tls.ConnectionState, token string, why *ending) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil, "", endf(refusedIdentity, codes.Unauthenticated, "the connection has no peer")
	}
	if p.Addr != nil {
		c.address = p.Addr.String()
	}
	if s.o.Credentials == nil {
		return nil, "", nil
	}
	if a, ok := p.AuthInfo.(acquaintance); ok {
		if info, ok := a.AuthInfo.(credentials.TLSInfo); ok {
			state = &info.State
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if shown := md.Get("authorization"); len(shown) == 1 && s.o.Tokens != nil {
		scheme, rest, _ := strings.Cut(shown[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			token = strings.TrimSpace(rest)
		}
	}
	_, err := auth.FromConnection(state)
	if errors.Is(err, auth.ErrNoCertificate) && token != "" {
		err = s.holds(ctx, token)
	}
	if err != nil {
		return nil, "", refuseIdentity(err)
	}
	return state, token, nil
}

// hear returns what a proxy says first.
func (s *Server) hear(stream grpc.ServerStream) (*controlpb.Hello, *ending) {
	type first struct {
		in  *incoming
		err error
	}
	came := make(chan first, 1)
	s.running.Go(func() {
		in := new(incoming)
		err := stream.RecvMsg(in)
		came <- first{in, err}
	})
	timer := time.NewTimer(s.helloWithin)
	defer timer.Stop()
	select {
	case f := <-came:
		switch {
		case f.err != nil:
			return nil, endOfReceiving(f.err)
		case f.in.err != nil:
			return nil, malformed("the first message cannot be read: %v", f.in.err)
		}
		return s.checkHello(f.in.msg.GetHello())
	case <-timer.C:
		return nil, endf(refusedLate, codes.DeadlineExceeded, "no Hello came within %v", s.helloWithin)
	case <-stream.Context().Done():
		return nil, endf(endLost, codes.Unavailable, "the connection was lost")
	}
}

func (s *Server) checkHello(h *controlpb.Hello) (*controlpb.Hello, *ending) {
	switch {
	case h == nil:
		return nil, malformed("the first message is not Hello")
	case h.GetProtocol() < protocol:
		return nil, endf(refusedProtocol, codes.FailedPrecondition, "the proxy speaks protocol %d, which is too old: this control plane speaks %d; upgrade the proxy", h.GetProtocol(), protocol)
	case h.GetProtocol() > protocol:
		return nil, endf(refusedProtocol, codes.FailedPrecondition, "the proxy speaks protocol %d, and this control plane %d at most; upgrade the control plane first", h.GetProtocol(), protocol)
	case len(h.GetLabels()) > maxLabels:
		return nil, malformed("Hello: labels: there are %d, more than %d", len(h.GetLabels()), maxLabels)
	case len(h.GetZone()) > maxLabel || len(h.GetBuild()) > maxLabel:
		return nil, malformed("Hello: zone, build: at most %d bytes are allowed", maxLabel)
	}
	for i, l := range h.GetLabels() {
		if l.GetName() == "" || len(l.GetName()) > maxLabel || len(l.GetValue()) > maxLabel {
			return nil, malformed("Hello: labels[%d]: the name is 1 to %d bytes long, the value at most as many", i, maxLabel)
		}
	}
	return h, nil
}

// identify returns who a proxy is. Without TLS, which is on loopback alone, it
// is believed.
func (s *Server) identify(ctx context.Context, state *tls.ConnectionState, token string, h *controlpb.Hello) (auth.Identity, error) {
	if s.o.Credentials != nil {
		return s.o.Tokens.Identify(ctx, state, token, auth.Claim{Node: h.GetNode(), Namespaces: h.GetNamespaces()})
	}
	id := auth.Identity{Role: auth.RoleProxy, Node: h.GetNode(), Namespaces: slices.Sorted(slices.Values(h.GetNamespaces()))}
	return id, id.Check()
}

// full refuses whoever comes after the last place is taken.
func (s *Server) full() *ending {
	return endf(refusedFull, codes.ResourceExhausted, "%d proxies are connected, which is as many as may be; connect to another control plane, or start this one with more", s.o.MaxProxies)
}

// join begins a session, in the place of an earlier one of the same proxy. What
// there is to tell of that one is told before.
func (s *Server) join(c *session) *ending {
	old, parting, after, why := s.seat(c)
	if why != nil {
		return why
	}
	defer close(c.settled)
	after.run()
	s.nudge() // for a view that is new
	if parting != nil {
		<-parting.parted
	}
	if old != nil {
		<-old.settled
		old.silence()
		s.o.Log.Info("a proxy took over its session", "node", c.identity.Node, "address", c.address, "from", old.address)
		return nil
	}
	s.o.Log.Info("a proxy joined", "node", c.identity.Node, "address", c.address, "namespaces", c.hello.GetNamespaces(), "build", c.hello.GetBuild())
	if tell := s.o.Hooks.Joined; tell != nil {
		s.mu.Lock()
		p := c.show()
		s.mu.Unlock()
		tell(p)
	}
	return nil
}

// seat gives a session its place. It returns the one that had it, and one that
// had it before and of which it is not told yet that it ended; nil for none.
func (s *Server) seat(c *session) (old, parting *session, after calls, why *ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, parting = s.sessions[c.key], s.parting[c.key]
	switch {
	case s.stopping:
		return nil, nil, nil, endf(endStopped, codes.Unavailable, "the control plane stops; connect to another one")
	case old != nil && old.proof != c.proof:
		return nil, nil, nil, endf(refusedTaken, codes.AlreadyExists, "the node %s is connected from %s since %s, and proved who it is by another %s; give one of the two another name, or end the other",
			c.identity.Node, old.address, old.since.UTC().Format(time.RFC3339), old.proof)
	case old == nil && len(s.sessions) >= s.o.MaxProxies:
		return nil, nil, nil, s.full()
	case old != nil:
		after = s.unseat(old)
		old.depart(&controlpb.Leave{
			Reason:  "taken over: another session of this node and namespaces began, from " + c.address + "; if both are to run, give each a name of its own with --node",
			AfterNs: int64(30 * time.Second),
		}, endf(endTakenOver, codes.Aborted, "another session of this node and namespaces began, from %s", c.address))
	}
	s.sessions[c.key] = c
	delete(s.gone, c.key)
	c.view = s.viewOf(c.hello.GetNamespaces())
	c.view.sessions[c] = struct{}{}
	for _, n := range c.view.namespaces {
		n.joined(c)
	}
	c.behind = c.since
	s.tell()
	return old, parting, after, nil
}

// viewOf returns the view of namespaces, a new one at first. The server is
// locked.
func (s *Server) viewOf(names []string) *view {
	key := strings.Join(names, " ")
	v, ok := s.views[key]
	if !ok {
		v = &view{key: key, sessions: make(map[*session]struct{})}
		for _, name := range names {
			v.namespaces = append(v.namespaces, s.namespace(name))
		}
		s.views[key] = v
	}
	return v
}

// unseat takes a session out of everything. The server is locked.
func (s *Server) unseat(c *session) (after calls) {
	c.unseated.Store(true)
	delete(s.sessions, c.key)
	delete(c.view.sessions, c)
	if len(c.view.sessions) == 0 {
		delete(s.views, c.view.key)
	}
	for _, n := range c.view.namespaces {
		n.left(c)
		after = append(after, s.settle(n, c)...)
	}
	s.tell()
	return after
}

// leave ends what join began.
func (s *Server) leave(c *session, why *ending) {
	s.o.Registry.ControlSessionsEnded(why.reason).Add(0, 1)
	s.mu.Lock()
	if s.sessions[c.key] != c { // taken over
		s.mu.Unlock()
		return
	}
	after := s.unseat(c)
	s.parting[c.key] = c
	defer s.parts(c)
	p := c.show()
	p.Connected, p.Gone, p.Reason, p.Behind = false, s.o.Clock(), why.text, time.Time{}
	s.gone[c.key] = p
	s.forgetGone(p.Gone)
	s.mu.Unlock()
	after.run()
	s.o.Log.Info("a proxy left", "node", c.identity.Node, "address", c.address, "reason", why.text)
	c.silence()
	if tell := s.o.Hooks.Left; tell != nil {
		tell(p)
	}
}

// parts notes that all is told of a session.
func (s *Server) parts(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parting[c.key] == c {
		delete(s.parting, c.key)
	}
	close(c.parted)
}

// refused counts and tells that a session did not begin.
func (s *Server) refused(why *ending) *ending {
	s.o.Registry.ControlSessionsRefused(why.reason).Add(0, 1)
	now := time.Now().Unix()
	if last := s.refusedAt.Swap(now); last != now { // whoever knocks does not fill the log
		s.o.Log.Warn("a proxy was refused", "reason", why.text)
	}
	return why
}

// panicked tells of a fault of our own, which ends one session.
func (s *Server) panicked(fault any) *ending {
	s.o.Log.Error("a session ended by a fault of the control plane", "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
	return endf(endPanic, codes.Internal, "a fault of the control plane, which its log tells of")
}
