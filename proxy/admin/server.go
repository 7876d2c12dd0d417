// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/routing"
)

// DefaultAddr is where the server listens unless told otherwise.
const DefaultAddr = "127.0.0.1:8092"

// Bounds of the server. Clients are probes, scrapers and people, so they are
// generous to slow answers and mean to slow requests.
const (
	headTimeout  = 5 * time.Second
	readTimeout  = 10 * time.Second
	writeTimeout = time.Minute
	idleTimeout  = 2 * time.Minute
	maxHeadBytes = 16 << 10
	maxBodyBytes = 64 << 10
	// closeTimeout is how long answers may still take once the end was asked
	// for.
	closeTimeout = 2 * time.Second
)

// Options shape a Server. Parts that are nil are not served.
type Options struct {
	// Addr is the address to listen on: host:port, with port 0 for any free
	// one. Without Token, the host is an IP address of the loopback interface,
	// or localhost. Empty means DefaultAddr.
	Addr string
	// Token is what requests must show, but for health checks. Nil means that
	// whoever can reach a loopback address may do all.
	Token *Token
	// Metrics answers /metrics.
	Metrics http.Handler
	// Ready returns what must hold before traffic may come. nil, or no check,
	// means that it always may. It is called from any goroutine, as are the
	// functions below.
	Ready func() []Check
	// Status returns what /status shows, in a form that encoding/json takes.
	Status func() any
	// Confirm believes all absences that are held back, and returns how many
	// there were.
	Confirm func() int
	// Explain answers POST /explain. Errors are *routing.ExplainError.
	Explain func(routing.ExplainRequest) (*routing.Explanation, error)
	// Pprof serves Go's profiles below /debug/pprof/.
	Pprof bool
	// Handlers are served beside the above, by patterns of http.ServeMux that
	// name a method.
	Handlers map[string]http.Handler
	// Log takes faults of the server. nil discards them.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Addr = cmp.Or(o.Addr, DefaultAddr)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server is the admin server. Call Listen, then Run.
type Server struct {
	o        Options
	origin   *http.CrossOriginProtection
	listener net.Listener // set by Listen
	local    bool         // set by Listen: nobody else can reach it
	started  atomic.Bool  // it was ready once
	refused  atomic.Int64 // the second in which the log was last told of a missing token

	serving sync.RWMutex // held for reading by answers under way; guards closed
	closed  bool
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	return &Server{o: o.withDefaults(), origin: http.NewCrossOriginProtection()}
}

// Listen binds the address, so that a taken or forbidden one is an error
// before anything serves. Run or Close lets go of it.
func (s *Server) Listen(ctx context.Context) error {
	host, _, err := net.SplitHostPort(s.o.Addr)
	if err != nil {
		return fmt.Errorf("--admin %q: not an address of the form host:port, such as %s", s.o.Addr, DefaultAddr)
	}
	if s.o.Token == nil && !loopback(host) {
		return s.refusal()
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.o.Addr)
	if err != nil {
		return fmt.Errorf("--admin %s: %w; choose another address with --admin HOST:PORT", s.o.Addr, err)
	}
	// The resolver has the last word on what localhost is.
	bound, err := netip.ParseAddrPort(ln.Addr().String())
	s.local = err == nil && bound.Addr().IsLoopback()
	if s.o.Token == nil && !s.local {
		return errors.Join(s.refusal(), ln.Close())
	}
	s.listener = ln
	return nil
}

func (s *Server) refusal() error {
	return fmt.Errorf("--admin %s: %w, or use %s, and a tunnel (ssh -L, kubectl port-forward) to reach it from elsewhere", s.o.Addr, errNoToken, DefaultAddr)
}

// loopback tells whether a host is this machine to itself. An empty one means
// all interfaces.
func loopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Addr returns the address that is listened on, or is to be.
func (s *Server) Addr() string {
	if s.listener == nil {
		return s.o.Addr
	}
	return s.listener.Addr().String()
}

// Close lets go of the address if Run is not to be called.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run serves until ctx ends or the listener fails. It listens first if Listen
// was not called. Answers under way are given two seconds; no goroutine
// outlives Run.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		if err := s.Listen(ctx); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	server := http.Server{
		Handler:           s.guard(s.handler()),
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	g.Go(func() error {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("admin %s: %w", s.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return stop(ctx, &server)
	})
	err := g.Wait()
	s.serving.Lock() // by force, connections end before their answers do
	defer s.serving.Unlock()
	s.closed = true
	return err
}

// stop ends a server: orderly, or by force if that takes too long.
func stop(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return nil
}
