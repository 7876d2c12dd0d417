// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// patience bounds how long a test waits for what must come.
const patience = time.Minute

// watching is a source that runs, and what it has told.
type watching struct {
	t      *testing.T
	source *kubernetes.Source
	stop   func()

	mu     sync.Mutex // guards the fields below
	moved  *sync.Cond
	state  map[string]discovery.Update
	listed bool
	told   map[string]int // updates by key
	each   func(discovery.Batch)
}

// watch has each batch shown from now on, with the mutex held.
func (w *watching) watch(each func(discovery.Batch)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.each = each
}

// begin runs a source, and waits for the end of its first listing.
func begin(t *testing.T, o kubernetes.Options) *watching {
	t.Helper()
	w := &watching{
		t: t, source: kubernetes.New(o),
		state: make(map[string]discovery.Update), told: make(map[string]int),
	}
	w.moved = sync.NewCond(&w.mu)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.source.Run(ctx, w.take); err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	w.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(w.stop)
	w.await("the end of the first listing", func() bool { return w.listed })
	return w
}

func (w *watching) take(b discovery.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.each != nil {
		w.each(b)
	}
	for _, u := range b.Updates {
		w.told[u.Key]++
		w.state[u.Key] = u
		if u.Gone {
			delete(w.state, u.Key)
		}
	}
	w.listed = w.listed || b.Listed
	w.moved.Broadcast()
}

// await waits until something holds.
func (w *watching) await(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	timer := time.AfterFunc(patience, w.moved.Broadcast)
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("no sign of %s; told: %s; %+v", what, w.all(), w.source.Watches())
		}
		w.moved.Wait()
	}
}

// awaits waits until what is told is as wanted, each update as brief writes it.
func (w *watching) awaits(want string) {
	w.t.Helper()
	w.await(want, func() bool { return w.all() == want })
}

// all writes what is told; the caller holds the mutex.
func (w *watching) all() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(w.state)) {
		u := w.state[key]
		words := []string{key}
		if u.Namespace != "" {
			words = append(words, "of", u.Namespace)
		}
		for _, i := range u.Instances {
			words = append(words, fmt.Sprintf("%s:%d", i.Name, i.Port))
		}
		for _, d := range u.Documents {
			words = append(words, d.Name)
		}
		for _, d := range u.Kept {
			words = append(words, "kept", d.Name)
		}
		if u.Held != nil {
			words = append(words, "held")
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, ", ")
}

// watches waits until the watching of a resource fares as wanted.
func (w *watching) watches(resource, what string, holds func(kubernetes.Watch) bool) kubernetes.Watch {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		all := w.source.Watches()
		at := slices.IndexFunc(all, func(one kubernetes.Watch) bool { return one.Resource == resource })
		if at >= 0 && holds(all[at]) {
			return all[at]
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s are never %s: %+v", resource, what, all)
		}
	}
}

func fresh(w kubernetes.Watch) bool { return w.Stale.IsZero() && w.Err == nil }
func stale(w kubernetes.Watch) bool { return !w.Stale.IsZero() && w.Err != nil }

// shop is a server with two pods, and two gateways.
func shop(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.put(runningPod("a", "a1"))
	s.put(runningPod("b", "b1"))
	s.put(configMap("m", "from-map"))
	s.put(gatewayObject("g", "from-object"))
	return s
}

const shopTold = "configmaps/shop/m/gateway.yaml from-map, pods/shop/Pod/a a1:8080, pods/shop/Pod/b b1:8080, sluicegateways/shop/g from-object"

func TestAnEmptyListIsHeldBack(t *testing.T) {
	t.Parallel()
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streamed: %t", streams), func(t *testing.T) {
			t.Parallel()
			s := shop(t)
			s.streams = streams
			w := begin(t, kubernetes.Options{Client: s.client(t)})
			w.awaits(shopTold)
			for _, resource := range []string{"pods", "configmaps", kubernetes.GatewayResource} {
				s.forget(resource)
			}
			w.awaits("configmaps/shop/m/gateway.yaml kept from-map held, pods/shop/Pod/a a1:8080 held, pods/shop/Pod/b b1:8080 held, sluicegateways/shop/g kept from-object held")
			if one := w.watches("pods", "known", fresh); one.Objects != 2 || one.Held != 2 {
				t.Errorf("%+v, want 2 pods that are held back", one)
			}
			s.put(runningPod("a", "a1"))
			w.awaits("configmaps/shop/m/gateway.yaml kept from-map held, pods/shop/Pod/a a1:8080, pods/shop/Pod/b b1:8080 held, sluicegateways/shop/g kept from-object held")
			if n := w.source.Confirm(); n != 3 {
				t.Errorf("%d absences are confirmed, want 3", n)
			}
			w.awaits("pods/shop/Pod/a a1:8080")
			s.put(configMap("m", "from-map"))
			w.awaits("configmaps/shop/m/gateway.yaml from-map, pods/shop/Pod/a a1:8080")
		})
	}
}

func TestAnAbsenceIsBelievedInTime(t *testing.T) {
	t.Parallel()
	s := shop(t)
	w := begin(t, kubernetes.Options{Client: s.client(t), Hold: 50 * time.Millisecond})
	w.awaits(shopTold)
	s.forget("pods")
	w.awaits("configmaps/shop/m/gateway.yaml from-map, sluicegateways/shop/g from-object")
}

// What a list lacks that has others is gone.
func TestAnExpiredWatchIsListedAnew(t *testing.T) {
	t.Parallel()
	s := shop(t)
	w := begin(t, kubernetes.Options{Client: s.client(t)})
	w.awaits(shopTold)
	s.refuse("", http.StatusInternalServerError)
	w.watches("pods", "stale", stale)
	s.put(runningPod("c", "c1"))
	s.remove("pods", "a")
	s.expire()
	s.refuse("", 0)
	w.awaits("configmaps/shop/m/gateway.yaml from-map, pods/shop/Pod/b b1:8080, pods/shop/Pod/c c1:8080, sluicegateways/shop/g from-object")
	w.watches("pods", "fresh", fresh)
	if n := w.told["pods/shop/Pod/b"]; n != 1 {
		t.Errorf("a pod that stays is told %d times", n)
	}
}

func TestWhatIsKnownStaysWithoutTheServer(t *testing.T) {
	t.Parallel()
	s := shop(t)
	began := time.Now()
	w := begin(t, kubernetes.Options{Client: s.client(t), Hold: time.Millisecond})
	w.awaits(shopTold)
	s.close()
	for _, resource := range []string{"pods", "configmaps", "sluicegateways.sluice.dev"} {
		if one := w.watches(resource, "stale", stale); one.Stale.Before(began) || one.Stale.After(time.Now()) {
			t.Errorf("%s are stale since %v", resource, one.Stale)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all() != shopTold {
		t.Errorf("told is %s, want %s", w.all(), shopTold)
	}
}

func TestOneMissingRightLeavesTheRest(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.refuse("configmaps", http.StatusForbidden)
	w := begin(t, kubernetes.Options{Client: s.client(t), Patience: time.Hour})
	w.awaits("pods/shop/Pod/a a1:8080, pods/shop/Pod/b b1:8080, sluicegateways/shop/g from-object")
	one := w.watches("configmaps", "denied", stale)
	if want := `the role lacks the rule apiGroups [""], resources ["configmaps"], verbs [list, watch]`; !strings.Contains(one.Err.Error(), want) {
		t.Errorf("the error is %v, want %s in it", one.Err, want)
	}
	s.refuse("configmaps", 0)
	w.awaits(shopTold)
	w.watches("configmaps", "fresh", fresh)
}

// Where EndpointSlices cannot be seen, nothing says that a Service leads nowhere.
func TestServicesServeWithoutTheRightToSlices(t *testing.T) {
	t.Parallel()
	for _, namespaces := range [][]string{nil, {"shop"}} {
		t.Run(fmt.Sprintf("namespaces: %v", namespaces), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.put(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s", Labels: map[string]string{"app": "s"}},
				Spec:       corev1.ServiceSpec{ClusterIP: "10.9.9.9", Ports: []corev1.ServicePort{{Port: 80}}},
			})
			s.refuse("endpointslices", http.StatusForbidden)
			w := begin(t, kubernetes.Options{Client: s.client(t), Namespaces: namespaces, Patience: time.Hour})
			ready := func(want bool) func() bool {
				return func() bool {
					list := w.state["services/shop/s"].Instances
					return len(list) == 1 && list[0].Ready == want
				}
			}
			w.await("a Service that serves", ready(true))
			// Once they can be seen, there are none: then nothing is behind it.
			s.refuse("endpointslices", 0)
			w.await("a Service without endpoints", ready(false))
			// What was seen once stays known.
			s.refuse("endpointslices", http.StatusForbidden)
			w.watches("endpointslices.discovery.k8s.io", "denied", stale)
			w.await("a Service without endpoints", ready(false))
		})
	}
}

func TestAResourceMayBeDefinedLater(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.refuse(kubernetes.GatewayResource, http.StatusNotFound)
	w := begin(t, kubernetes.Options{Client: s.client(t), Patience: time.Hour})
	w.awaits("configmaps/shop/m/gateway.yaml from-map, pods/shop/Pod/a a1:8080, pods/shop/Pod/b b1:8080")
	w.watches("sluicegateways.sluice.dev", "fresh", fresh)
	s.refuse(kubernetes.GatewayResource, 0)
	w.awaits(shopTold)
	s.refuse(kubernetes.GatewayResource, http.StatusNotFound)
	w.awaits(shopTold[:strings.LastIndex(shopTold, ",")] + ", sluicegateways/shop/g kept from-object held")
}

// Whatever answers that it has never heard of pods is no API server.
func TestWhatKnowsNothingIsNoServer(t *testing.T) {
	t.Parallel()
	s := shop(t)
	w := begin(t, kubernetes.Options{Client: s.client(t), Hold: 20 * time.Millisecond})
	w.awaits(shopTold)
	others := []string{"pods", "services", "endpointslices", "replicasets", "configmaps", "ingresses", "ingressclasses", "secrets"}
	for _, resource := range others {
		s.refuse(resource, http.StatusNotFound)
	}
	for _, one := range w.source.Watches() {
		if one.Resource != "sluicegateways.sluice.dev" {
			w.watches(one.Resource, "stale", stale)
		}
	}
	// Nor can it tell that there are no gateways any more.
	s.refuse(kubernetes.GatewayResource, http.StatusNotFound)
	w.awaits(shopTold[:strings.LastIndex(shopTold, ",")] + ", sluicegateways/shop/g kept from-object held")
	s.awaitQuestions(t, kubernetes.GatewayResource, 3)
	w.awaits(shopTold[:strings.LastIndex(shopTold, ",")] + ", sluicegateways/shop/g kept from-object held")
	for _, resource := range others {
		s.refuse(resource, 0)
	}
	w.awaits(shopTold[:strings.LastIndex(shopTold, ",")])
}

func TestALongListComesInPages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 1200 {
		p := runningPod(fmt.Sprintf("p%d", i), "c")
		p.Status.PodIP = fmt.Sprintf("10.1.%d.%d", i/200, i%200+1)
		s.put(p)
	}
	w := begin(t, kubernetes.Options{Client: s.client(t)})
	if len(w.state) != 1200 || s.pages != 2 {
		t.Errorf("%d pods were told of after %d pages that were not the last, want 1200 after 2", len(w.state), s.pages)
	}
}

// What stands in a Kubernetes namespace belongs to its environment; others
// than those that are named are not watched.
func TestNamespacesAndEnvironments(t *testing.T) {
	t.Parallel()
	s := shop(t)
	for _, ns := range []string{"web", "other"} {
		p := runningPod("c", "c1")
		p.Namespace = ns
		s.put(p)
	}
	w := begin(t, kubernetes.Options{
		Client: s.client(t), Namespaces: []string{"shop", "web"}, Environments: map[string]string{"web": "acme/prod"},
	})
	w.awaits(strings.Replace(shopTold, ", slu", ", pods/web/Pod/c of acme/prod c1:8080, slu", 1))
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, u := range w.state {
		if u.Origin != kubernetes.Origin {
			t.Errorf("%s is of origin %q", key, u.Origin)
		}
	}
}

// remembering runs a source until the file holds what it told.
func remembering(t *testing.T, s *server) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "cluster.json")
	w := begin(t, kubernetes.Options{Client: s.client(t), File: file})
	w.awaits(shopTold)
	w.stop()
	return file
}

func TestWhatWasKnownServesWithoutTheServer(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusInternalServerError, http.StatusNotFound} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			servesWithoutTheServer(t, status)
		})
	}
}

func servesWithoutTheServer(t *testing.T, status int) {
	t.Helper()
	s := shop(t)
	file := remembering(t, s)
	s.refuse("", status)
	w := begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond, Hold: time.Millisecond})
	w.awaits(shopTold)
	w.watches("pods", "stale", stale)
	// Nothing is lost by an end before the server answered.
	w.stop()
	w = begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond})
	w.awaits(shopTold)

	s.put(runningPod("c", "c1"))
	s.remove("pods", "a")
	s.put(configMap("m", "changed"))
	s.refuse("", 0)
	w.awaits("configmaps/shop/m/gateway.yaml changed, pods/shop/Pod/b b1:8080, pods/shop/Pod/c c1:8080, sluicegateways/shop/g from-object")
}

// Whose it is what was known is said by the flags of now, not by those of then.
func TestWhatWasKnownBelongsToWhoIsNamedNow(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(parsed(t, ingress("web", "sluice", "web.example", "Prefix / web")))
	file := filepath.Join(t.TempDir(), "cluster.json")
	w := begin(t, kubernetes.Options{Client: s.client(t), File: file, Environments: map[string]string{"shop": "acme/prod"}})
	w.await("the host", func() bool { return strings.Contains(w.all(), "ingresses/-acme.prod/web.example of acme/prod") })
	w.stop()
	s.refuse("", http.StatusInternalServerError)
	for _, tt := range []struct {
		name, space string
		ingress     bool
	}{{"the same", "acme/prod", true}, {"another one", "acme/test", false}, {"none", "", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond}
			if tt.space != "" {
				o.Environments = map[string]string{"shop": tt.space}
			}
			w := begin(t, o)
			w.await("what was known", func() bool { return len(w.state) > 3 })
			w.mu.Lock()
			defer w.mu.Unlock()
			ingress := false
			for key, u := range w.state {
				ingress = ingress || strings.HasPrefix(key, "ingresses/-")
				if u.Namespace != tt.space {
					t.Errorf("%s is of %q", key, u.Namespace)
				}
			}
			if ingress != tt.ingress {
				t.Errorf("told is %s", w.all())
			}
		})
	}
}

// A cluster that came back empty is not believed at once.
func TestWhatWasKnownIsHeldBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		patience time.Duration
	}{{"it was told already", time.Millisecond}, {"it was not told yet", time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := shop(t)
			file := remembering(t, s)
			s.forget("pods")
			s.forget("configmaps")
			s.put(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s", Labels: map[string]string{"app": "s"}},
				Spec:       corev1.ServiceSpec{ClusterIP: "10.9.9.9", Ports: []corev1.ServicePort{{Port: 80}}},
			})
			w := begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: tt.patience})
			w.awaits("configmaps/shop/m/gateway.yaml kept from-map held, pods/shop/Pod/a a1:8080 held, pods/shop/Pod/b b1:8080 held, services/shop/s s:80, sluicegateways/shop/g from-object")
			if n := w.source.Confirm(); n != 3 {
				t.Errorf("%d absences are confirmed, want 3", n)
			}
			w.awaits("services/shop/s s:80, sluicegateways/shop/g from-object")
		})
	}
}

// A right that was taken away says nothing of what there is.
func TestWhatWasKnownOutlastsItsRight(t *testing.T) {
	t.Parallel()
	s := shop(t)
	file := remembering(t, s)
	s.refuse("pods", http.StatusForbidden)
	w := begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Hour})
	w.awaits(shopTold)
	s.remove("pods", "a")
	s.refuse("pods", 0)
	w.awaits(strings.Replace(shopTold, "pods/shop/Pod/a a1:8080, ", "", 1))
}

// A process that is killed while it writes leaves one file, which the next one
// takes over.
func TestWhatWasHalfWrittenDoesNotStay(t *testing.T) {
	t.Parallel()
	s := shop(t)
	file := filepath.Join(t.TempDir(), "cluster.json")
	if err := os.WriteFile(file+".new", []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	w := begin(t, kubernetes.Options{Client: s.client(t), File: file})
	w.awaits(shopTold)
	w.stop()
	there, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	if err != nil || !slices.Equal(there, []string{file}) {
		t.Errorf("%v are left, %v", there, err)
	}
	s.refuse("", http.StatusInternalServerError)
	w = begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond})
	w.awaits(shopTold)
}

func TestAnUnreadableMemoryIsNone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON": "x", "another format": `{"Format": 99}`, "half of it": `{"Format": 1, "Updates": [`,
		"an instance without address": `{"Format": 1, "Updates": [{"Key": "pods/a/b", "Instances": [{"Port": 1}]}]}`,
		"an instance that is null":    `{"Format": 1, "Updates": [{"Key": "pods/a/b", "Instances": [null]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "cluster.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newServer(t)
			s.refuse("", http.StatusInternalServerError)
			w := begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond})
			w.awaits("")
			s.refuse("", 0)
			s.put(runningPod("a", "a1"))
			w.awaits("pods/shop/Pod/a a1:8080")
		})
	}
}
