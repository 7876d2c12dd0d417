// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	clients "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// writers is how many writes are under way at most.
	writers = 4
	// firstRetry and lastRetry bound how long it takes until what failed is
	// tried again; it doubles each time.
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Minute
	// restAfterLook is how long it takes at least until it is looked again
	// where all gateways are served.
	restAfterLook = 500 * time.Millisecond
	// maxWent bounds how many Services are remembered that may never have been
	// made.
	maxWent = 10_000
	// complainEvery is how often the same trouble is logged.
	complainEvery = time.Minute
)

// Writer writes to a cluster what plans ask for. It is made by New, and safe
// for concurrent use.
type Writer struct {
	o      Options
	shape  shape
	client clients.Interface
	custom dynamic.Interface
	wake   chan struct{} // holds a token if something was put
	glance chan struct{} // holds a token if statuses are to be looked at
	events *Events

	putting   sync.Mutex // guards the fields below, and is never held for long
	put       map[string]planner.Plan
	putPlaces *kubernetes.Places // nil if there are no others

	mu        sync.Mutex               // guards the fields below
	places    map[string]string        // namespaces of Kubernetes, by organisation/environment
	whose     map[string]string        // organisation/environment, by namespace of Kubernetes
	former    map[formerHome]time.Time // until when they were homes
	followed  map[string]followed      // by namespace of Kubernetes
	ending    map[string]chan struct{} // of those that are followed no more
	sure      time.Time                // since when plans lack what there is not; zero while they may lack more
	lagging   map[objectKey]time.Time  // since when the status of an object is not what it is to be
	spaces    map[string]*space        // by organisation/environment
	services  map[objectKey]*corev1.Service
	objects   map[objectKey]*gatewayObject
	ingresses map[objectKey]kubernetes.IngressObject // that are served
	addresses map[string]ingressAddresses            // by home; those that are known
	listed    map[string]bool                        // namespaces of Kubernetes whose Services are known
	unseen    map[string]string                      // why they are not known
	went      map[objectKey]bool                     // Services whose gateways this process saw go
	leaseless string                                 // why nobody leads; empty if that is not known to be so
	troubles  map[gatewayKey]string
	waiting   map[objectKey]bool                         // objects whose present form was not planned yet
	queue     workqueue.TypedRateLimitingInterface[item] // nil while another leads
	said      map[string]time.Time                       // by what was logged
}

// gatewayKey names a gateway.
type gatewayKey struct{ namespace, name string }

// space is what the newest plan of a namespace comes to.
type space struct {
	plan          planner.Plan
	since         time.Time // of the first plan
	wants         map[objectKey]want
	bySource      map[string]*routing.Gateway // by the key of the object that asks for it
	ingressFaults map[string][]*routing.Fault // by the key that they are of
	placeFaults   map[string][]*routing.Fault // by the key of the namespace of Kubernetes
	broken        map[string]bool             // lookup names of gateways that have no form
}

// item is something to be looked at.
type item struct {
	kind itemKind
	key  objectKey
}

type itemKind uint8

const (
	serviceItem   itemKind = iota // the Service of a name
	statusItem                    // the status of an object that is a gateway
	ingressItem                   // an Ingress
	namespaceItem                 // a namespace of Kubernetes
)

// New returns a Writer that writes once Run does. It asks nothing of the API
// server yet.
func New(o Options) (*Writer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s, err := o.Services.resolve()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		o: o, shape: s, client: o.Client.API, custom: o.Client.Dynamic,
		wake: make(chan struct{}, 1), glance: make(chan struct{}, 1),
		put: make(map[string]planner.Plan), whose: o.Environments,
		former: make(map[formerHome]time.Time), followed: make(map[string]followed), ending: make(map[string]chan struct{}),
		lagging: make(map[objectKey]time.Time), spaces: make(map[string]*space),
		services: make(map[objectKey]*corev1.Service), objects: make(map[objectKey]*gatewayObject),
		ingresses: make(map[objectKey]kubernetes.IngressObject), addresses: make(map[string]ingressAddresses),
		listed: make(map[string]bool), unseen: make(map[string]string), went: make(map[objectKey]bool), troubles: make(map[gatewayKey]string), waiting: make(map[objectKey]bool), said: make(map[string]time.Time),
	}
	homes := make(map[string]string)
	for place, namespace := range o.Environments {
		homes[namespace] = place
	}
	w.places = w.homesOf(kubernetes.Places{Homes: homes})
	w.events = newEvents(w)
	return w, nil
}

// Put hands over the newest plan of a namespace. It does not block: of several
// that wait, the newest counts.
func (w *Writer) Put(plan planner.Plan) {
	w.putting.Lock()
	w.put[plan.Namespace] = plan
	w.putting.Unlock()
	w.nudge()
}

// nudge has what was put taken in.
func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // a token that is there says the same
	}
}

// Events returns what tells objects of a cluster what is wrong with them. It
// does so while this control plane leads.
func (w *Writer) Events() *Events { return w.events }

// Run follows the cluster, and writes while this control plane leads, until ctx
// ends. Trouble with the API server is logged, counted and tried again; it is
// no error.
func (w *Writer) Run(ctx context.Context) error {
	// What client-go logs by itself is told by us, with what to do about it.
	ctx = klog.NewContext(ctx, logr.Discard())
	g, ctx := errgroup.WithContext(ctx)
	for _, x := range w.watches() {
		g.Go(func() error { return x.run(ctx, w.unwatched) })
	}
	g.Go(func() error { return w.digest(ctx, g) })
	g.Go(func() error { return w.compete(ctx) })
	return g.Wait()
}

// Leading reports whether this control plane is the one that writes.
func (w *Writer) Leading() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue != nil
}

// lead looks at everything once, and then at what changes, while t lasts.
func (w *Writer) lead(ctx context.Context, t term) {
	w.o.Log.InfoContext(ctx, "this control plane writes to Kubernetes", "lease", w.o.Home+"/"+LeaseName(w.o.Namespace))
	w.o.Registry.KubernetesLeader().Set(1)
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[item](firstRetry, lastRetry))
	w.mu.Lock()
	w.queue = queue
	w.lookAtAll()
	w.mu.Unlock()
	var parts sync.WaitGroup
	for range writers {
		parts.Go(func() { w.work(ctx, t, queue) })
	}
	for _, run := range w.o.Leading {
		parts.Go(func() { run(ctx) })
	}
	parts.Go(func() { w.events.run(ctx, t) })
	parts.Go(func() { w.lookAgain(ctx) })
	<-ctx.Done()
	w.mu.Lock()
	w.queue = nil
	w.mu.Unlock()
	queue.ShutDown()
	parts.Wait()
	w.mu.Lock()
	clear(w.troubles) // whoever leads next knows better
	clear(w.lagging)
	w.sure = time.Time{}
	w.mu.Unlock()
	w.o.Registry.KubernetesLeader().Set(0)
	w.o.Log.InfoContext(ctx, "this control plane writes to Kubernetes no more")
}

// work looks at what is to be looked at.
func (w *Writer) work(ctx context.Context, t term, queue workqueue.TypedRateLimitingInterface[item]) {
	for {
		it, over := queue.Get()
		if over {
			return
		}
		if ctx.Err() == nil && t.lasts() && w.look(ctx, it) == nil {
			queue.Forget(it)
		} else {
			queue.AddRateLimited(it)
		}
		queue.Done(it)
	}
}

// look brings one thing into the form that it is to have. What went wrong was
// told; the error only says that it is to be tried again.
func (w *Writer) look(ctx context.Context, it item) error {
	ctx, cancel := context.WithTimeout(ctx, w.writeTimeout())
	defer cancel()
	switch it.kind {
	case serviceItem:
		return w.lookAtService(ctx, it.key)
	case ingressItem:
		return w.lookAtIngress(ctx, it.key)
	case namespaceItem:
		w.lookAtNamespace(it.key)
		return nil
	default:
		return w.lookAtStatus(ctx, it.key)
	}
}

// Look says that gateways may be served elsewhere than before. It does not
// block.
func (w *Writer) Look() {
	select {
	case w.glance <- struct{}{}:
	default: // a token that is there says the same
	}
}

// lookAgain looks where gateways are served: soon after it was said to have
// changed, and now and then, as not all of it is said.
func (w *Writer) lookAgain(ctx context.Context) {
	w.ask()
	w.findAddresses(ctx)
	again := time.NewTicker(w.o.Interval)
	defer again.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest.C: // it was looked long enough ago
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-w.glance:
		}
		w.mu.Lock()
		for key := range w.objects {
			w.enqueue(item{statusItem, key})
		}
		w.mu.Unlock()
		w.ask()
		w.findAddresses(ctx)
		rest.Reset(restAfterLook)
	}
}

// ask asks whether what plans lack is not there, rather than not known.
func (w *Writer) ask() {
	sure := w.o.Sure == nil || w.o.Sure()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !sure:
		w.sure = time.Time{}
	case w.sure.IsZero():
		w.sure = time.Now()
	}
}

// enqueue has something looked at, if this control plane leads. w is locked.
func (w *Writer) enqueue(it item) {
	if w.queue != nil {
		w.queue.Add(it)
	}
}

// lookAtAll enqueues all there is. w is locked.
func (w *Writer) lookAtAll() {
	w.lookAtServices()
	for _, s := range w.spaces {
		for source := range s.placeFaults {
			w.enqueue(item{namespaceItem, objectKey{name: source[len(namespacePrefix):]}})
		}
	}
	for key := range w.objects {
		w.enqueue(item{statusItem, key})
	}
	for key := range w.ingresses {
		w.enqueue(item{ingressItem, key})
	}
}

// digest takes in what is put, and watches the Services that this concerns.
func (w *Writer) digest(ctx context.Context, g *errgroup.Group) error {
	for {
		w.leave()
		w.follow(ctx, g)
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		w.putting.Lock()
		plans, places := w.put, w.putPlaces
		w.put, w.putPlaces = make(map[string]planner.Plan), nil
		w.putting.Unlock()
		if places != nil {
			w.move(*places)
		}
		for _, name := range slices.Sorted(maps.Keys(plans)) {
			// With 10,000 gateways this takes a while, so w is not locked.
			next := w.spaceOf(plans[name])
			w.mu.Lock()
			w.take(next)
			w.mu.Unlock()
		}
	}
}

// take takes a plan in and enqueues what differs from the one before. w is
// locked.
func (w *Writer) take(next *space) {
	plan := next.plan
	before := w.spaces[plan.Namespace]
	if before == nil {
		before = &space{}
		for key := range w.services { // what is there may have to go
			if key.namespace == w.places[plan.Namespace] {
				w.enqueue(item{serviceItem, key})
			}
		}
	}
	if next.since = before.since; next.since.IsZero() {
		next.since = time.Now()
	}
	w.spaces[plan.Namespace] = next
	for key, want := range next.wants {
		delete(w.went, key)
		if before.wants[key].gateway != want.gateway {
			w.enqueue(item{serviceItem, key})
		}
	}
	for key, want := range before.wants {
		if _, still := next.wants[key]; !still {
			delete(w.troubles, gatewayKey{want.namespace, want.gateway.Name})
			w.went[key] = true
			w.enqueue(item{serviceItem, key})
		}
	}
	if len(w.went) > maxWent { // most never had a Service
		maps.DeleteFunc(w.went, func(key objectKey, _ bool) bool { return w.services[key] == nil })
	}
	w.takeObjects(before, next)
}

// takeObjects enqueues the objects whose gateways or faults differ between two
// plans, and those that waited for a plan. w is locked.
func (w *Writer) takeObjects(before, next *space) {
	differ := maps.Clone(w.waiting)
	for source, g := range next.bySource {
		if before.bySource[source] != g {
			differ[objectOf(source)] = true
		}
	}
	for source := range before.bySource {
		if next.bySource[source] == nil {
			differ[objectOf(source)] = true
		}
	}
	if !slices.Equal(before.plan.Faults, next.plan.Faults) {
		w.lookAtIngresses(next.plan.Namespace)
		for source := range next.placeFaults {
			w.enqueue(item{namespaceItem, objectKey{name: source[len(namespacePrefix):]}})
		}
		for _, f := range slices.Concat(before.plan.Faults, next.plan.Faults) {
			if isObject(f.At.Source) {
				differ[objectOf(f.At.Source)] = true
			}
		}
	}
	for key := range differ {
		w.enqueue(item{statusItem, key})
	}
}

// spaceOf returns what a plan comes to. Only who writes places calls it.
func (w *Writer) spaceOf(plan planner.Plan) *space {
	s := &space{
		plan: plan, wants: make(map[objectKey]want),
		bySource: make(map[string]*routing.Gateway), broken: make(map[string]bool),
		ingressFaults: make(map[string][]*routing.Fault), placeFaults: make(map[string][]*routing.Fault),
	}
	place, placed := w.places[plan.Namespace]
	for _, g := range plan.Table.Gateways {
		if isObject(g.At.Source) {
			s.bySource[g.At.Source] = g
		}
		if placed && !w.shape.off && g.Port.Number != 0 && !isIngress(g.At.Source) {
			key := objectKey{place, ServiceName(g.Name)}
			s.wants[key] = want{key, plan.Namespace, g}
		}
	}
	for _, f := range plan.Faults {
		if isIngress(f.At.Source) {
			s.ingressFaults[f.At.Source] = append(s.ingressFaults[f.At.Source], f)
		}
		if strings.HasPrefix(f.At.Source, namespacePrefix) {
			s.placeFaults[f.At.Source] = append(s.placeFaults[f.At.Source], f)
		}
	}
	for _, name := range plan.Table.Broken {
		s.broken[routing.GatewayID(name)] = true
	}
	return s
}

// spaceNameOf returns whose objects those of a namespace of Kubernetes are. w is
// locked.
func (w *Writer) spaceNameOf(place string) string {
	if name, ok := w.whose[place]; ok {
		return name
	}
	return w.o.Namespace
}

// complain logs what goes wrong, the same once a minute.
func (w *Writer) complain(err error) {
	if err != nil {
		w.complainOf(err.Error(), err)
	}
}

// complainOf logs what goes wrong with something, once a minute.
func (w *Writer) complainOf(text string, err error) {
	if w.says(text, time.Now()) {
		w.o.Log.Warn("Kubernetes cannot be followed as it should be", "error", err)
	}
}

// says reports whether a text is to be logged now.
func (w *Writer) says(text string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.said[text]) < complainEvery {
		return false
	}
	maps.DeleteFunc(w.said, func(_ string, at time.Time) bool { return now.Sub(at) >= complainEvery })
	w.said[text] = now
	return true
}

// explainWrite says what a write lacks.
func explainWrite(err error, what, resource, verbs string) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%s: %w; a rule with the verbs %s on %s is needed", what, err, verbs, resource)
	}
	return fmt.Errorf("%s: %w", what, err)
}
