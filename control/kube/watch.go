// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// objectKey names an object of Kubernetes among those of its kind.
type objectKey struct{ namespace, name string }

func (k objectKey) String() string { return k.namespace + "/" + k.name }

// watch is what is to be known of the objects of one kind.
type watch struct {
	resource  string // as rules of RBAC have it
	namespace string // empty for all
	lister    cache.ListerWatcher
	example   runtime.Object
	trim      func(runtime.Object) runtime.Object
	changed   func(key objectKey, now runtime.Object) // now is nil if it is gone
	listed    func()                                  // may be nil
}

// run tells of changes until ctx ends. While the API server cannot be asked,
// what was known stays, and it is tried again.
func (w watch) run(ctx context.Context, complain func(error)) error {
	informer := cache.NewSharedIndexInformer(w.lister, w.example, 0, cache.Indexers{})
	if err := informer.SetTransform(w.transform); err != nil {
		return err
	}
	err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			complain(w.explain(err))
		}
	})
	if err != nil {
		return err
	}
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    w.set,
		UpdateFunc: func(_, now any) { w.set(now) },
		DeleteFunc: w.unset,
	})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) && w.listed != nil {
			w.listed()
		}
	}()
	informer.RunWithContext(ctx)
	<-ended
	return nil
}

func (w watch) transform(object any) (any, error) {
	if o, ok := object.(runtime.Object); ok {
		return w.trim(o), nil
	}
	return object, nil // word of a deletion that was missed
}

func (w watch) set(object any) {
	if o, ok := object.(runtime.Object); ok {
		if m, ok := object.(metav1.Object); ok {
			w.changed(objectKey{m.GetNamespace(), m.GetName()}, o)
		}
	}
}

func (w watch) unset(object any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return
	}
	namespace, name, ok := strings.Cut(key, "/")
	if ok {
		w.changed(objectKey{namespace, name}, nil)
	}
}

// explain says what a watch lacks.
func (w watch) explain(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("watch %s: %w; a rule with the verbs list and watch is needed", w.where(), err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("watch %s: the cluster does not know them: %w", w.where(), err)
	case errors.Is(err, context.Canceled):
		return nil
	}
	return fmt.Errorf("watch %s: %w", w.where(), err)
}

func (w watch) where() string {
	if w.namespace == "" {
		return w.resource
	}
	return w.resource + " of " + w.namespace
}
