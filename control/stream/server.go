// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// stopPatience bounds how long the end of Serve takes.
	stopPatience = 5 * time.Second
	// pingsApart is how long a proxy has to wait between signs of life that it
	// asks for, at most: it does so each 10 s, whatever Options.Keepalive is.
	pingsApart = 5 * time.Second
)

// Server hands tables to proxies. It is made by New and safe for concurrent
// use.
type Server struct {
	o             Options
	started       time.Time
	inbox         inbox
	work          chan struct{}  // for spread; one is enough
	running       sync.WaitGroup // goroutines of sessions
	helloWithin   time.Duration  // see patienceForHello
	sessionWithin atomic.Int64   // see patienceForSession
	recheck       time.Duration  // see recheckTokens
	streams       atomic.Int64   // sessions, with those that are about to begin
	refusedAt     atomic.Int64   // second of the last refusal that was logged

	burstAnswers, answersPerSecond float64 // see there

	updates, updateBytes *metrics.Counter

	mu         sync.Mutex // guards the fields below, and what says so
	namespaces map[string]*namespace
	views      map[string]*view
	sessions   map[string]*session
	gone       map[string]Proxy
	parting    map[string]*session // those that have lost their place, until that is told
	seq        uint64              // of the last pass that took up plans
	newest     routing.Version     // of all plans; written by spread alone
	known      map[uint64][]*tracked
	order      []*tracked // those known, the oldest first
	forgotten  uint64     // the highest change that was known and is not
	news       chan struct{}
	stopping   bool
}

// New returns a server without tables and proxies. The only error is that of
// credentials that are not those of a control plane.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	if o.Credentials != nil {
		if _, err := o.Credentials.Server(); err != nil {
			return nil, err
		}
	}
	s := &Server{
		o:           o,
		started:     o.Clock(),
		helloWithin: patienceForHello,
		recheck:     recheckTokens,

		burstAnswers: burstAnswers, answersPerSecond: answersPerSecond,

		work:        make(chan struct{}, 1),
		updates:     o.Registry.ControlUpdates(),
		updateBytes: o.Registry.ControlUpdateBytes(),
		namespaces:  make(map[string]*namespace),
		views:       make(map[string]*view),
		sessions:    make(map[string]*session),
		gone:        make(map[string]Proxy),
		parting:     make(map[string]*session),
		known:       make(map[uint64][]*tracked),
		news:        make(chan struct{}),
	}
	s.sessionWithin.Store(int64(patienceForSession))
	o.Registry.ControlProxies(s.count)
	for _, kind := range []string{"config", "endpoints"} {
		o.Registry.ControlConvergence(kind) // shown from the beginning
	}
	return s, nil
}

// Serve hands tables to the proxies that connect, until ctx ends, when it asks
// them to leave and returns nil, or until the listener fails. It closes the
// listener, and returns within some 5 s. A Server is served once. It is an
// error to serve plain text on anything but loopback.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	server, err := s.newGRPC(ln.Addr())
	if err != nil {
		_ = ln.Close()
		return err
	}
	controlpb.RegisterControlServer(server, endpoint{s: s})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var spreading sync.WaitGroup
	spreading.Go(func() { s.spread(ctx) })
	failed := make(chan error, 1)
	door := &gate{
		Listener: ln, most: strangers(s.o.MaxProxies),
		within:  func() time.Duration { return time.Duration(s.sessionWithin.Load()) },
		refused: func(why *ending) { _ = s.refused(why) },
	}
	spreading.Go(func() { failed <- server.Serve(door) })
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.stop(server)
	cancel()
	spreading.Wait()
	s.running.Wait()
	return err
}

// newGRPC returns the server of gRPC behind an address.
func (s *Server) newGRPC(at net.Addr) (*grpc.Server, error) {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(1 << 30),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.MaxConcurrentStreams(100),
		grpc.ConnectionTimeout(2 * patienceForSession), // the gate is sooner
		// What a proxy may have said that was not read yet; by default gRPC lets
		// this grow to 16 MiB where it takes the connection for a fast one.
		grpc.StaticStreamWindowSize(256 << 10),
		grpc.StaticConnWindowSize(512 << 10),
		grpc.WriteBufferSize(16 << 10),
		grpc.ReadBufferSize(4 << 10),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: s.o.Keepalive, Timeout: s.o.Keepalive, MaxConnectionIdle: deaf * s.o.Keepalive,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: min(s.o.Keepalive/4, pingsApart), PermitWithoutStream: true,
		}),
	}
	if s.o.Credentials != nil {
		config, err := s.o.Credentials.Server("h2")
		if err != nil {
			return nil, err
		}
		return grpc.NewServer(append(options, grpc.Creds(handshake{credentials.NewTLS(config)}))...), nil
	}
	if !isLoopback(at) {
		return nil, fmt.Errorf("control stream on %v: without credentials it is served on loopback alone; make some with 'sluice pki issue --role control', or listen on 127.0.0.1", at)
	}
	return grpc.NewServer(append(options, grpc.Creds(plainly()))...), nil
}

func isLoopback(at net.Addr) bool {
	switch at := at.(type) {
	case *net.TCPAddr:
		return at.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// stop asks all proxies to leave, and ends those that do not.
func (s *Server) stop(server *grpc.Server) {
	s.mu.Lock()
	s.stopping = true
	for _, c := range s.sessions {
		c.depart(&controlpb.Leave{Reason: "the control plane stops"}, endf(endStopped, codes.Unavailable, "the control plane stops"))
	}
	s.mu.Unlock()
	done := make(chan struct{})
	s.running.Go(func() {
		server.GracefulStop()
		close(done)
	})
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		server.Stop()
	}
}

// epoch returns that of the newest plan, 0 before the first.
func (s *Server) epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest.Epoch
}

// dropped counts a message that is not taken in.
func (s *Server) dropped(reason string) { s.o.Registry.ControlMessagesDropped(reason).Add(0, 1) }

// count tells how many proxies are in which state.
func (s *Server) count(yield func(state string, proxies int) bool) {
	var current, behind, refusing int
	s.mu.Lock()
	for _, c := range s.sessions {
		switch {
		case !c.behind.IsZero():
			behind++
		case len(c.refusals) > 0:
			refusing++
		default:
			current++
		}
	}
	s.mu.Unlock()
	_ = yield("current", current) && yield("behind", behind) && yield("refusing", refusing)
}
