// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// namespace returns a Kubernetes namespace with a label, or none if it is -.
func namespace(called, label string, minutes int) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: called, CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, minutes, 0, 0, time.UTC)),
	}}
	if label != "-" {
		m.Labels = map[string]string{kubernetes.LabelEnvironment: label}
	}
	return m
}

// shown is what a source shows of whose Kubernetes namespaces are.
type shown struct {
	mu  sync.Mutex // guards now
	now kubernetes.Places
}

func (s *shown) put(p kubernetes.Places) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return pairs(s.now.Environments) + "; homes " + pairs(s.now.Homes)
}

func pairs(m map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, " ")
}

// wants returns what a source of shop tells whose Kubernetes namespace shop is of
// a namespace.
func wants(of string) string {
	if of == "" {
		return shopTold
	}
	var all []string
	for one := range strings.SplitSeq(shopTold, ", ") {
		key, rest, _ := strings.Cut(one, " ")
		all = append(all, key+" of "+of+" "+rest)
	}
	return strings.Join(all, ", ")
}

func TestALabelSaysWhoseANamespaceIs(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(namespace("shop", "acme.prod", 1))
	s.put(namespace("kube-system", "-", 0))
	w := begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true, Patience: time.Hour})
	w.awaits(wants("acme/prod"))
	if n := w.told["pods/shop/Pod/a"]; n != 1 {
		t.Errorf("a pod of a namespace with a label is told %d times", n)
	}
	s.put(namespace("shop", "acme.test", 1))
	w.awaits(wants("acme/test"))
	s.put(namespace("shop", "-", 1))
	w.awaits(wants(""))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range []string{"pods/shop/Pod/a", "configmaps/shop/m/gateway.yaml", "sluicegateways/shop/g"} {
		if n := w.told[key]; n != 3 {
			t.Errorf("%s is told %d times, want once and at each change of the label", key, n)
		}
	}
}

// Whoever is moved is told of as one: there is no batch in which it is nobody's.
func TestWhatMovesIsNeverGone(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(parsed(t, ingress("web", "sluice", "web.example", "Prefix / web")))
	s.put(namespace("shop", "acme.prod", 1))
	w := begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true})
	host := func(of string) func() bool {
		return func() bool { return strings.Contains(w.all(), "ingresses/-"+of+"/web.example") }
	}
	w.await("the host of acme/prod", host("acme.prod"))
	var gone []string
	together := false
	w.watch(func(b discovery.Batch) {
		keys := make(map[string]bool)
		for _, u := range b.Updates {
			keys[u.Key] = true
			if u.Gone {
				gone = append(gone, u.Key)
			}
		}
		together = together || keys["ingresses/-acme.prod/web.example"] && keys["ingresses/-acme.test/web.example"] && keys["pods/shop/Pod/a"]
	})
	s.put(namespace("shop", "acme.test", 1))
	w.await("the host of acme/test", host("acme.test"))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !together || !slices.Equal(gone, []string{"ingresses/-acme.prod/web.example"}) {
		t.Errorf("told in one: %t, gone: %v, want the host alone, which has another key now", together, gone)
	}
	if strings.Contains(w.all(), "acme/prod") {
		t.Errorf("something stays behind: %s", w.all())
	}
}

func TestWhoseNamespacesAre(t *testing.T) {
	t.Parallel()
	type spaces = []*metav1.PartialObjectMetadata
	for _, tt := range []struct {
		name string
		o    kubernetes.Options
		are  spaces
		want string
	}{
		{"a flag wins", kubernetes.Options{Environments: map[string]string{"shop": "acme/prod"}}, spaces{namespace("shop", "acme.test", 1)}, "shop=acme/prod; homes acme/prod=shop"},
		{"the oldest is the home", kubernetes.Options{}, spaces{namespace("a", "acme.prod", 2), namespace("b", "acme.prod", 1)}, "a=acme/prod b=acme/prod; homes acme/prod=b"},
		{"of one age the first by name is", kubernetes.Options{}, spaces{namespace("b", "acme.prod", 1), namespace("a", "acme.prod", 1)}, "a=acme/prod b=acme/prod; homes acme/prod=a"},
		{
			"one that is named is the home, whatever its age",
			kubernetes.Options{Environments: map[string]string{"c": "acme/prod"}},
			spaces{namespace("a", "acme.prod", 1), namespace("c", "-", 3)},
			"a=acme/prod c=acme/prod; homes acme/prod=c",
		},
		{"a label that names whoever runs it says nothing new", kubernetes.Options{Namespace: "acme/prod"}, spaces{namespace("a", "acme.prod", 1), namespace("b", "a.b", 1)}, "b=a/b; homes a/b=b"},
		{"none is read of namespaces that are named", kubernetes.Options{Namespaces: []string{"a"}, Environments: map[string]string{"b": "a/b"}}, spaces{namespace("a", "acme.prod", 1)}, "b=a/b; homes a/b=b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := shop(t)
			for _, one := range tt.are {
				s.put(one)
			}
			seen := &shown{}
			tt.o.Client, tt.o.NamespaceLabels, tt.o.Places = s.client(t), true, seen.put
			begin(t, tt.o)
			await(t, seen.String, tt.want)
			if s.mu.Lock(); (s.asked["namespaces"] > 0) != (tt.o.Namespaces == nil) {
				t.Errorf("namespaces were asked for %d times", s.asked["namespaces"])
			}
			s.mu.Unlock()
		})
	}
}

// A label that cannot be read changes nothing, and is told.
func TestALabelThatNamesNobodyIsTold(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(namespace("shop", "acme.prod", 1))
	s.put(namespace("web", "web", 1))
	w := begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true})
	w.awaits("configmaps/shop/m/gateway.yaml of acme/prod from-map, namespaces/web, " + strings.SplitN(wants("acme/prod"), ", ", 2)[1])
	s.put(namespace("shop", "acme.PROD", 1))
	fault := func() string {
		u := w.state["namespaces/shop"]
		if len(u.Faults) != 1 {
			return ""
		}
		return u.Faults[0].Error()
	}
	w.await("the fault", func() bool { return fault() != "" })
	w.mu.Lock()
	if got := fault(); !strings.Contains(got, `namespaces/shop`) || !strings.Contains(got, `"acme.PROD"`) || !strings.Contains(got, "is of acme/prod on") || !strings.Contains(got, "ORGANISATION.ENVIRONMENT") {
		t.Errorf("the fault is %q", got)
	}
	if u := w.state["pods/shop/Pod/a"]; u.Namespace != "acme/prod" {
		t.Errorf("what stands there is of %q", u.Namespace)
	}
	w.mu.Unlock()
	s.remove("namespaces", "web")
	s.put(namespace("shop", "acme.test", 1))
	w.awaits(wants("acme/test"))
}

// Of a namespace that is no more, word of what stood in it may come later.
func TestWhatStoodInANamespaceStaysWhoseItWas(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(namespace("shop", "acme.prod", 1))
	s.put(namespace("web", "acme.prod", 2))
	seen := &shown{}
	w := begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true, Places: seen.put})
	w.awaits(wants("acme/prod"))
	s.remove("namespaces", "shop")
	await(t, seen.String, "shop=acme/prod web=acme/prod; homes acme/prod=web")
	w.awaits(wants("acme/prod"))
	for _, one := range [][2]string{{"pods", "a"}, {"pods", "b"}, {"configmaps", "m"}, {kubernetes.GatewayResource, "g"}} {
		s.remove(one[0], one[1])
	}
	w.awaits("")
	await(t, seen.String, "web=acme/prod; homes acme/prod=web")
	s.put(runningPod("a", "a1"))
	s.put(namespace("shop", "-", 3))
	w.awaits("pods/shop/Pod/a a1:8080")
}

// await waits until something is as wanted.
func await(t *testing.T, is func() string, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); is() != want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it is %q, want %q", is(), want)
		}
	}
}

// What labels said is remembered, as what stands there is.
func TestLabelsAreRemembered(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(parsed(t, ingress("web", "sluice", "web.example", "Prefix / web")))
	s.put(namespace("shop", "acme.prod", 1))
	s.put(namespace("web", "acme.prod", 0))
	file := filepath.Join(t.TempDir(), "cluster.json")
	w := begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true, File: file})
	w.await("the host", func() bool { return strings.Contains(w.all(), "ingresses/-acme.prod/web.example of acme/prod") })
	w.stop()
	s.refuse("", http.StatusInternalServerError)
	seen := &shown{}
	w = begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true, File: file, Patience: time.Millisecond, Places: seen.put})
	w.await("what was known", func() bool { return strings.Contains(w.all(), "ingresses/-acme.prod/web.example of acme/prod") })
	await(t, seen.String, "shop=acme/prod web=acme/prod; homes acme/prod=web")
	w.mu.Lock()
	for key, u := range w.state {
		if u.Namespace != "acme/prod" {
			t.Errorf("%s is of %q", key, u.Namespace)
		}
	}
	w.mu.Unlock()
	// Meanwhile one lost its label, and the other was deleted.
	s.put(namespace("shop", "-", 1))
	s.remove("namespaces", "web")
	s.refuse("", 0)
	w.await("what is now", func() bool {
		return strings.Contains(w.all(), "ingresses/-/web.example") && !strings.Contains(w.all(), "acme")
	})
	await(t, seen.String, "; homes ")
	w.stop()
	// Who does not ask for labels is not told by what they said.
	s.put(namespace("shop", "acme.prod", 1))
	w = begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true, File: file})
	w.await("the label", func() bool { return strings.Contains(w.all(), "of acme/prod") })
	w.stop()
	s.refuse("", http.StatusInternalServerError)
	w = begin(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond})
	w.awaits(shopTold)
}

// Without the right to see them, all counts as if there were no labels; what was
// seen of them stays.
func TestLabelsNeedARight(t *testing.T) {
	t.Parallel()
	s := shop(t)
	s.put(namespace("shop", "acme.prod", 1))
	s.refuse("namespaces", http.StatusForbidden)
	w := begin(t, kubernetes.Options{Client: s.client(t), NamespaceLabels: true, Patience: time.Hour})
	w.awaits(shopTold)
	one := w.watches("namespaces", "denied", stale)
	if want := `the role lacks the rule apiGroups [""], resources ["namespaces"], verbs [list, watch]`; !strings.Contains(one.Err.Error(), want) {
		t.Errorf("the error is %v, want %s in it", one.Err, want)
	}
	s.refuse("namespaces", 0)
	w.awaits(wants("acme/prod"))
	s.refuse("namespaces", http.StatusForbidden)
	w.watches("namespaces", "denied", stale)
	s.forget("namespaces")
	s.refuse("namespaces", 0)
	w.watches("namespaces", "held back", func(one kubernetes.Watch) bool { return one.Held == 1 && fresh(one) })
	w.awaits(wants("acme/prod"))
}

// A label is read if its value is a pair of names and nothing else, and says the
// same when it is written again.
func FuzzParseEnvironment(f *testing.F) {
	for _, value := range []string{"acme.prod", "acme", "a.b.c", ".", "a.", ".b", "A.b", "a/b.c", "-a.b-", "a b.c", "ä.b", strings.Repeat("a", 63) + ".b", strings.Repeat("a", 64) + ".b"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		of, ok := kubernetes.ParseEnvironment(value)
		if !ok {
			if of != "" {
				t.Errorf("%q is refused as %q", value, of)
			}
			return
		}
		organisation, environment, _ := strings.Cut(of, "/")
		if organisation+"."+environment != value {
			t.Errorf("%q is read as %q", value, of)
		}
		for _, part := range []string{organisation, environment} {
			if len(part) < 1 || len(part) > 63 || strings.ContainsFunc(part, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-", r) }) {
				t.Errorf("%q is read as %s", value, fmt.Sprintf("%q", of))
			}
		}
	})
}
