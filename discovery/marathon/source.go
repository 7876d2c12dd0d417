// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/remember"
	"github.com/sluice-mesh/sluice/routing"
)

// Source tells what a Marathon says. It implements discovery.Source and
// discovery.Confirmer. The key of an update is apps and the id of the app, such
// as apps/shop/web, only apps for what is wrong with apps without an id, or
// begins with labels for what labels make.
//
// While Marathon does not answer, everything stays as it is known; Watches says
// since when. All methods are safe for concurrent use.
type Source struct {
	o       Options
	client  *client
	hosts   *hosts
	wake    chan struct{} // holds a token when there is news for tell
	asking  chan struct{} // holds a token when there is something to ask for
	answers chan struct{} // holds a token when Marathon answers again

	mu         sync.Mutex // guards the fields below
	agenda     agenda
	apps       map[string]*known
	cluster    *cluster
	labels     *labels
	held       int              // apps whose absence is held back
	nameless   []*routing.Fault // what is wrong with apps whose id cannot be read
	remembered map[string]*app  // what File said, until it is known whether that still holds
	pending    map[string]discovery.Update
	stirred    map[string]bool // apps whose instances are to be looked at again
	ready      bool            // a snapshot was taken in
	listed     bool            // the end of the first listing was told
	changed    bool            // there is something that File does not remember
	stale      time.Time       // since when nothing is heard; zero while it is
	lastHeard  time.Time
	why        error // that everything was asked for in vain; nil if it was not
	eventsErr  error // that there is no stream of events; nil if there is
	logged     mood
	traffic    Traffic
}

// known is what is known of an app.
type known struct {
	app    *app             // as it could be read last; nil if it never could
	faults []*routing.Fault // with which it was read last
	held   *discovery.Held  // set while its absence is held back
	told   telling
}

// telling is what was told of an app.
type telling struct {
	instances []*routing.Instance
	faults    []*routing.Fault
	held      *discovery.Held
}

// New returns a source of what the Marathon says that is reached as o says.
// Wrong options are errors, such as files that cannot be read; a Marathon that
// does not answer is none.
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	s := &Source{
		o: o, client: c, hosts: newHosts(o.Lookup),
		wake: make(chan struct{}, 1), asking: make(chan struct{}, 1), answers: make(chan struct{}, 1),
		apps: make(map[string]*known), pending: make(map[string]discovery.Update), stirred: make(map[string]bool),
		labels: newLabels(labelOptions{groups: o.Groups, certificates: o.LBCertificates, space: o.environment}),
	}
	s.cluster = newCluster(translateOptions{KeepLost: o.KeepLost, IPIndex: o.IPIndex, Resolve: s.hosts.address})
	s.cluster.resting = s.labels.resting
	return s, nil
}

// Run implements discovery.Source. It returns nil when ctx ends: a Marathon
// that cannot be reached is no reason to give up. No goroutine outlives it, but
// for one whose read or write of File hangs.
func (s *Source) Run(ctx context.Context, sink func(discovery.Batch)) error {
	s.mu.Lock()
	s.agenda = newAgenda(s.o, time.Now())
	s.mu.Unlock()
	lasting, recalled := context.WithoutCancel(ctx), make(chan struct{})
	go func() {
		defer close(recalled)
		s.recall(lasting)
	}()
	g, ctx := errgroup.WithContext(ctx)
	each := func(f func(context.Context)) {
		g.Go(func() error {
			f(ctx)
			return nil
		})
	}
	each(s.listen)
	each(func(ctx context.Context) {
		s.awaitRecall(ctx, recalled)
		s.ask(ctx)
	})
	each(func(ctx context.Context) { s.hosts.run(ctx, s.moved) })
	keeper := remember.Keeper{Path: s.o.File, Take: s.take, Lost: s.lost, Log: s.o.Log}
	full, end := keeper.Start(ctx)
	t := discovery.Teller{Batch: s.batch, Wake: s.wake, Patience: s.o.Patience, Listed: full}
	each(func(ctx context.Context) { t.Tell(ctx, sink) })
	err := g.Wait()
	end()
	return err
}

// batch returns what is to be told, and when to look again; the zero time
// means when there is news. over says that the patience is.
func (s *Source) batch(now time.Time, over bool) (b discovery.Batch, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if over && !s.ready {
		s.fallBack()
		if s.stale.IsZero() {
			s.stale = now // nothing was heard yet
		}
	}
	if s.why == nil && s.ready {
		s.release(func(held *discovery.Held) bool { return !now.Before(held.Until) })
	}
	next = s.translate(now)
	for _, key := range slices.Sorted(maps.Keys(s.pending)) {
		b.Updates = append(b.Updates, s.pending[key])
	}
	clear(s.pending)
	b.Listed = !s.listed && (s.ready || over)
	s.listed = s.listed || b.Listed
	return b, s.until(next)
}

// fetchAll asks for everything and takes note of it.
func (s *Source) fetchAll(ctx context.Context) error {
	var apps map[string]*app
	var faults []*routing.Fault
	err := s.client.snapshot(ctx, func(r io.Reader) (err error) {
		apps, faults, err = readApps(r, s.o.MaxAnswer)
		return err
	})
	if err != nil {
		return err
	}
	names := hostNames(apps)
	s.hosts.prepare(ctx, slices.Sorted(maps.Keys(names)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Snapshots++
	s.replace(apps, faults, time.Now())
	for id := range s.apps { // also those that could not be read
		if a := s.apps[id].app; a != nil {
			for _, host := range a.hostNames() {
				names[host] = true
			}
		}
	}
	s.hosts.keep(names)
	s.nudge()
	return nil
}

// hostNames returns the hosts of apps that have names.
func hostNames(apps map[string]*app) map[string]bool {
	names := make(map[string]bool)
	for _, a := range apps {
		if a != nil {
			for _, host := range a.hostNames() {
				names[host] = true
			}
		}
	}
	return names
}

// errOther is that Marathon answered of another app than was asked for.
var errOther = errors.New("the answer is about another app")

// fetchOne asks for one app and takes note of it. The last app that is known is
// none to disappear by itself: a snapshot has to say so.
func (s *Source) fetchOne(ctx context.Context, id string) error {
	var a *app
	var faults []*routing.Fault
	err := s.client.one(ctx, id, func(r io.Reader) (err error) {
		a, faults, err = readApp(r, s.o.MaxAnswer)
		return err
	})
	if err == nil && a.id != id {
		err = errOther
	}
	if err == nil {
		s.hosts.prepare(ctx, a.hostNames())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Fetches++
	switch {
	case err == nil:
		s.put(id, a, faults)
	case err != errAbsent: //nolint:errorlint // it is never wrapped
		return err
	case s.apps[id] == nil:
		s.agenda.odd(id)
	case len(s.apps) == 1:
		return err
	default:
		s.remove(id)
	}
	s.nudge()
	return nil
}

// Why an absence is held back.
const (
	whyNone     = "Marathon said that there are no apps at all, after there were some"
	whyNameless = "Marathon told of an app by no id that can be read, which may be this one"
)

// replace takes note of a whole list. What is missing from it is gone, unless
// nothing is left, or something is there of which it is not known what it is:
// then it is held back.
func (s *Source) replace(apps map[string]*app, faults []*routing.Fault, now time.Time) {
	of, nameless := make(map[string][]*routing.Fault), []*routing.Fault(nil)
	for _, f := range faults {
		if _, there := apps[f.Name]; there {
			of[f.Name] = append(of[f.Name], f)
		} else {
			nameless = append(nameless, f)
		}
	}
	s.tellNameless(nameless)
	held := &discovery.Held{Since: now, Until: now.Add(s.o.Hold), Why: whyNone}
	if len(nameless) > 0 {
		held.Why = whyNameless
	}
	believed := len(apps) > 0 && len(nameless) == 0
	for id, a := range s.remembered {
		switch read, there := apps[id]; {
		case read != nil:
			s.cluster.instances(a, now) // so that it is known what health checks said last
			s.stirred[id] = true        // it may have been asked for before that was known
		case (there || !believed) && s.apps[id] == nil:
			s.put(id, a, nil)
		}
	}
	s.ready, s.remembered = true, nil
	for id, a := range apps {
		s.put(id, a, of[id])
	}
	for id, k := range s.apps {
		_, there := apps[id]
		switch {
		case there:
		case believed:
			s.remove(id)
		case k.held == nil:
			k.held = held
			s.held++
			s.stirred[id] = true
		}
	}
}

// tellNameless adds the update of what is wrong with apps whose id cannot be
// read, if it differs from what was told.
func (s *Source) tellNameless(faults []*routing.Fault) {
	if reflect.DeepEqual(s.nameless, faults) {
		return
	}
	s.nameless = faults
	s.pend(discovery.Update{Key: resourceApps, Faults: faults, Gone: len(faults) == 0})
}

// put takes note of an app that is there; one that cannot be read stays as it
// was.
func (s *Source) put(id string, a *app, faults []*routing.Fault) {
	k := s.apps[id]
	if k == nil {
		k = &known{}
		s.apps[id] = k
		s.stirred[id] = true
	}
	if k.held != nil {
		k.held = nil
		s.held--
		s.stirred[id] = true
		s.agenda.wantAll(time.Now()) // as to the others that are held back
	}
	if !reflect.DeepEqual(k.faults, faults) {
		k.faults = faults
		s.stirred[id] = true
	}
	if a == nil || k.app != nil && k.app.equal(a) {
		return
	}
	k.app = a
	s.labels.put(a)
	s.stirred[id] = true
	s.changed = true
}

// remove takes note that an app is no more.
func (s *Source) remove(id string) {
	k := s.apps[id]
	if k.held != nil {
		s.held--
	}
	delete(s.apps, id)
	delete(s.stirred, id)
	s.cluster.forget(id)
	s.labels.remove(id)
	s.changed = true
	if len(k.told.instances)+len(k.told.faults) > 0 {
		s.pending["apps"+id] = discovery.Update{Key: "apps" + id, Gone: true, Urgent: len(k.told.instances) > 0}
	}
}

// translate looks at what is to be told of apps that may differ, and returns
// when to do so again; the zero time means when there is news.
func (s *Source) translate(now time.Time) (next time.Time) {
	for _, id := range s.labels.settle(s.cluster.alive) {
		s.stirred[id] = true
	}
	for id := range s.stirred {
		k := s.apps[id]
		if k == nil {
			delete(s.stirred, id)
			continue
		}
		s.tellApp(id, k, now)
		again, ok := time.Time{}, false
		if k.app != nil {
			again, ok = s.cluster.due(id)
		}
		if !ok {
			delete(s.stirred, id)
			continue
		}
		again = later(again, now.Add(time.Second))
		if next.IsZero() || again.Before(next) {
			next = again
		}
	}
	for _, u := range s.labels.take() {
		s.pend(u)
	}
	return next
}

// tellApp adds the update of an app if it differs from what was told of it. An
// instance that is still the same stays the same value.
func (s *Source) tellApp(id string, k *known, now time.Time) {
	t := telling{faults: k.faults, held: k.held}
	if k.app != nil {
		instances, faults := s.cluster.instances(k.app, now)
		t.instances = instances
		t.faults = slices.Concat(k.faults, faults)
	}
	if len(t.instances) == 0 {
		t.held = nil // there is nothing that would be gone
	}
	before := k.told
	same := keepSame(before.instances, t.instances)
	if same && before.held == t.held && reflect.DeepEqual(before.faults, t.faults) {
		return
	}
	k.told = t
	u := discovery.Update{
		Key: "apps" + id, Instances: t.instances, Faults: t.faults, Held: t.held,
		Urgent: missing(before.instances, t.instances),
	}
	if len(t.instances)+len(t.faults) == 0 {
		u = discovery.Update{Key: u.Key, Gone: true, Urgent: u.Urgent}
	} else {
		u.Namespace = s.o.environment(id)
	}
	s.pend(u)
}

// pend adds an update to those that are to be told. One that was not told yet
// and takes instances away is still urgent.
func (s *Source) pend(u discovery.Update) {
	if !u.Gone {
		u.Origin = Origin
	}
	u.Urgent = u.Urgent || s.pending[u.Key].Urgent
	s.pending[u.Key] = u
}

// keepSame puts the instances of before in place of those of now that are equal,
// and reports whether all are, in the same order.
func keepSame(before, now []*routing.Instance) bool {
	known := make(map[netip.AddrPort]*routing.Instance, len(before))
	for _, i := range before {
		known[i.AddrPort()] = i
	}
	for k, i := range now {
		if b := known[i.AddrPort()]; b != nil && reflect.DeepEqual(b, i) {
			now[k] = b
		}
	}
	return slices.Equal(before, now)
}

// missing reports whether an instance of before that was ready is not in now,
// or is not ready any more.
func missing(before, now []*routing.Instance) bool {
	ready := make(map[netip.AddrPort]bool, len(now))
	for _, i := range now {
		ready[i.AddrPort()] = i.Ready
	}
	return slices.ContainsFunc(before, func(i *routing.Instance) bool { return i.Ready && !ready[i.AddrPort()] })
}

// moved takes note that hosts have other addresses.
func (s *Source) moved(hosts map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range s.apps {
		if k.app != nil && slices.ContainsFunc(k.app.hostNames(), func(host string) bool { return hosts[host] }) {
			s.stirred[id] = true
		}
	}
	s.changed = true
	s.nudge()
}

// nudge wakes tell. A token that is there already says the same.
func (s *Source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Confirm implements discovery.Confirmer.
func (s *Source) Confirm() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.release(func(*discovery.Held) bool { return true })
	s.nudge()
	return n
}

// release believes absences that are due. While Marathon does not answer,
// nobody can tell whether apps are still absent, so that they wait if nobody
// confirms it.
func (s *Source) release(due func(*discovery.Held) bool) (n int) {
	if s.held == 0 {
		return 0
	}
	for id, k := range s.apps {
		if k.held != nil && due(k.held) {
			s.remove(id)
			n++
		}
	}
	return n
}

// until returns when the next absence is to be believed, if that is before
// next; the zero time means never.
func (s *Source) until(next time.Time) time.Time {
	if s.why != nil || s.held == 0 {
		return next
	}
	for _, k := range s.apps {
		if k.held != nil && (next.IsZero() || k.held.Until.Before(next)) {
			next = k.held.Until
		}
	}
	return next
}

// environment returns whose an app is, organisation/environment: the longest of
// the groups counts that it is in. Empty means whoever runs the source.
func (o Options) environment(id string) string {
	for {
		if of, ok := o.Environments[id]; ok {
			return of
		}
		if id == "/" || id == "" {
			return ""
		}
		id = id[:strings.LastIndexByte(id, '/')]
		if id == "" {
			id = "/"
		}
	}
}
