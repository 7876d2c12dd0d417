// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/sluice-mesh/sluice/discovery"
)

// pageSize is how many objects are asked for at once where a server cannot
// stream its lists.
const pageSize = 500

// resource is what is watched: what the rule of a role has to name.
type resource struct {
	group, name string
}

func (r resource) String() string {
	if r.group == "" {
		return r.name
	}
	return r.name + "." + r.group
}

// asking is a way to list and watch the objects of a resource, as the clients
// of client-go are.
type asking[L runtime.Object] interface {
	List(ctx context.Context, o metav1.ListOptions) (L, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// watched is one resource that is watched, in one Kubernetes namespace or in
// all, and how that fares. The mutex of the source guards all but heard.
type watched struct {
	s         *Source
	resource  resource
	namespace string // empty for all
	heard     atomic.Int64

	run     func(ctx context.Context)
	count   func() (known, held int)
	release func(due func(*discovery.Held) bool) int
	until   func() time.Time
	vanish  func() // takes note that there is no such resource
	seen    func() // takes note that a list was taken in; nil if nobody asks

	listed bool      // a list was taken in
	denied bool      // it may not be read
	absent bool      // there is no such resource
	stale  time.Time // since when nothing is heard; zero while it is watched
	why    error     // what is wrong; nil while it is watched
	logged string    // what of it was logged last
}

// settled reports whether there is nothing to wait for: what there is was
// listed, or cannot be had.
func (w *watched) settled() bool { return w.listed || w.denied || w.absent && w.s.answers() }

// sure reports whether it can be told that objects are still absent.
func (w *watched) sure() bool { return w.why == nil && (!w.absent || w.s.answers()) }

// answers reports whether an API server answers: one that knows more than that
// there is no such resource.
func (w *watched) answers() bool {
	return w.listed && !w.absent && w.why == nil || apierrors.IsForbidden(w.why)
}

// optional reports whether a cluster may well lack the resource: it is defined
// by an object that is ours. All others are part of any API server.
func (r resource) optional() bool { return r.group == GatewayGroup }

// covers reports whether objects of a Kubernetes namespace are among those that
// are watched.
func (w *watched) covers(namespace string) bool {
	return w.namespace == "" || w.namespace == namespace
}

// apiObject is an object of the API.
type apiObject interface {
	runtime.Object
	metav1.Object
}

// newWatched returns what watches the objects of a resource. Each is cut by
// read as soon as it comes; the shelf is called under the mutex of the source.
func newWatched[L runtime.Object, O apiObject, T any](
	s *Source, r resource, namespace string, ask asking[L], only metav1.ListOptions, like O, read func(O) *T, shelf *shelf[T],
) *watched {
	w := &watched{
		s: s, resource: r, namespace: namespace,
		count: shelf.count, release: shelf.release, until: shelf.until,
	}
	w.vanish = func() { shelf.replace(nil, s.hold("there are no "+r.String()+" any more")) }
	f := &feed[O, T]{w: w, read: read, shelf: shelf}
	a := &asker[L, O, T]{f: f, ask: ask, only: only}
	w.run = func(ctx context.Context) {
		reflector := cache.NewReflectorWithOptions(&cache.ListWatch{
			ListWithContextFunc: a.list, WatchFuncWithContext: a.watch,
		}, like, f, cache.ReflectorOptions{Name: r.String(), TypeDescription: r.String(), Logger: &discard, Backoff: retries()})
		reflector.WatchListPageSize = pageSize
		// What goes wrong is told by how the resource fares.
		reflector.RunWithContext(klog.NewContext(ctx, discard))
	}
	return w
}

var discard = logr.Discard()

// retries is how often the API server is asked again: soon enough that what
// happened meanwhile is known shortly after it answers.
func retries() *wait.Backoff {
	return &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5, Cap: 5 * time.Second}
}

// asker asks the API server, and notes how that went.
type asker[L runtime.Object, O apiObject, T any] struct {
	f    *feed[O, T]
	ask  asking[L]
	only metav1.ListOptions
}

// list returns a page, of which no more is left than counts.
func (a *asker[L, O, T]) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.LabelSelector, o.FieldSelector = a.only.LabelSelector, a.only.FieldSelector
	page, err := a.ask.List(ctx, o)
	a.f.w.asked(ctx, err, false)
	if err != nil {
		return nil, err
	}
	m, err := meta.ListAccessor(page)
	if err != nil {
		return nil, err
	}
	short := &cutList[T]{ListMeta: metav1.ListMeta{
		ResourceVersion: m.GetResourceVersion(), Continue: m.GetContinue(), RemainingItemCount: m.GetRemainingItemCount(),
	}}
	err = meta.EachListItem(page, func(item runtime.Object) error {
		cut, err := a.f.cut(item)
		short.Items = append(short.Items, cut)
		return err
	})
	return short, err
}

// watch begins to watch.
func (a *asker[L, O, T]) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.LabelSelector, o.FieldSelector = a.only.LabelSelector, a.only.FieldSelector
	w, err := a.ask.Watch(ctx, o)
	if o.SendInitialEvents != nil && (apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err)) {
		return w, err // it may be listed all the same, which is asked next
	}
	a.f.w.asked(ctx, err, true)
	return w, err
}

// asked notes how asking the API server went. Only one that can be watched is
// told of in time.
func (w *watched) asked(ctx context.Context, err error, watching bool) {
	if ctx.Err() != nil {
		return
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	switch {
	case err == nil && watching:
		w.why, w.stale = nil, time.Time{}
		w.denied, w.absent = false, false
		w.hear()
	case err == nil:
		w.hear()
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return // which a new list mends
	default:
		w.fail(err)
	}
	w.log(ctx)
	w.s.nudge()
}

// hear notes that the API server told something.
func (w *watched) hear() { w.heard.Store(time.Now().UnixNano()) }

// fail notes that the resource cannot be watched. What is known of it stays.
func (w *watched) fail(err error) {
	if w.stale.IsZero() {
		w.stale = time.Now()
		if heard := w.heard.Load(); heard != 0 {
			w.stale = time.Unix(0, heard)
		}
	}
	w.why = err
	switch {
	case apierrors.IsForbidden(err):
		w.denied = true
		w.why = fmt.Errorf("%w: the role lacks the rule apiGroups [%q], resources [%q], verbs [list, watch]", err, w.resource.group, w.resource.name)
	case apierrors.IsNotFound(err) && !w.resource.optional():
		w.why = fmt.Errorf("%w: what answers is no API server; check the address, and what stands before it", err)
	case apierrors.IsNotFound(err):
		if !w.absent {
			w.absent = true
			w.vanish()
		}
		w.why = nil // nothing of it is stale
		w.stale = time.Time{}
	}
}

// log logs what is wrong, once while it is.
func (w *watched) log(ctx context.Context) {
	text := ""
	if w.why != nil {
		text = w.why.Error()
	}
	if text == w.logged {
		return
	}
	log := w.s.o.Log.With("resource", w.resource.String())
	switch {
	case text == "":
		log.InfoContext(ctx, "the API server answers again")
	case apierrors.IsForbidden(w.why):
		log.ErrorContext(ctx, "this cannot be seen in the cluster, all else is", "error", text)
	case w.logged == "":
		log.WarnContext(ctx, "the API server does not answer; what is known stays", "error", text)
	}
	w.logged = text
}

// feed is the end at which objects of a resource come in. It implements
// cache.TransformingStore and cache.ReflectorBookmarkStore.
type feed[O apiObject, T any] struct {
	w     *watched
	read  func(O) *T
	shelf *shelf[T]
}

// Add takes note of an object that was added.
func (f *feed[O, T]) Add(o any) error { return f.Update(o) }

// Update takes note of an object that has changed.
func (f *feed[O, T]) Update(o any) error {
	cut, err := f.cut(o)
	if err != nil {
		return err
	}
	f.w.hear()
	f.w.s.mu.Lock()
	defer f.w.s.mu.Unlock()
	f.shelf.put(cut.name, cut.value)
	f.w.s.nudge()
	return nil
}

// Delete takes note of an object that is no more.
func (f *feed[O, T]) Delete(o any) error {
	of, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	f.w.hear()
	f.w.s.mu.Lock()
	defer f.w.s.mu.Unlock()
	f.shelf.remove(name{of.GetNamespace(), of.GetName()})
	f.w.s.nudge()
	return nil
}

// Replace takes note of a whole list.
func (f *feed[O, T]) Replace(list []any, _ string) error {
	all := make(map[name]*T, len(list))
	for _, o := range list {
		cut, err := f.cut(o)
		if err != nil {
			return err
		}
		all[cut.name] = cut.value
	}
	f.w.hear()
	f.w.s.mu.Lock()
	defer f.w.s.mu.Unlock()
	f.shelf.replace(all, f.w.s.hold("the list of "+f.w.resource.String()+" was empty, after one that was not"))
	f.w.listed, f.w.denied, f.w.absent = true, false, false
	if f.w.seen != nil {
		f.w.seen()
	}
	f.w.s.nudge()
	return nil
}

// Resync has nothing to do: no object is looked at twice.
func (f *feed[O, T]) Resync() error { return nil }

// Bookmark notes that nothing has happened.
func (f *feed[O, T]) Bookmark(string) error {
	f.w.hear()
	return nil
}

// Transformer has objects of a list that is streamed cut as they come.
func (f *feed[O, T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return f.cut(o) }
}

// cut returns what counts of an object.
func (f *feed[O, T]) cut(o any) (*cut[T], error) {
	switch o := o.(type) {
	case *cut[T]:
		return o, nil
	case O:
		return &cut[T]{Object: nothing, name: name{intern(o.GetNamespace()), o.GetName()}, value: f.read(o)}, nil
	}
	return nil, fmt.Errorf("%s: the API server sent a %T", f.w.resource, o)
}

// cut is what counts of an object, which has no more of an object of the API
// than lists need.
type cut[T any] struct {
	metav1.Object // nothing, but never nil

	name  name
	value *T
}

var nothing = &metav1.ObjectMeta{}

// GetNamespace implements metav1.Object.
func (c *cut[T]) GetNamespace() string { return c.name.namespace }

// GetName implements metav1.Object.
func (c *cut[T]) GetName() string { return c.name.name }

// GetObjectKind implements runtime.Object.
func (c *cut[T]) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. Nobody changes what counts.
func (c *cut[T]) DeepCopyObject() runtime.Object { return c }

// cutList is a page of a list.
type cutList[T any] struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []*cut[T]
}

// DeepCopyObject implements runtime.Object. Nobody changes what counts.
func (l *cutList[T]) DeepCopyObject() runtime.Object { return l }
