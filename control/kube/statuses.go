// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// gatewayKind is the kind of objects that are gateways.
const gatewayKind = "SluiceGateway"

var (
	gatewayVersion  = schema.GroupVersion{Group: kubernetes.GatewayGroup, Version: kubernetes.GatewayVersion}
	gatewayResource = gatewayVersion.WithResource(kubernetes.GatewayResource)
)

// watches returns what is to be known of gateways that are objects.
func (w *Writer) watches() []watch {
	var all []watch
	places := w.o.Watch
	if len(places) == 0 {
		places = []string{metav1.NamespaceAll}
	}
	for _, place := range slices.Compact(slices.Sorted(slices.Values(places))) {
		objects := w.custom.Resource(gatewayResource).Namespace(place)
		all = append(all, watch{
			resource: gatewayResource.GroupResource().String(), namespace: place, example: &unstructured.Unstructured{},
			lister: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
				ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
					return objects.List(ctx, o)
				},
				WatchFuncWithContext: objects.Watch,
			}, w.custom),
			trim:    func(o runtime.Object) runtime.Object { return trimObject(o.(*unstructured.Unstructured)) },
			changed: w.objectChanged,
		})
	}
	return all
}

func (w *Writer) objectChanged(key objectKey, now runtime.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now == nil {
		delete(w.objects, key)
		delete(w.waiting, key)
		delete(w.lagging, key)
		return
	}
	w.objects[key] = readObject(now.(*unstructured.Unstructured))
	w.enqueue(item{statusItem, key})
}

// lookAtStatus has the status of an object say what became of it. While its
// present form was not planned yet there is nothing to say.
func (w *Writer) lookAtStatus(ctx context.Context, key objectKey) error {
	w.mu.Lock()
	object := w.objects[key]
	w.mu.Unlock()
	if object == nil {
		return nil
	}
	f, known := w.fateOf(object)
	w.mu.Lock()
	if known || w.objects[key] == nil {
		delete(w.waiting, key)
	} else {
		w.waiting[key] = true
	}
	w.mu.Unlock()
	if !known {
		return nil
	}
	next := object.next(f)
	w.tell(object, next)
	if next.same(object.status) {
		w.mu.Lock()
		delete(w.lagging, key)
		w.mu.Unlock()
		return nil
	}
	if w.waits(key, object, next) {
		return nil
	}
	return w.writeStatus(ctx, object, next)
}

// waits reports whether a status that differs from the one that is written is
// not worth a write yet: proxies come and go, and behind each may be ten thousand
// objects. It is looked at again soon.
func (w *Writer) waits(key objectKey, o *gatewayObject, next status) bool {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	since, lags := w.lagging[key]
	if w.objects[key] == nil || !next.lags(o.status) || lags && now.Sub(since) >= w.o.Lag {
		delete(w.lagging, key)
		return false
	}
	if !lags {
		w.lagging[key] = now
	}
	return true
}

// fateOf returns what became of an object in its present form; false if that is
// not known yet.
func (w *Writer) fateOf(o *gatewayObject) (f fate, known bool) {
	w.mu.Lock()
	namespace, source := w.spaceNameOf(o.key.namespace), sourcePrefix+o.key.String()
	w.mu.Unlock()
	f.planned, known = w.o.Plans.Object(namespace, source)
	if !known || f.planned.Generation != 0 && f.planned.Generation != o.generation {
		return f, false
	}
	w.mu.Lock()
	if s := w.spaces[namespace]; s != nil {
		f.gateway = s.bySource[source]
	}
	f.services = !w.shape.off
	if f.gateway != nil {
		f.trouble = w.troubleOf(namespace, f.gateway.Name)
		if a, ok := w.addressOf(namespace, f.gateway.Name); ok {
			f.address = &a
		}
	}
	w.mu.Unlock()
	if f.gateway != nil {
		f.deployed = w.o.Deployed(namespace, f.gateway.Name)
	}
	return f, true
}

func (w *Writer) writeStatus(ctx context.Context, o *gatewayObject, next status) error {
	patch, err := next.patch(o.uid)
	if err != nil {
		return err
	}
	objects := w.custom.Resource(gatewayResource).Namespace(o.key.namespace)
	_, err = objects.Patch(ctx, o.key.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, "status")
	w.count("status", err)
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err): // it is another object by now
		return nil
	}
	w.complain(explainWrite(err, "write the status of "+source(o.key), gatewayResource.Resource+"/status", "patch"))
	return err
}

func source(key objectKey) string { return sourcePrefix + key.String() }

// tell tells an object in an event what is wrong with it.
func (w *Writer) tell(o *gatewayObject, next status) {
	about := Object{
		APIVersion: gatewayVersion.String(), Kind: gatewayKind,
		Namespace: o.key.namespace, Name: o.key.name, UID: o.uid,
	}
	for _, c := range next.Conditions {
		switch {
		case c.Status != metav1.ConditionFalse:
		case c.Type == Accepted:
			w.events.Tell(Event{About: about, Warning: true, Reason: c.Reason, Action: "Accept", Note: c.Message})
		case c.Type == Exposed && c.Reason == "NoService", c.Type == Deployed && c.Reason == "RefusedByProxies":
			w.events.Tell(Event{About: about, Warning: true, Reason: c.Reason, Action: "Serve", Note: c.Message})
		}
	}
}
