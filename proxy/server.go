// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/tcp"
	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Server serves the gateways of the snapshot that was published last. Its
// methods may be called from any goroutine.
type Server struct {
	options Options
	panics  *live.Panics
	handle  live.Handle
	sweeper socket.Sweeper
	pool    *upstream.Pool
	http    *http1.Server
	tcp     *tcp.Server
	gate    *gate.Gate
	reserve gate.Reserve
	leaving gate.Leaving
	store   *tlsconf.Store

	publishing sync.Mutex // guards binder, ended and retaining: one table at a time
	binder     live.Binder
	ended      bool
	retaining  retaining

	sockets  listeners
	porch    porch
	life     context.Context //nolint:containedctx // what connections dial with; ended by Run
	endLife  context.CancelFunc
	draining chan struct{}
}

// New returns a Server. Run it; Publish may come before.
func New(o Options) *Server {
	o = o.withDefaults()
	s := &Server{options: o, panics: live.NewPanics(o.Metrics.Panics(), o.Log), draining: make(chan struct{})}
	s.life, s.endLife = context.WithCancel(context.Background())
	s.store = tlsconf.New(tlsconf.Options{Dir: o.TLSDir, SecretsDir: o.SecretsDir, Metrics: o.Metrics, Log: o.Log})
	s.pool = upstream.New(upstream.Options{
		TLS: s.dialing, Handshakes: upstream.NewHandshakes(o.Metrics),
		Sweeper:  &s.sweeper,
		Resolver: upstream.ResolverAt(o.Resolver),
		Shards:   shards(),
		Drain:    o.HardStop,
		Own:      balance.Place{Zone: o.Zone, Node: o.Node},
		Log:      o.Log,
		Open:     o.Metrics.ConnectionsOpen("upstream"),
		Caught:   func(during string, fault any) { s.panics.Caught(0, during, fault) },
	})
	s.gate = gate.New(gate.Options{
		Connections: o.Connections, PerAddress: o.ConnectionsPerAddress, Requests: o.Requests,
		Exempt: o.Trust.Believes, // many clients come by one address of theirs
		Memory: o.Memory, Relieve: s.relieve, Metrics: o.Metrics, Log: o.Log,
	})
	s.http = http1.New(http1.Options{
		Gate:   s.gate,
		Handle: &s.handle, Sweeper: &s.sweeper, Counters: http1.NewCounters(o.Metrics), Panics: s.panics,
		Trust: o.Trust, Explain: o.Explain, Explainer: s.explainOn, TLSPort: o.VirtualHostsTLSPort,
	})
	s.tcp = tcp.New(tcp.Options{
		Handle: &s.handle, Sweeper: &s.sweeper,
		Open: o.Metrics.ConnectionsOpen("tcp"), Books: o.Metrics.Books(), Panics: s.panics,
		Retried: o.Metrics.Retries("connected"), RetrySpent: o.Metrics.Retries("retry_budget_spent"),
	})
	s.binder = live.Binder{Registry: o.Metrics, Pool: s.pool}
	s.sockets.want = make(map[int]want)
	s.sockets.bound = make(map[int]*listener)
	s.sockets.failed = make(map[int]error)
	s.sockets.doors = new(doors)
	return s
}

// dialing returns what instances are spoken to with that want TLS.
func (s *Server) dialing(w upstream.Way) (*tls.Config, error) {
	c, err := s.store.Client(&w.TLS, w.TLS.Name)
	if err != nil {
		return nil, err
	}
	return c.Config(), nil
}

// shards returns a power of two that is at least the number of processors in
// use, at most 16.
func shards() int {
	n := 1
	for n < runtime.GOMAXPROCS(0) && n < 16 {
		n *= 2
	}
	return n
}

// settleTime bounds how long a table waits for the first look-up of its new
// names.
const settleTime = 100 * time.Millisecond

// proveTime bounds how long the first table waits for the first check of
// instances that get nothing before it: until then nothing serves, or the
// process before this one does.
const proveTime = 3 * time.Second

// Publish makes a snapshot serve. New exchanges see it at once; exchanges
// under way keep what they started with. A port that cannot be bound is tried
// again; the other gateways serve.
func (s *Server) Publish(snap *routing.Snapshot) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.ended {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, settleTime)
	defer cancel()
	before := s.handle.Load()
	next := s.binder.Bind(ctx, before, snap)
	if (before.Snapshot.Version() == routing.Version{}) {
		first, cancel := context.WithTimeout(s.life, proveTime)
		defer cancel()
		ctx = first
	}
	s.binder.Prove(ctx)
	fresh, gone := s.reshape(snap)
	for _, l := range gone {
		if l.handed {
			l.pause(&s.porch)
		}
	}
	s.handle.Store(next)
	s.take(fresh, gone)
	s.retain(next)
}

const (
	// Where it takes longer than retainLong to let go of what is not used any
	// more, as with tens of thousands of routes, it takes at most one part in
	// retainShare of the time of one processor.
	retainLong  = 20 * time.Millisecond
	retainShare = 20
)

// retaining says when what is not used any more is let go of. Server.publishing
// guards it.
type retaining struct {
	due time.Time // not before
	put bool      // it was put off
}

// retain lets go of what only generations before gen used, or puts that off:
// while changes keep coming they are not to wait for it.
func (s *Server) retain(gen *live.Generation) {
	began := time.Now()
	if s.retaining.put = began.Before(s.retaining.due); s.retaining.put {
		return
	}
	s.binder.Retain(gen)
	if took := time.Since(began); took > retainLong {
		s.retaining.due = time.Now().Add(retainShare * took)
	}
}

// retainLate does what was put off.
func (s *Server) retainLate() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.retaining.put && !s.ended {
		s.retain(s.handle.Load())
	}
}

// take begins to accept where that is new, and ends where it is over.
func (s *Server) take(fresh, gone []*listener) {
	for _, l := range fresh {
		s.begin(s.life, l)
	}
	for _, l := range gone {
		if !l.handed {
			s.stop(s.life, l)
		}
		l.drain()
	}
}

// reshape binds the ports that are wanted and were not, and gives up those
// that no longer are. What is fresh does not accept yet, and what is gone
// still does. A port whose kind changes is both: its socket is handed on.
func (s *Server) reshape(snap *routing.Snapshot) (fresh, gone []*listener) {
	ls := &s.sockets
	doors := doorsOf(s.store, snap, ls.doors) // written by who publishes alone
	wanted, taken := s.wanted(snap, doors)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	s.tellTLS(doors)
	ls.want, ls.taken, ls.doors = wanted, taken, doors
	ls.leaving = slices.DeleteFunc(ls.leaving, func(l *listener) bool { return l.open() == 0 })
	for port, l := range ls.bound {
		w, ok := wanted[port]
		if ok && w.kind == l.kind {
			l.shape(w)
			continue
		}
		l.left = time.Now()
		gone = append(gone, l)
		delete(ls.bound, port)
		if ok {
			ls.bound[port] = l.handOn(w)
			fresh = append(fresh, ls.bound[port])
		}
	}
	ls.leaving = append(ls.leaving, gone...)
	maps.DeleteFunc(ls.failed, func(port int, _ error) bool { return wanted[port] == want{} })
	return append(fresh, s.bindMissing()...), gone
}

// bindMissing binds what is wanted and is not bound. The mutex is held.
func (s *Server) bindMissing() (fresh []*listener) {
	ls := &s.sockets
	for port, w := range ls.want {
		if ls.bound[port] != nil || w.unready() {
			continue
		}
		l, err := s.bind(s.life, w)
		if err != nil {
			if ls.failed[port] == nil {
				s.options.Log.Warn("cannot listen; trying again", "port", port, "error", err)
			}
			ls.failed[port] = err
			continue
		}
		delete(ls.failed, port)
		ls.bound[port] = l
		fresh = append(fresh, l)
	}
	return fresh
}

// Run serves until ctx ends, then drains: nothing further is accepted, kept
// connections may send requests for the drain time, exchanges under way
// finish. It returns when all that it started has ended.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	helpers, stopHelpers := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { s.panics.Steady(helpers, "looking at deadlines", s.sweeper.Run) })
	wg.Go(func() { s.panics.Steady(helpers, "keeping connections", s.pool.Run) })
	wg.Go(func() { s.panics.Steady(helpers, "watching the load", s.gate.Run) })
	wg.Go(func() { s.panics.Steady(helpers, "turning connections away", s.leaving.Run) })
	wg.Go(func() { s.panics.Steady(helpers, "watching certificates", s.store.Run) })
	wg.Go(func() { s.panics.Steady(helpers, "waiting for connections", s.rouse) })
	defer s.porch.close()
	defer s.reserve.Close()
	s.retryUntil(ctx)
	s.shutDown()
	stopHelpers()
	wg.Wait()
	return nil
}

// retryUntil tries failed ports again until ctx ends.
func (s *Server) retryUntil(ctx context.Context) {
	tick := time.NewTicker(s.options.RetryBind)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.retryBind()
			s.retryTLS()
			s.cutLeft()
			s.retainLate()
		}
	}
}

func (s *Server) retryBind() {
	ls := &s.sockets
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.failed) == 0 {
		return
	}
	for _, l := range s.bindMissing() {
		s.options.Log.Info("listening at last", "port", l.port)
		s.begin(s.life, l)
	}
}

// tellTLS logs why gateways cannot speak TLS, once each. The mutex is held.
func (s *Server) tellTLS(next *doors) {
	for name, err := range next.failed {
		if old := s.sockets.doors.failed[name]; old == nil || old.Error() != err.Error() {
			s.options.Log.Error("a gateway cannot speak TLS as it should; trying again", "gateway", name, "error", err)
		}
	}
	for name := range s.sockets.doors.failed {
		if next.failed[name] == nil && next.entrances[name] != nil {
			s.options.Log.Info("a gateway speaks TLS at last", "gateway", name)
		}
	}
}

// retryTLS looks again at files that could not be used.
func (s *Server) retryTLS() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.ended || len(s.sockets.doors.failed) == 0 {
		return
	}
	s.take(s.reshape(s.handle.Load().Snapshot))
}

// cutLeft ends the tunnels of listeners that have left for longer than the
// drain time, and connections of tcp gateways that have for longer than
// exchanges may take to finish: nobody can tell them to.
func (s *Server) cutLeft() {
	ls := &s.sockets
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.leaving {
		if time.Since(l.left) >= s.options.Drain {
			l.cut()
		}
		if l.tcp != nil && time.Since(l.left) >= s.options.HardStop {
			l.tcp.Abort()
		}
	}
}

// shutDown ends all listeners and waits for their connections.
func (s *Server) shutDown() {
	s.publishing.Lock()
	s.ended = true
	s.publishing.Unlock()
	close(s.draining)
	ls := &s.sockets
	ls.mu.Lock()
	open := slices.Collect(maps.Values(ls.bound))
	all := ls.all()
	clear(ls.bound)
	ls.leaving = all
	ls.mu.Unlock()
	for _, l := range open {
		s.stop(s.life, l)
		l.announce()
	}
	s.waitForConnections(all)
	s.endLife() // what still connects to an instance gives up
	for _, l := range all {
		l.abort()
	}
	s.http.Close()
	s.tcp.Close()
}

// waitForConnections waits until there are none, closing those that only wait,
// and tunnels, when the drain time is over, and gives up at the hard stop.
func (s *Server) waitForConnections(all []*listener) {
	if s.options.Drain < 0 {
		return
	}
	began := time.Now()
	drained := false
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		open := 0
		for _, l := range all {
			open += l.open()
		}
		passed := time.Since(began)
		if open == 0 || passed >= s.options.HardStop || s.life.Err() != nil {
			return
		}
		if passed >= s.options.Drain && !drained {
			drained = true
			for _, l := range all {
				l.drain()
				l.cut()
			}
		}
	}
}

// Stop ends a drain at once: what is still open is cut.
func (s *Server) Stop() { s.endLife() }

// Connections counts the client connections that are open.
func (s *Server) Connections() int {
	ls := &s.sockets
	ls.mu.Lock()
	defer ls.mu.Unlock()
	n := 0
	for _, l := range ls.all() {
		n += l.open()
	}
	return n
}

// GatewayStatus tells how a gateway is served.
type GatewayStatus struct {
	Name     string     `json:"name"`
	Port     int        `json:"port"`
	Type     string     `json:"type"`
	Hosts    []string   `json:"virtual_hosts,omitempty"`
	TLS      *TLSStatus `json:"tls,omitempty"` // nil unless it speaks TLS
	Deployed bool       `json:"deployed"`
	Reason   string     `json:"reason,omitempty"` // why it is not deployed
	// InForce is what holds beside the defaults for all requests of it.
	routing.InForce
	Routes []RouteStatus `json:"routes"`
}

// TLSStatus tells how a gateway speaks TLS to its clients. Keys are never part
// of it.
type TLSStatus struct {
	MinVersion string `json:"min_version"` // such as 1.2
	ClientAuth string `json:"client_auth"`
	// Files are those that are in use, in the order of the table, those who vouch
	// for clients last; empty if the gateway is not deployed.
	Files []tlsconf.CertificateStatus `json:"files,omitempty"`
	// Problem says why the files that are asked for are not in use; those of
	// before are, if there were any.
	Problem string `json:"problem,omitempty"`
}

// RouteStatus tells where a route leads.
type RouteStatus struct {
	Path      string   `json:"path"`
	Weight    string   `json:"weight"`
	Condition string   `json:"condition,omitempty"`
	Strength  string   `json:"condition_strength,omitempty"`
	Gateway   string   `json:"gateway,omitempty"`   // chained to
	Balance   string   `json:"balance,omitempty"`   // how an instance is chosen
	Instances []string `json:"instances,omitempty"` // addresses
	Problem   string   `json:"problem,omitempty"`   // why it cannot serve, or serves what it last knew
	// InFlight counts the exchanges under way at each instance that has any,
	// those of other routes to the same address included.
	InFlight map[string]int64 `json:"in_flight,omitempty"`
	// TLS is how instances are spoken to, if it is by TLS.
	TLS *RouteTLS `json:"tls,omitempty"`
	// ProxyProtocol is the version of the header with which connections to
	// instances begin; empty if there is none.
	ProxyProtocol string `json:"proxy_protocol,omitempty"`
	// Health says how each instance stands; empty if nobody looks and nothing
	// happened.
	Health []routing.InstanceState `json:"health,omitempty"`
	// Panic reports that all instances are used since too few are usable.
	Panic bool `json:"panic,omitempty"`
	// InForce is what holds beside the defaults for its exchanges.
	routing.InForce
}

// Unserved tells of each gateway that cannot take traffic why, such as that its
// port is taken; nil if there is none, which costs next to nothing to find out.
func (s *Server) Unserved() map[string]error {
	ls := &s.sockets
	ls.mu.Lock()
	fine := len(ls.failed) == 0 && len(ls.taken) == 0 && (ls.doors == nil || len(ls.doors.failed) == 0)
	ls.mu.Unlock()
	if fine {
		return nil
	}
	all := make(map[string]error)
	for _, g := range s.handle.Load().Snapshot.Gateways() {
		if err := s.failure(g); err != nil {
			all[g.Name] = err
		}
	}
	return all
}

// Status tells of each gateway, in table order, how it is served.
func (s *Server) Status() []GatewayStatus {
	gen := s.handle.Load()
	out := make([]GatewayStatus, 0, len(gen.Snapshot.Gateways()))
	for _, g := range gen.Snapshot.Gateways() {
		st := s.outline(g)
		st.InForce, st.TLS = g.InForce(), s.tlsStatus(g)
		for _, r := range g.Routes {
			st.Routes = append(st.Routes, routeStatus(gen, g, r))
		}
		out = append(out, st)
	}
	return out
}

// Outline is Status without what a large table has much of: of each gateway only
// its name, port, type and hosts, and whether it is deployed.
func (s *Server) Outline() []GatewayStatus {
	gateways := s.handle.Load().Snapshot.Gateways()
	out := make([]GatewayStatus, len(gateways))
	for i, g := range gateways {
		out[i] = s.outline(g)
	}
	return out
}

func (s *Server) outline(g *routing.CompiledGateway) GatewayStatus {
	st := GatewayStatus{Name: g.Name, Port: g.Port, Type: g.Type.String(), Hosts: g.Hosts, Deployed: true}
	if err := s.failure(g); err != nil {
		st.Deployed, st.Reason = false, err.Error()
	}
	return st
}

// InstanceStates tells how the instances of a route stand, as Status does of
// all; nil if there is no such route or nobody looks after its instances.
func (s *Server) InstanceStates(gateway, route string) []routing.InstanceState {
	gen := s.handle.Load()
	g := gen.Snapshot.ByName(gateway)
	if g == nil {
		return nil
	}
	for _, r := range g.Routes {
		if t := gen.Gateway(g).Routes[r.Index].Target; r.Path == route && t != nil {
			return t.States()
		}
	}
	return nil
}

// tlsStatus tells how a gateway speaks TLS; nil if it does not.
func (s *Server) tlsStatus(g *routing.CompiledGateway) *TLSStatus {
	asks := g.Asked.TLS
	if asks == nil {
		return nil
	}
	st := &TLSStatus{MinVersion: "1.2", ClientAuth: asks.ClientAuth.String()}
	if asks.MinVersion == tls.VersionTLS13 {
		st.MinVersion = "1.3"
	}
	s.sockets.mu.Lock()
	e, err := s.sockets.doors.entrances[g.Name], s.sockets.doors.failed[g.Name]
	s.sockets.mu.Unlock()
	if err != nil {
		st.Problem = err.Error()
	}
	if e != nil && e.server != nil {
		st.Files = s.store.ServerStatus(e.server)
	}
	return st
}

// failure returns why a gateway does not listen, nil if it does.
func (s *Server) failure(g *routing.CompiledGateway) error {
	ls := &s.sockets
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if err := ls.failed[g.Port]; err != nil {
		return err
	}
	if e := ls.doors.entrances[g.Name]; e != nil && e.server == nil {
		return ls.doors.failed[g.Name]
	}
	for _, tls := range [...]bool{false, true} {
		if !hosted(g, tls) {
			continue
		}
		port := s.options.VirtualHostsPort
		if tls {
			port = s.options.VirtualHostsTLSPort
		}
		if err := cmp.Or(ls.failed[port], ls.taken[port]); err != nil {
			return fmt.Errorf("virtual hosts: %w", err)
		}
	}
	return nil
}

func routeStatus(gen *live.Generation, g *routing.CompiledGateway, r *routing.CompiledRoute) RouteStatus {
	st := RouteStatus{Path: r.Path, Weight: r.Weight.String(), InForce: g.RouteInForce(r)}
	if r.Condition != nil {
		st.Condition, st.Strength = r.Condition.String(), r.Strength.String()
	}
	switch r.Target.Kind {
	case routing.TargetNone:
		st.Problem = "leads nowhere: no gateway has this name"
	case routing.TargetGateway:
		st.Gateway = gen.Snapshot.Slot(r.Target.Slot).Name
	case routing.TargetAddress, routing.TargetInstances:
		t := gen.Gateway(g).Routes[r.Index].Target
		st.Balance = r.Balance.Value().String()
		for _, i := range t.Instances() {
			st.Instances = append(st.Instances, i.String())
			if n := i.InFlight(); n > 0 {
				if st.InFlight == nil {
					st.InFlight = make(map[string]int64)
				}
				st.InFlight[i.String()] = n
			}
		}
		st.Health = t.States()
		if n, _ := t.Counts(); n.Panic {
			st.Panic = true
		}
		st.speaks(t)
		if err := t.LookupError(); err != nil {
			st.Problem = err.Error()
		}
	}
	return st
}

// Ready reports whether a table serves and all its ports are bound; if not,
// why.
func (s *Server) Ready() (ready bool, why string) {
	select {
	case <-s.draining:
		return false, "draining"
	default:
	}
	if (s.handle.Load().Snapshot.Version() == routing.Version{}) {
		return false, "no table yet"
	}
	ls := &s.sockets
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, err := range ls.failed {
		return false, err.Error()
	}
	return true, ""
}
