// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cluster is a cluster of Marathons and what is deployed on it. Its methods are
// safe for concurrent use.
type Cluster struct {
	o       Options
	release int // the minor number of the version: 4 to 11
	servers []*server

	calls sync.WaitGroup // those that are being answered

	// work is what Run is asked to do beside serving, with a token in wake
	// while there is some.
	wake chan struct{}

	mu         sync.Mutex // guards all that follows
	work       []func(context.Context)
	over       bool // Run has ended
	changed    chan struct{}
	apps       map[string]*app
	leaving    map[string]*app // apps that are no more, while tasks of theirs are
	locks      map[string]*Deployment
	order      []*Deployment // those under way, in their order
	leader     int           // of servers; -1 while there is none
	count      int           // numbers what is made, so that no two names are the same
	tasks      int           // that there are
	stamp      time.Time     // the last version that was given
	faults     []*broken
	requests   []Request
	forgotten  int // of requests
	streams    map[*stream]bool
	trouble    trouble
	tokens     map[string]time.Time // with their ends
	nextAgent  int
	nextPort   int
	nextIP     int
	nextPublic int // the last service port that was given
}

// server is one Marathon.
type server struct {
	index   int
	address string // host:port

	mu   sync.Mutex   // guards what follows
	ln   net.Listener // nil while it is stopped
	http *http.Server
}

// New makes a cluster and binds its addresses. Run must be called to let go of
// them.
func New(ctx context.Context, o Options) (*Cluster, error) {
	o = o.withDefaults()
	release, err := parseRelease(o.Version)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"\n", "\r", "\r\n"}, o.LineEnd) {
		return nil, fmt.Errorf("%q ends no line of an event stream; \\n, \\r and \\r\\n do", o.LineEnd)
	}
	if o.Prefix != "" && (o.Prefix[0] != '/' || strings.HasSuffix(o.Prefix, "/")) {
		return nil, fmt.Errorf("prefix %q: it begins with a slash and ends without one", o.Prefix)
	}
	c := &Cluster{
		o: o, release: release,
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
		apps: make(map[string]*app), leaving: make(map[string]*app), locks: make(map[string]*Deployment),
		streams: make(map[*stream]bool), tokens: make(map[string]time.Time),
		nextPort: 31000, nextPublic: minServicePort - 1,
	}
	for i := range o.Instances {
		address := "127.0.0.1:0"
		if i < len(o.Addresses) {
			address = o.Addresses[i]
		}
		s := &server{index: i, address: address}
		if err := s.listen(ctx); err != nil {
			for _, open := range c.servers {
				_ = open.ln.Close()
			}
			return nil, fmt.Errorf("marathon %d: %w", i, err)
		}
		s.address = s.ln.Addr().String()
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// parseRelease reads 1.4 to 1.11, with or without a third number.
func parseRelease(version string) (int, error) {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 || major != 1 || minor < 4 || minor > 11 {
		return 0, fmt.Errorf("marathon version %q: 1.4 to 1.11 are known", version)
	}
	return minor, nil
}

// T is what Start needs of a test or benchmark.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Fatal(args ...any)
	Error(args ...any)
}

// Start runs a cluster until the test ends.
func Start(t T, o Options) *Cluster {
	t.Helper()
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// Run serves until ctx ends, then stops every task and closes every connection.
// Nothing of the cluster is left when it returns.
func (c *Cluster) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, s := range c.servers {
		running.Go(func() { s.serve(ctx, c) })
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.wake:
			for _, f := range c.takeWork() {
				running.Go(func() { f(ctx) })
			}
		}
	}
	for _, s := range c.servers {
		s.stop()
	}
	c.end()
	c.calls.Wait()
	running.Wait()
	return nil
}

// background has Run call f beside all else. f ends soon after its context.
func (c *Cluster) background(f func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.later(f)
}

// later is background for who holds the lock.
func (c *Cluster) later(f func(context.Context)) {
	if c.over {
		return
	}
	c.work = append(c.work, f)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Cluster) takeWork() []func(context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	work := c.work
	c.work = nil
	return work
}

// end stops all tasks.
func (c *Cluster) end() {
	c.mu.Lock()
	c.over = true
	var tasks []*task
	for _, all := range []map[string]*app{c.apps, c.leaving} {
		for _, a := range all {
			tasks = append(tasks, a.tasks...)
		}
	}
	for _, t := range tasks {
		t.leave()
	}
	c.note()
	c.mu.Unlock()
	stopAll(tasks)
}

// note wakes whoever awaits a change. The lock is held.
func (c *Cluster) note() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until holds, which is called with the lock held, or ctx ends.
func (c *Cluster) await(ctx context.Context, holds func() bool) error {
	for {
		c.mu.Lock()
		changed, done := c.changed, holds()
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// scheme is that of the Marathons' URLs.
func (c *Cluster) scheme() string {
	if c.o.TLS != nil {
		return "https://"
	}
	return "http://"
}

// URL returns the base URL of the first Marathon, with the prefix and without a
// slash at its end.
func (c *Cluster) URL() string { return c.URLs()[0] }

// URLs returns the base URLs of all Marathons.
func (c *Cluster) URLs() []string {
	urls := make([]string, len(c.servers))
	for i, s := range c.servers {
		urls[i] = c.scheme() + s.address + c.o.Prefix
	}
	return urls
}

// Leader returns the index of the Marathon that leads, or -1 while none does.
func (c *Cluster) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// Elect makes a Marathon the leader, or none with -1. As in life, event streams
// of the former leader end, and the results of health checks that Marathon
// itself makes are forgotten until they are made again: by the checks with
// Options.Probe, else by Recheck or SetHealth.
func (c *Cluster) Elect(leader int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if leader == c.leader || leader >= len(c.servers) {
		return
	}
	c.leader = max(leader, -1)
	for _, a := range c.apps {
		for _, t := range a.tasks {
			for i := range t.health {
				if t.checks[i].byMarathon() {
					t.health[i] = health{}
				}
			}
		}
		a.touch()
	}
	c.closeStreams()
	c.note()
}

// Stop takes a Marathon down: its connections are cut, new ones refused. If it
// led, nobody leads until Elect.
func (c *Cluster) Stop(marathon int) {
	if c.Leader() == marathon {
		c.Elect(-1)
	}
	c.servers[marathon].stop()
}

// Resume takes a stopped Marathon up again, where it was. It returns an error if
// its address was taken meanwhile.
func (c *Cluster) Resume(ctx context.Context, marathon int) error {
	s := c.servers[marathon]
	if err := s.listen(ctx); err != nil {
		return fmt.Errorf("marathon %d: %w", marathon, err)
	}
	c.background(func(ctx context.Context) { s.serve(ctx, c) })
	return nil
}

func (s *server) listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return errors.New("it is not stopped")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.address)
	s.ln = ln
	return err
}

// serve serves until the server is stopped.
func (s *server) serve(ctx context.Context, c *Cluster) {
	s.mu.Lock()
	ln := s.ln
	if ln == nil || ctx.Err() != nil {
		s.mu.Unlock()
		return
	}
	srv := &http.Server{
		Handler:           http.NewCrossOriginProtection().Handler(c.handler(s)),
		TLSConfig:         c.o.TLS.Clone(), // each server adds to its own
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(c.o.Log.Handler(), slog.LevelDebug),
	}
	s.http = srv
	s.mu.Unlock()
	// It ends with an error in any case: that it was closed.
	if c.o.TLS != nil {
		_ = srv.ServeTLS(ln, "", "")
	} else {
		_ = srv.Serve(ln)
	}
}

func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		_ = s.http.Close()
	}
	if s.ln != nil {
		_ = s.ln.Close()
	}
	s.http, s.ln = nil, nil
}
