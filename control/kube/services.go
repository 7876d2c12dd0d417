// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// manager is the name under which we write.
const manager = "sluice"

// Service returns where the Service of a gateway can be reached, and whether it
// has one that can.
func (w *Writer) Service(namespace, gateway string) (Address, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addressOf(namespace, gateway)
}

// addressOf is Service with w locked.
func (w *Writer) addressOf(namespace, gateway string) (Address, bool) {
	place, ok := w.places[namespace]
	if !ok {
		return Address{}, false
	}
	live := w.services[objectKey{place, ServiceName(gateway)}]
	if live == nil || !isOurs(live, namespace) {
		return Address{}, false
	}
	return addressOf(live)
}

// Trouble returns why a gateway has no Service as it should; empty if it has,
// or is to have none.
func (w *Writer) Trouble(namespace, gateway string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.troubleOf(namespace, gateway)
}

// troubleOf is Trouble with w locked.
func (w *Writer) troubleOf(namespace, gateway string) string {
	text := w.troubles[gatewayKey{namespace, gateway}]
	place, placed := w.places[namespace]
	if text != "" || !placed || w.listed[place] && w.leaseless == "" {
		return text
	}
	if s := w.spaces[namespace]; s == nil || s.wants[objectKey{place, ServiceName(gateway)}].gateway == nil {
		return ""
	}
	return cmp.Or(w.unseen[place], w.leaseless)
}

// unwatched notes that gateways that are objects cannot be had.
func (w *Writer) unwatched(err error) {
	if apierrors.IsNotFound(err) { // it is for the source of gateways to tell
		w.o.Log.Debug("there are no such objects in the cluster", "error", err)
		return
	}
	w.complain(err)
}

// servicesUnseen notes that the Services of a namespace of Kubernetes cannot be
// had.
func (w *Writer) servicesUnseen(place string, f followed, err error) {
	w.complain(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.followed[place].ended == f.ended {
		w.unseen[place] = err.Error()
	}
}

// serviceWatch returns what is to be known of Services: all of a namespace that
// ours are in, since others may have their names. What it tells counts while
// current, which is called with w locked, says so.
func (w *Writer) serviceWatch(place string, current func() bool) watch {
	services := w.client.CoreV1().Services(place)
	return watch{
		resource: "services", namespace: place, example: &corev1.Service{},
		lister: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return services.List(ctx, o)
			},
			WatchFuncWithContext: services.Watch,
		}, w.client),
		trim: func(o runtime.Object) runtime.Object { return trimService(o.(*corev1.Service)) },
		changed: func(key objectKey, now runtime.Object) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if current() {
				w.serviceChanged(key, now)
			}
		},
		listed: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if current() {
				w.listed[place] = true
				w.lookAtAll()
			}
		},
	}
}

// serviceChanged takes note of a Service as it is now, nil if it is no more. w is
// locked.
func (w *Writer) serviceChanged(key objectKey, now runtime.Object) {
	if now == nil {
		delete(w.services, key)
		delete(w.went, key)
	} else {
		w.services[key] = now.(*corev1.Service)
	}
	w.enqueue(item{serviceItem, key})
	for f := range w.former { // where it was goes once it is here
		w.enqueue(item{serviceItem, objectKey{f.place, key.name}})
	}
	if len(w.former) > 0 {
		w.nudge()
	}
	for _, s := range w.spaces { // the address is told in a status
		if want, ok := s.wants[key]; ok && isObject(want.gateway.At.Source) {
			w.enqueue(item{statusItem, objectOf(want.gateway.At.Source)})
		}
	}
}

// matter is all there is to know about one Service.
type matter struct {
	live  *corev1.Service // trimmed; nil if there is none
	want  want            // of the gateway that is to have it
	asked bool            // there is such a gateway
	// rivals are gateways of other namespaces whose Service would have the
	// same name.
	rivals []want
	// spare says that it was made for a gateway of ours which does not ask for
	// it any more.
	spare bool
	// until is when that is believed: it only seems so if no plan of this
	// process ever had the gateway, as after the loss of a store, or while a
	// source cannot say what there is.
	until time.Time
}

// matterOf gathers what there is to know about a Service; false if that is not
// known yet.
func (w *Writer) matterOf(key objectKey) (m matter, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.listed[key.namespace] {
		return m, false
	}
	m.live = w.services[key]
	for _, name := range slices.Sorted(maps.Keys(w.places)) {
		if w.places[name] != key.namespace {
			continue
		}
		ours := m.live != nil && isOurs(m.live, name)
		s := w.spaces[name]
		if s == nil {
			if ours {
				return m, false
			}
			continue
		}
		want, ok := s.wants[key]
		if ours && !ok && !s.broken[m.live.Labels[labelVampLookup]] {
			m.spare = true
			if !w.went[key] {
				m.until = w.believed(s)
			}
		}
		switch {
		case !ok:
		case !m.asked:
			m.want, m.asked = want, true
		case ours: // who has it keeps it
			m.rivals, m.want = append(m.rivals, m.want), want
		default:
			m.rivals = append(m.rivals, want)
		}
	}
	if m.live != nil && !m.spare {
		return m, w.moved(&m, key)
	}
	return m, true
}

// never is when that is believed of which nobody can tell: it is looked again
// until then.
var never = time.Unix(1<<40, 0)

// believed returns when it is believed that a namespace lacks a gateway of which
// no plan of this process has ever had a form. w is locked.
func (w *Writer) believed(s *space) time.Time {
	if w.sure.IsZero() {
		return never
	}
	since := s.since
	if w.sure.After(since) {
		since = w.sure
	}
	return since.Add(w.o.Hold)
}

// moved finds out whether a Service is spare as it stands where those of its
// namespace are made no more; false if that is not known yet. w is locked.
func (w *Writer) moved(m *matter, key objectKey) (known bool) {
	for f, since := range w.former {
		if f.place != key.namespace || !isOurs(m.live, f.namespace) {
			continue
		}
		s, now := w.spaces[f.namespace], objectKey{w.places[f.namespace], key.name}
		switch {
		case s == nil:
			return false
		case s.broken[m.live.Labels[labelVampLookup]]:
		case now.namespace == "": // nobody says any more where they are made
			m.spare, m.until = true, since.Add(w.o.Hold)
		case s.wants[now].gateway == nil:
			m.spare, m.until = true, w.believed(s)
		default: // it is made there first
			m.spare = w.services[now] != nil && isOurs(w.services[now], f.namespace)
		}
	}
	return true
}

// lookAtService has a Service be as it is to be.
func (w *Writer) lookAtService(ctx context.Context, key objectKey) error {
	m, known := w.matterOf(key)
	if !known {
		return nil // it is looked at when it is
	}
	for _, rival := range m.rivals {
		w.trouble(rival, fmt.Sprintf("the Service %s is that of a gateway of the namespace %s", key, m.want.namespace))
	}
	switch {
	case m.spare && time.Now().Before(m.until):
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.queue != nil {
			w.queue.AddAfter(item{serviceItem, key}, min(time.Until(m.until), w.o.Hold))
		}
		return nil
	case m.spare: // whoever else asks for it has one made then
		return w.deleteService(ctx, m.live)
	case !m.asked:
		return nil
	case m.live == nil:
		return w.settle(m.want, w.createService(ctx, m.want))
	case !isOurs(m.live, m.want.namespace):
		w.trouble(m.want, fmt.Sprintf("there is a Service %s that was not made for this gateway: "+
			"rename or delete it, or rename the gateway", key))
		return nil
	case m.want.fits(m.live, w.shape):
		return w.settle(m.want, nil)
	default:
		return w.settle(m.want, w.updateService(ctx, m.want))
	}
}

func (w *Writer) createService(ctx context.Context, want want) error {
	services := w.client.CoreV1().Services(want.key.namespace)
	_, err := services.Create(ctx, want.service(w.shape), metav1.CreateOptions{FieldManager: manager})
	w.count("service", err)
	if err == nil {
		w.o.Log.InfoContext(ctx, "made a Service", "service", want.key.String(), "gateway", want.gateway.Name, "namespace", want.namespace)
	}
	if apierrors.IsAlreadyExists(err) {
		return nil // the watch will tell of it
	}
	return err
}

// updateService changes what is ours to say of a Service. What others changed
// meanwhile is a conflict, and it is looked at again.
func (w *Writer) updateService(ctx context.Context, want want) error {
	services := w.client.CoreV1().Services(want.key.namespace)
	// As a list of one, which needs no right that the watch does not.
	list, err := services.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", want.key.name).String()})
	if err != nil {
		w.count("service", err)
		return err
	}
	if len(list.Items) != 1 {
		return nil // the watch will tell
	}
	live := &list.Items[0]
	if !isOurs(live, want.namespace) || live.DeletionTimestamp != nil {
		return nil
	}
	want.apply(live, w.shape)
	_, err = services.Update(ctx, live, metav1.UpdateOptions{FieldManager: manager})
	w.count("service", err)
	if err == nil {
		w.o.Log.InfoContext(ctx, "changed a Service", "service", want.key.String(), "gateway", want.gateway.Name, "namespace", want.namespace)
	}
	return err
}

// deleteService deletes exactly the Service that was seen.
func (w *Writer) deleteService(ctx context.Context, live *corev1.Service) error {
	services := w.client.CoreV1().Services(live.Namespace)
	err := services.Delete(ctx, live.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{
		UID: &live.UID, ResourceVersion: &live.ResourceVersion,
	}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.count("service", err)
	if err != nil {
		w.complain(explainWrite(err, "delete the Service "+live.Namespace+"/"+live.Name, "services", "delete"))
		return err
	}
	w.o.Log.InfoContext(ctx, "deleted a Service", "service", live.Namespace+"/"+live.Name)
	return nil
}

// settle notes what became of the Service of a gateway, and returns err.
func (w *Writer) settle(want want, err error) error {
	switch {
	case err == nil:
		w.trouble(want, "")
	case apierrors.IsConflict(err): // it is looked at again
	default:
		err = explainWrite(err, "the Service "+want.key.String(), "services", "list, create and update")
		w.complain(err)
		w.trouble(want, err.Error())
	}
	return err
}

// trouble notes why a gateway has no Service as it should, or that it has.
func (w *Writer) trouble(want want, text string) {
	if !w.setTrouble(want, text) || text == "" {
		return
	}
	w.o.Log.Warn("a gateway has no Service as it should",
		"gateway", want.gateway.Name, "namespace", want.namespace, "why", text)
}

// setTrouble reports whether that is news.
func (w *Writer) setTrouble(want want, text string) bool {
	key := gatewayKey{want.namespace, want.gateway.Name}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.spaces[want.namespace]; s == nil || s.wants[want.key].gateway == nil || w.troubles[key] == text {
		return false // it is not asked for any more, or nothing new
	}
	if text == "" {
		delete(w.troubles, key)
	} else {
		w.troubles[key] = text
	}
	if isObject(want.gateway.At.Source) {
		w.enqueue(item{statusItem, objectOf(want.gateway.At.Source)})
	}
	return true
}

// count counts a write.
func (w *Writer) count(object string, err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	w.o.Registry.KubernetesWrites(object, result).Add(0, 1)
}
