// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// Options shape a Pool. Sweeper is required; other zero values are ready to
// use.
type Options struct {
	Sweeper *socket.Sweeper
	// MaxOpen bounds the connections to one instance. Zero means 10,000; more
	// would use up the ports between two addresses.
	MaxOpen int
	// Drain is how long exchanges under way may take at an instance that is
	// gone or not ready. Zero means 5 min.
	Drain time.Duration
	// Checks bounds the health checks that are under way at a time. Zero means
	// 512.
	Checks int
	// LookupEvery is how long after a look-up that failed, or of which nobody
	// said how long it is good for, the name is looked up again. Zero means 5 s.
	// Other answers are kept for their time to live (RFC 1035 section 3.2.1),
	// for at least 1 s, or LookupEvery if that is less, and at most 1 min.
	LookupEvery time.Duration
	// Resolver answers name look-ups. Nil means net.DefaultResolver.
	Resolver *net.Resolver
	// Shards spreads idle connections: a power of two. Zero means 1.
	Shards int
	// Own is where the proxy runs; empty parts are unknown.
	Own balance.Place
	// TLS returns the configuration by which instances are spoken to that want
	// TLS: the same one until the files change of which it was made. It is asked
	// for each connection, by many goroutines. Nil means that none can be spoken
	// to.
	TLS func(Way) (*tls.Config, error)
	// Handshakes count them.
	Handshakes Handshakes
	// Open counts the connections to instances. Nil means that nobody does.
	Open *metrics.Gauge
	// Log tells of look-ups that begin to fail and that work again. Nil means
	// no log.
	Log *slog.Logger
	// Caught takes note of a fault in a look-up or a check, which recover
	// returned, and of what was done. Nil means that nobody does.
	Caught func(during string, fault any)
}

func (o Options) withDefaults() Options {
	o.MaxOpen = cmp.Or(o.MaxOpen, 10_000)
	o.Drain = cmp.Or(o.Drain, 5*time.Minute)
	o.Checks = cmp.Or(o.Checks, 512)
	o.LookupEvery = cmp.Or(o.LookupEvery, 5*time.Second)
	o.Resolver = cmp.Or(o.Resolver, net.DefaultResolver)
	o.Shards = cmp.Or(o.Shards, 1)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Caught == nil {
		o.Caught = func(string, any) {}
	}
	return o
}

// ResolverAt returns a resolver that asks the DNS server at addr, host:port.
// An empty addr means the system's.
func ResolverAt(addr string) *net.Resolver {
	if addr == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
}

// Pool holds all instances and names that routes lead to. It is safe for
// concurrent use.
type Pool struct {
	options Options

	mu       sync.Mutex // guards all from here to closed, and all records
	names    map[nameKey]*name
	fixed    []*Target // those that were made of instances, as Retain had them
	fresh    []*Target // those that came since
	table    table
	round    uint64                  // of marking what is used, from 1 on
	draining map[*Instance]time.Time // until when
	watched  []*Target               // those whose instances are looked after; some twice, for a while
	room     []uint8                 // of reviews, so that they make no garbage
	members  []balance.Member        // of choices, for the same reason
	closed   bool

	served served

	checker checker
	alarm   chan struct{} // has a record looked at soon; one that waits is enough

	life    context.Context //nolint:containedctx // of look-ups; ended by Run
	endLife context.CancelFunc
	lookups sync.WaitGroup
	links   sync.WaitGroup // those of HTTP/2 that are open
	find    func(ctx context.Context, host string) (addrs []netip.Addr, ttl time.Duration, err error)
	slots   chan struct{} // bounds the look-ups at a time
}

type nameKey struct {
	host string
	port uint16
}

// New returns a Pool. Run it to keep names and idle connections fresh.
func New(o Options) *Pool {
	p := &Pool{
		options:  o.withDefaults(),
		names:    make(map[nameKey]*name),
		draining: make(map[*Instance]time.Time),
		slots:    make(chan struct{}, 32),
		alarm:    make(chan struct{}, 1),
	}
	p.table.init()
	p.checker.init(p.options.Checks, p.raise, p.options.Log, p.ask)
	p.checker.caught = p.options.Caught
	p.find = p.resolve
	p.life, p.endLife = context.WithCancel(context.Background())
	return p
}

// Target returns a new target for a host, an address or a name, and a port.
// What is behind the host is shared with other targets.
func (p *Pool) Target(host string, port int) *Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := nameKey{host, uint16(port)}
	n := p.names[key]
	if n == nil {
		n = &name{host: host, port: uint16(port), done: make(chan struct{})}
		p.names[key] = n
		if ip, err := netip.ParseAddr(host); err == nil {
			n.literal = true
			p.place(n, []netip.Addr{ip})
			close(n.done)
		}
	}
	t := p.target(Choosing{})
	t.name = n
	p.attach(t, nil)
	return t
}

// target returns a target that leads nowhere yet.
func (p *Pool) target(c Choosing) *Target {
	shared, route := c.apart()
	return &Target{pool: p, choosing: shared, route: route}
}

// place makes addrs the addresses of n. p.mu is held.
func (p *Pool) place(n *name, addrs []netip.Addr) {
	n.at = make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		n.at = append(n.at, netip.AddrPortFrom(a.Unmap(), n.port))
	}
	for _, t := range n.targets {
		t.choose(t.find(), t.chosen.Load(), time.Now())
	}
}

// find returns the instances at the addresses of the target's name, or those
// that it was made of. Pool.mu is held.
func (t *Target) find() []*Instance {
	way := unique.Make(t.choosing.Value().Way)
	if t.name == nil {
		list := make([]*Instance, len(t.asked))
		for k, i := range t.asked {
			list[k] = t.pool.instance(i.AddrPort(), way)
		}
		return list
	}
	list := make([]*Instance, len(t.name.at))
	for k, at := range t.name.at {
		list[k] = t.pool.instance(at, way)
	}
	return list
}

// instance returns the instance at an address that is spoken to in a way. p.mu
// is held.
func (p *Pool) instance(at netip.AddrPort, way unique.Handle[Way]) *Instance {
	i, load := p.table.find(at, way)
	if i == nil {
		i = newInstance(p, at, way, load)
		p.table.add(i)
		if i.serves() {
			p.served.add(i)
		}
	}
	return i
}

// Settle waits until the names behind the targets have been looked up once,
// or ctx ends; the look-ups then go on.
func (p *Pool) Settle(ctx context.Context, targets []*Target) {
	for _, t := range targets {
		if t.name == nil || t.name.literal || t.name.lookup.Load() != nil {
			continue
		}
		p.start(t.name) //nolint:contextcheck // a look-up outlives whoever asked for it first
	}
	for _, t := range targets {
		if t.name == nil {
			continue
		}
		select {
		case <-t.name.done:
		case <-ctx.Done():
			return
		}
	}
}

// Prove waits until the instances of those targets that have only awaited ones
// were checked once, or ctx ends; the checks then go on. Run makes them.
func (p *Pool) Prove(ctx context.Context, targets []*Target) {
	for _, t := range targets {
		p.mu.Lock()
		trials := t.trials()
		p.mu.Unlock()
		for _, tried := range trials {
			select {
			case <-tried:
			case <-ctx.Done():
				return
			}
		}
		if len(trials) > 0 {
			p.mu.Lock()
			t.review(time.Now(), true)
			p.mu.Unlock()
		}
	}
}

// trials returns what is closed as each instance was checked once, if the
// target has awaited ones alone. Pool.mu is held.
func (t *Target) trials() (all []<-chan struct{}) {
	c := t.chosen.Load()
	if c.usable {
		return nil
	}
	for _, m := range c.members() {
		if !m.awaited {
			continue
		}
		if tried := t.pool.checker.trial(m.check); tried != nil {
			all = append(all, tried)
		}
	}
	return all
}

// start looks a name up in a goroutine, which Run waits for. While a look-up
// of the name is under way there is no second one.
func (p *Pool) start(n *name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || n.looking {
		return
	}
	n.looking = true
	p.lookups.Go(func() {
		select {
		case p.slots <- struct{}{}:
			p.look(n)
			<-p.slots
		case <-p.life.Done():
		}
	})
}

// look asks for the addresses of a name. A failure or an empty answer keeps
// the last good ones, and so does a fault of ours.
func (p *Pool) look(n *name) {
	defer func() {
		if fault := recover(); fault != nil {
			p.options.Caught("looking a name up", fault)
			p.learn(n, &lookup{err: errLookupFault, until: time.Now().Add(p.again(untold))})
		}
	}()
	ctx, cancel := context.WithTimeout(p.life, p.options.LookupEvery)
	defer cancel()
	addrs, ttl, err := p.find(ctx, n.host)
	if p.life.Err() != nil {
		return
	}
	addrs = prefer(addrs)
	if err == nil && len(addrs) == 0 {
		err, ttl = &net.DNSError{Err: "no addresses", Name: n.host, IsNotFound: true}, untold
	}
	p.tell(n, p.learn(n, &lookup{addrs: addrs, err: err, until: time.Now().Add(p.again(ttl))}), err)
}

// errLookupFault reports a look-up that a fault of ours ended.
var errLookupFault = errors.New("a fault in the proxy ended the look-up")

// learn takes in the outcome of a look-up and returns the one before.
func (p *Pool) learn(n *name, found *lookup) *lookup {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.looking = false
	defer n.found()
	before := n.lookup.Load()
	n.lookup.Store(found)
	if found.err == nil && (before == nil || before.err != nil || !slices.Equal(before.addrs, found.addrs)) {
		p.place(n, found.addrs)
		p.retireUnused()
	}
	return before
}

// found tells those who wait for the first look-up that it has ended. Pool.mu
// is held.
func (n *name) found() {
	select {
	case <-n.done:
	default:
		close(n.done)
	}
}

// tell logs the beginning and the end of failures.
func (p *Pool) tell(n *name, before *lookup, err error) {
	failed := before != nil && before.err != nil
	switch {
	case err != nil && !failed:
		p.options.Log.Warn("name look-up fails; the last good addresses stay", "name", n.host, "error", err)
	case err == nil && failed:
		p.options.Log.Info("name look-up works again", "name", n.host)
	}
}

// prefer returns the IPv4 addresses if there are any, otherwise all, sorted.
func prefer(addrs []netip.Addr) []netip.Addr {
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	v4 := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !a.Is4() })
	if len(v4) > 0 {
		addrs = v4
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// Retain forgets the names and fixed instances that none of the targets needs
// and retires the instances that nothing then leads to.
func (p *Pool) Retain(targets []*Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names, fixed := make(map[nameKey]*name), p.fixed[:0]
	for _, t := range targets {
		if t.name != nil {
			t.name.targets = nil
		}
	}
	for _, t := range targets {
		if t.name == nil {
			fixed = append(fixed, t)
			continue
		}
		t.name.targets = append(t.name.targets, t)
		names[nameKey{t.name.host, t.name.port}] = t.name
	}
	clear(p.fixed[min(len(fixed), len(p.fixed)):])
	p.names, p.fixed, p.fresh = names, fixed, nil
	p.retireUnused()
}

// retireUnused drains the instances that nothing leads to, or only what is not
// ready, and ends the checks that nobody asks for. Each change of a table comes
// here, so what leads to an instance is marked on it. p.mu is held.
func (p *Pool) retireUnused() {
	p.round++
	checks := p.checker.any()
	asked := make(map[*check]bool)
	var watched []*Target
	for t := range p.targets {
		c := t.chosen.Load()
		if c.care != nil {
			watched = append(watched, t)
		}
		for _, i := range c.instances {
			i.known = p.round
			if t.name != nil || t.ready {
				i.used = p.round
			}
		}
		if checks {
			for _, m := range c.members() {
				asked[m.check] = true
			}
		}
	}
	p.watched = watched
	for i := range p.table.all {
		if i.used == p.round {
			p.want(i)
			continue
		}
		if i.known != p.round {
			p.table.remove(i)
			i.vanish()
		}
		p.drain(i)
	}
	p.served.keep(&p.table)
	p.checker.retain(asked)
}

// targets hands every target to yield until it returns false. p.mu is held.
func (p *Pool) targets(yield func(*Target) bool) {
	for _, n := range p.names {
		for _, t := range n.targets {
			if !yield(t) {
				return
			}
		}
	}
	for _, list := range [...][]*Target{p.fixed, p.fresh} {
		for _, t := range list {
			if !yield(t) {
				return
			}
		}
	}
}

// Run looks names up again, checks the health of instances, has those looked
// after that fail, and closes connections that were idle for too long, until
// ctx ends; then it closes all idle connections, and all of HTTP/2, and ends
// look-ups under way. It is called once.
func (p *Pool) Run(ctx context.Context) {
	look := time.NewTicker(min(p.options.LookupEvery, lookFor))
	defer look.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	checks := sync.WaitGroup{}
	checks.Go(func() { p.checker.run(ctx) })
	defer checks.Wait()
	for {
		select {
		case <-ctx.Done():
			p.close()
			return
		case now := <-look.C:
			for _, n := range p.lookable(now) {
				p.start(n) //nolint:contextcheck // close ends it
			}
		case <-p.alarm:
			p.review(time.Now(), false)
		case now := <-second.C:
			p.reap()
			p.cutDrained(now)
			p.review(now, true)
		}
	}
}

// lookFor is how late a name is looked up again at most.
const lookFor = 500 * time.Millisecond

// lookable returns the names that are to be looked up again: those whose last
// look-up is not good any more. One that has not ended has no end.
func (p *Pool) lookable(now time.Time) []*name {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ns []*name
	for _, n := range p.names {
		if last := n.lookup.Load(); !n.literal && last != nil && !now.Before(last.until) {
			ns = append(ns, n)
		}
	}
	return ns
}

func (p *Pool) reap() {
	now := socket.Now()
	for _, i := range p.served.all() {
		i.reap(now)
	}
}

func (p *Pool) all() []*Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := make([]*Instance, 0, p.table.n)
	for i := range p.table.all {
		is = append(is, i)
	}
	return is
}

// Idle counts the idle connections to all instances.
func (p *Pool) Idle() int {
	n := 0
	for _, i := range p.served.all() {
		n += i.idle()
	}
	return n
}

func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.endLife()
	for _, i := range p.all() {
		i.retire()
	}
	p.lookups.Wait()
	p.links.Wait()
}

// serve has a link run in a goroutine, which Run waits for, and reports whether
// it does: not once Run has ended.
func (p *Pool) serve(run func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links.Go(run)
	return true
}
