// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// namespacePrefix is what the keys of namespaces of Kubernetes begin with.
const namespacePrefix = "namespaces/"

// formerHome is a namespace of Kubernetes in which the Services of a namespace,
// organisation/environment, were made, and are made no more.
type formerHome struct{ place, namespace string }

// followed is a namespace of Kubernetes whose Services are watched.
type followed struct {
	stop  context.CancelFunc
	ended chan struct{} // closed when nothing is told of it any more
}

// PutPlaces hands over whose the namespaces of Kubernetes are by now; until it is
// called, they are as Options say. It does not block: of several that wait, the
// newest counts.
//
// What stands in a namespace that is another's is looked at again. Services of
// whoever has another home now are made there, and then deleted where they were;
// if there is none any more, they stay for as long as Options.Hold says.
func (w *Writer) PutPlaces(p kubernetes.Places) {
	w.putting.Lock()
	w.putPlaces = &p
	w.putting.Unlock()
	w.nudge()
}

// homesOf returns the namespaces of Kubernetes in which Services are made, by
// organisation/environment.
func (w *Writer) homesOf(p kubernetes.Places) map[string]string {
	homes := map[string]string{w.o.Namespace: w.o.Home}
	maps.Copy(homes, p.Homes)
	return homes
}

// move takes over whose the namespaces of Kubernetes are. Nobody else writes
// that.
func (w *Writer) move(p kubernetes.Places) {
	homes := w.homesOf(p)
	w.mu.Lock()
	before, whose := w.places, w.whose
	w.places, w.whose = homes, p.Environments
	for namespace, place := range before {
		if homes[namespace] != place {
			w.former[formerHome{place, namespace}] = time.Now()
		}
	}
	for namespace, place := range homes {
		delete(w.former, formerHome{place, namespace})
	}
	for key := range w.objects {
		if whose[key.namespace] != p.Environments[key.namespace] {
			w.waiting[key] = true // until whose it is now has planned it
			w.enqueue(item{statusItem, key})
		}
	}
	for key := range w.ingresses {
		if whose[key.namespace] != p.Environments[key.namespace] {
			w.enqueue(item{ingressItem, key})
		}
	}
	var moved []*space
	for namespace, s := range w.spaces {
		if before[namespace] != homes[namespace] {
			moved = append(moved, s)
		}
	}
	w.mu.Unlock()
	for _, s := range moved {
		next := w.spaceOf(s.plan)
		w.mu.Lock()
		next.since = s.since
		for key := range next.wants {
			delete(w.went, key)
		}
		w.spaces[s.plan.Namespace] = next
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.lookAtServices()
	w.mu.Unlock()
}

// lookAtServices enqueues all Services. w is locked.
func (w *Writer) lookAtServices() {
	for _, s := range w.spaces {
		for key := range s.wants {
			w.enqueue(item{serviceItem, key})
		}
	}
	for key := range w.services {
		w.enqueue(item{serviceItem, key})
	}
}

// leave forgets former homes in which no Services are left of whom they were.
func (w *Writer) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for f := range w.former {
		if w.listed[f.place] && !w.hasServices(f) {
			delete(w.former, f)
		}
	}
}

// hasServices reports whether Services are left in a former home. w is locked.
func (w *Writer) hasServices(f formerHome) bool {
	for key, live := range w.services {
		if key.namespace == f.place && isOurs(live, f.namespace) {
			return true
		}
	}
	return false
}

// follow watches the Services of all namespaces of Kubernetes that have ours,
// and of no others. What watches is g's.
func (w *Writer) follow(ctx context.Context, g *errgroup.Group) {
	if w.shape.off {
		return
	}
	needed := make(map[string]bool)
	w.mu.Lock()
	for _, place := range w.places {
		needed[place] = true
	}
	for f := range w.former {
		needed[f.place] = true
	}
	for place, f := range w.followed {
		if !needed[place] {
			f.stop()
			delete(w.followed, place)
			w.forget(place)
			w.ending[place] = f.ended
		}
	}
	maps.DeleteFunc(w.ending, func(_ string, ended chan struct{}) bool { return isClosed(ended) })
	var begun []string
	for place := range needed {
		if w.followed[place].stop == nil {
			begun = append(begun, place)
		}
	}
	slices.Sort(begun)
	for _, place := range begun {
		w.begin(ctx, g, place)
	}
	w.mu.Unlock()
}

// begin watches the Services of a namespace of Kubernetes, once whoever did so
// before has ended. w is locked.
func (w *Writer) begin(ctx context.Context, g *errgroup.Group, place string) {
	before, again := w.ending[place]
	delete(w.ending, place)
	ctx, stop := context.WithCancel(ctx)
	f := followed{stop, make(chan struct{})}
	w.followed[place] = f
	x := w.serviceWatch(place, func() bool { return w.followed[place].ended == f.ended })
	g.Go(func() error {
		defer stop()
		defer close(f.ended)
		if again {
			<-before
		}
		return x.run(ctx, func(err error) { w.servicesUnseen(place, f, err) })
	})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// forget forgets what was known of the Services of a namespace of Kubernetes. w
// is locked.
func (w *Writer) forget(place string) {
	delete(w.listed, place)
	delete(w.unseen, place)
	maps.DeleteFunc(w.services, func(key objectKey, _ *corev1.Service) bool { return key.namespace == place })
	maps.DeleteFunc(w.went, func(key objectKey, _ bool) bool { return key.namespace == place })
}

// lookAtNamespace has a namespace of Kubernetes told what is wrong with its
// label.
func (w *Writer) lookAtNamespace(key objectKey) {
	w.mu.Lock()
	var faults []*routing.Fault
	for _, s := range w.spaces {
		faults = append(faults, s.placeFaults[namespacePrefix+key.name]...)
	}
	w.mu.Unlock()
	for _, f := range faults {
		w.events.Tell(Event{About: Object{APIVersion: "v1", Kind: "Namespace", Name: key.name}, Warning: true, Reason: f.Code, Action: "Read", Note: noteOf(f)})
	}
}
