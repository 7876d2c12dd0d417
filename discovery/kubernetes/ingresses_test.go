// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// parsed reads an Ingress.
func parsed(t *testing.T, text string) *networkingv1.Ingress {
	t.Helper()
	return read(t, []byte(text), new(networkingv1.Ingress))
}

func ingressClass(called, controller string, byDefault bool) *networkingv1.IngressClass {
	return &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: called, Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: strconv.FormatBool(byDefault)}},
		Spec:       networkingv1.IngressClassSpec{Controller: controller},
	}
}

// keysOf writes what updates are about: the key, "-" before it if it is gone,
// and behind it how many documents it has, or keeps, and how many faults.
func keysOf(updates []discovery.Update) string {
	var all []string
	for _, u := range updates {
		text := u.Key
		switch {
		case u.Gone:
			text = "-" + text
		case u.Held != nil:
			text += fmt.Sprintf(" held %d", len(u.Kept))
		case len(u.Documents) > 0:
			text += fmt.Sprintf(" %d", len(u.Documents))
		case len(u.Faults) > 0:
			text += fmt.Sprintf(" !%d", len(u.Faults))
		}
		if u.Namespace != "" {
			text += " of " + u.Namespace
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func TestIngressesTellWhatChanges(t *testing.T) {
	c := services()
	x := kubernetes.NewIngresses(c, "")
	a, b := parsed(t, ingress("a", "sluice", "a.test", "Prefix / web")), parsed(t, ingress("b", "sluice", "a.test", "Prefix /b other"))
	apart := parsed(t, strings.Replace(ingress("c", "sluice", "a.test", "Prefix / web"), "namespace: shop", "namespace: apart", 1))
	missing := parsed(t, ingress("d", "sluice", "d.test", "Prefix / late"))
	crowned := parsed(t, secured(ingress("e", "sluice", "e.test", "Prefix / web"), "tls: []"))
	secret := tlsSecret(t, "tls", "e.test")
	renewed := tlsSecret(t, "tls", "e.test")
	broken := renewed.DeepCopy()
	broken.Data["tls.crt"] = nil
	since := &discovery.Held{Since: time.Unix(1, 0), Until: time.Unix(61, 0)}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"one comes", func() { x.Put(a) }, "ingresses/-/a.test 1; ingresses/shop/a"},
		{"it comes again", func() { x.Put(a.DeepCopy()) }, ""},
		{"another is added to its host", func() { x.Put(b) }, "ingresses/-/a.test 1; ingresses/shop/b"},
		{"one of another environment is another gateway, and its Service another's", func() { x.Put(apart) }, "ingresses/-acme.apart/a.test 1 of acme/apart; ingresses/apart/c !1"},
		{"it goes", func() { x.Delete("apart", "c") }, "-ingresses/-acme.apart/a.test; -ingresses/apart/c"},
		{"one goes", func() { x.Delete("shop", "b") }, "ingresses/-/a.test 1; -ingresses/shop/b"},
		{"one whose Service is missing", func() { x.Put(missing) }, "ingresses/-/d.test 1; ingresses/shop/d !1"},
		{"its Service leads nowhere", func() { c.PutSlice(endpointSlice("late", 8080)) }, ""},
		{"it is there", func() { c.PutService(serviceNamed("late")) }, "ingresses/-/d.test 1; ingresses/shop/d"},
		{"it leads to another port", func() { c.PutSlice(endpointSlice("late", 8081)) }, "ingresses/-/d.test 1"},
		{"a Service that nobody asked for changes", func() { c.PutSlice(endpointSlice("deep", 8081)) }, ""},
		{"one whose Secret is missing", func() { x.Put(crowned) }, "ingresses/-/e.test 1; ingresses/shop/e !1"},
		{"its Secret is there", func() { x.PutSecret(secret) }, "ingresses/-/e.test 1; ingresses/shop/e; secrets/shop/tls"},
		{"the Secret comes again", func() { x.PutSecret(secret.DeepCopy()) }, ""},
		{"it is renewed", func() { x.PutSecret(renewed) }, "secrets/shop/tls"},
		{"it is of no use: its last good form stays", func() { x.PutSecret(broken) }, "ingresses/shop/e !1"},
		{"it is good again", func() { x.PutSecret(renewed) }, "ingresses/shop/e"},
		{"it goes", func() { x.DeleteSecret("shop", "tls") }, "ingresses/-/e.test 1; ingresses/shop/e !1; -secrets/shop/tls"},
		{"an absence is held back", func() { x.Hold("shop", "a", since) }, "ingresses/-/a.test held 1"},
		{"it is not any more", func() { x.Hold("shop", "a", nil) }, "ingresses/-/a.test 1"},
		{"the class turns out to be another's", func() { x.PutClass(ingressClass("sluice", "other", false)) }, "-ingresses/-/a.test; -ingresses/-/d.test; -ingresses/-/e.test; -ingresses/shop/a; -ingresses/shop/d; -ingresses/shop/e"},
	} {
		step.do()
		if got := keysOf(x.Take()); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

func TestIngressesAreShown(t *testing.T) {
	x := kubernetes.NewIngresses(services(), "")
	a := parsed(t, ingress("a", "sluice", "a.test", "Prefix / web"))
	a.UID, a.Generation = "1", 1
	show := func() string {
		x.Take()
		var all []string
		for _, key := range slices.Sorted(maps.Keys(x.Shown)) {
			o := x.Shown[key]
			all = append(all, fmt.Sprintf("%s %s %d %v %d", key, o.UID, o.Generation, o.Keys, len(o.Addresses)))
		}
		return strings.Join(all, "; ")
	}
	x.Put(a)
	x.Put(parsed(t, ingress("b", "other", "b.test", "Prefix / web")))
	if got, want := show(), "ingresses/shop/a 1 1 [ingresses/shop/a ingresses/-/a.test] 0"; got != want {
		t.Errorf("shown is %q, want %q", got, want)
	}
	// Its status is written, which changes nothing of what is told.
	a = a.DeepCopy()
	a.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.1"}}
	x.Put(a)
	if got := keysOf(x.Take()); got != "" {
		t.Errorf("a new status tells %q, want nothing", got)
	}
	if got, want := show(), "ingresses/shop/a 1 1 [ingresses/shop/a ingresses/-/a.test] 1"; got != want {
		t.Errorf("shown is %q, want %q", got, want)
	}
	x.Delete("shop", "a")
	if got := show(); got != "" {
		t.Errorf("shown is %q, want nothing", got)
	}
}

func TestIngressClasses(t *testing.T) {
	const ours = kubernetes.IngressController
	for _, tt := range []struct {
		name, class string // the class that is asked for
		classes     []*networkingv1.IngressClass
		of          string // the class of the Ingress; empty for none
		want        bool
	}{
		{"a class of our controller is ours", "", []*networkingv1.IngressClass{ingressClass("edge", ours, false)}, "edge", true},
		{"one of another is not", "", []*networkingv1.IngressClass{ingressClass("edge", "nginx", false)}, "edge", false},
		{"one without object is not", "", nil, "edge", false},
		{"but by its name", "", nil, "sluice", true},
		{"no class is not ours", "", []*networkingv1.IngressClass{ingressClass("edge", ours, false)}, "", false},
		{"but by default", "", []*networkingv1.IngressClass{ingressClass("edge", ours, true)}, "", true},
		{"another's default is not ours", "", []*networkingv1.IngressClass{ingressClass("edge", "nginx", true)}, "", false},
		{"of several, the one that is asked for", "two", []*networkingv1.IngressClass{ingressClass("one", ours, true), ingressClass("two", ours, false)}, "two", true},
		{"and no other", "two", []*networkingv1.IngressClass{ingressClass("one", ours, true), ingressClass("two", ours, false)}, "one", false},
		{"not even by default", "two", []*networkingv1.IngressClass{ingressClass("one", ours, true), ingressClass("two", ours, false)}, "", false},
		{"the one that is asked for needs no object", "two", nil, "two", true},
		{"but must not be another's", "two", []*networkingv1.IngressClass{ingressClass("two", "nginx", false)}, "two", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := kubernetes.NewIngresses(services(), tt.class)
			i := parsed(t, ingress("a", tt.of, "a.test", "Prefix / web"))
			if tt.of == "" {
				i.Spec.IngressClassName = nil
			}
			x.Put(i)
			for _, c := range tt.classes {
				x.PutClass(c)
			}
			if got := len(x.Take()) > 0; got != tt.want {
				t.Errorf("it is ours: %v, want %v", got, tt.want)
			}
		})
	}
}

// listed returns what a source tells up to the end of its first listing, by
// key.
func listed(t *testing.T, o kubernetes.Options) map[string]discovery.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(map[string]discovery.Update)
	err := kubernetes.New(o).Run(ctx, func(b discovery.Batch) {
		for _, u := range b.Updates {
			told[u.Key] = u
		}
		if b.Listed {
			cancel()
		}
	})
	if err != nil {
		t.Errorf("Run() = %v", err)
	}
	return told
}

func TestSourceTellsOfIngressesAndSecrets(t *testing.T) {
	s := newServer(t)
	s.put(serviceNamed("web"))
	s.put(endpointSlice("web", 8080))
	s.put(ingressClass("edge", kubernetes.IngressController, true))
	i := parsed(t, secured(ingress("a", "edge", "a.test", "Prefix / web"), "tls: []"))
	i.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "long"}
	s.put(i)
	s.put(tlsSecret(t, "tls", "a.test"))
	for _, tt := range []struct {
		name    string
		options kubernetes.Options
		want    string
	}{
		{"all is told", kubernetes.Options{}, "ingresses/-/a.test 1; ingresses/shop/a; secrets/shop/tls"},
		{"of one namespace", kubernetes.Options{Namespaces: []string{"shop"}}, "ingresses/-/a.test 1; ingresses/shop/a; secrets/shop/tls"},
		{"of another", kubernetes.Options{Namespaces: []string{"other"}}, ""},
		{"without Ingresses", kubernetes.Options{IngressClass: kubernetes.NoIngress}, "secrets/shop/tls"},
		{"without Secrets", kubernetes.Options{WithoutSecrets: true}, "ingresses/-/a.test 1; ingresses/shop/a !1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Client = s.client(t)
			var updates []discovery.Update
			told := listed(t, tt.options)
			for _, key := range slices.Sorted(maps.Keys(told)) {
				if strings.HasPrefix(key, "ingresses/") || strings.HasPrefix(key, "secrets/") {
					updates = append(updates, told[key])
				}
			}
			if got := keysOf(updates); got != tt.want {
				t.Errorf("told is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSecretsAreNotRememberedInAFile(t *testing.T) {
	s := newServer(t)
	s.put(serviceNamed("web"))
	s.put(parsed(t, ingress("a", "sluice", "a.test", "Prefix / web")))
	secret := tlsSecret(t, "tls", "a.test")
	s.put(secret)
	file := filepath.Join(t.TempDir(), "memory.json")
	listed(t, kubernetes.Options{Client: s.client(t), File: file})
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "ingresses/-/a.test") {
		t.Errorf("the file does not have the Ingress: %v", err)
	}
	for _, wrong := range []string{"PRIVATE KEY", "secrets/shop/tls", base64.StdEncoding.EncodeToString(secret.Data["tls.key"])[:40]} {
		if strings.Contains(string(text), wrong) {
			t.Errorf("the file has %q", wrong)
		}
	}
	// A start without API server tells of the Ingress all the same.
	s.refuse("", http.StatusServiceUnavailable)
	told := listed(t, kubernetes.Options{Client: s.client(t), File: file, Patience: time.Millisecond})
	if got := len(told["ingresses/-/a.test"].Documents); got != 1 {
		t.Errorf("after the start the host has %d gateways, want 1; told is %v", got, slices.Collect(maps.Keys(told)))
	}
}

// named returns the Secrets that what is told of a host names.
func named(u discovery.Update) string {
	var refs []string
	table, _ := routing.Resolve(u.Documents)
	for _, g := range table.Gateways {
		g.EachSecret(func(ref string) bool {
			refs = append(refs, ref)
			return true
		})
	}
	return strings.Join(slices.Compact(refs), " ")
}

// Proxies have the files of Secrets that served before a start: they are named
// as long as nobody can say that they are no more.
func TestSecretsThatServedStayNamedAfterAStart(t *testing.T) {
	t.Parallel()
	good, other := tlsSecret(t, "tls", "a.test"), tlsSecret(t, "other", "a.test")
	broken := good.DeepCopy()
	delete(broken.Data, "tls.key")
	for _, tt := range []struct {
		name    string
		before  bool             // it is remembered that the Secret served
		status  int              // how questions about Secrets are answered; 0 for well
		secret  *corev1.Secret   // that there is at the start
		named   bool             // whether it is named
		fault   string           // part of what is told of the Ingress
		serious routing.Severity // of that
	}{
		{"the right to list Secrets is missing", true, http.StatusForbidden, good, true, "cannot be seen", routing.Warning},
		{"it is missing, and nothing is remembered", false, http.StatusForbidden, good, true, "cannot be seen", routing.Warning},
		{"Secrets are not listed yet", true, http.StatusServiceUnavailable, good, true, "", 0},
		{"the Secret is broken", true, 0, broken, true, "has no tls.key", routing.Warning},
		{"it is broken, and nothing is remembered", false, 0, broken, false, "has no tls.key", routing.Refused},
		{"it is no more", true, 0, other, false, "there is no Secret", routing.Refused},
		{"there are none at all", true, 0, nil, true, "that is held back", routing.Warning},
		{"there are none, and nothing is remembered", false, 0, nil, false, "there is no Secret", routing.Refused},
		{"it is as it was", true, 0, good, true, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.put(serviceNamed("web"))
			s.put(endpointSlice("web", 8080))
			s.put(parsed(t, secured(ingress("a", "sluice", "a.test", "Prefix / web"), "tls: []")))
			s.put(good.DeepCopy())
			file := filepath.Join(t.TempDir(), "memory.json")
			if tt.before {
				listed(t, kubernetes.Options{Client: s.client(t), File: file})
			}
			if s.remove("secrets", "tls"); tt.secret != nil {
				s.put(tt.secret.DeepCopy())
			}
			s.refuse("secrets", tt.status)
			o := kubernetes.Options{Client: s.client(t), File: file, Patience: patience}
			if tt.status == http.StatusServiceUnavailable {
				o.Patience = time.Millisecond
			}
			told := listed(t, o)
			if got, want := named(told["ingresses/-/a.test"]), map[bool]string{true: "secret:shop/tls"}[tt.named]; got != want {
				t.Errorf("the host names %q, want %q", got, want)
			}
			faults := told["ingresses/shop/a"].Faults
			switch {
			case tt.fault == "" && len(faults) == 0:
			case tt.fault == "" || len(faults) != 1 || faults[0].Severity != tt.serious || !strings.Contains(faults[0].Error(), tt.fault):
				t.Errorf("the Ingress is told %v, want one about %q, %v", faults, tt.fault, tt.serious)
			}
		})
	}
}

// That there are no Secrets after a start is believed in time, or when it is
// confirmed, and not at all once there are some.
func TestAnEmptyListOfSecretsAfterAStartIsHeldBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		hold  time.Duration
		then  func(w *watching, s *server)
		named string
	}{
		{"its time is over", 50 * time.Millisecond, func(*watching, *server) {}, ""},
		{"it is confirmed", time.Hour, func(w *watching, _ *server) { w.source.Confirm() }, ""},
		{"they come back", time.Hour, func(_ *watching, s *server) { s.put(tlsSecret(t, "tls", "a.test")) }, "secret:shop/tls"},
		{"others come, and all are listed anew", time.Hour, func(_ *watching, s *server) {
			s.put(tlsSecret(t, "other", "a.test"))
			s.expire()
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.put(serviceNamed("web"))
			s.put(endpointSlice("web", 8080))
			s.put(parsed(t, secured(ingress("a", "sluice", "a.test", "Prefix / web"), "tls: []")))
			s.put(tlsSecret(t, "tls", "a.test"))
			file := filepath.Join(t.TempDir(), "memory.json")
			listed(t, kubernetes.Options{Client: s.client(t), File: file})
			s.forget("secrets")
			w := begin(t, kubernetes.Options{Client: s.client(t), File: file, Hold: tt.hold})
			if tt.hold == time.Hour {
				w.await("the held absence", func() bool {
					faults := w.state["ingresses/shop/a"].Faults
					return len(faults) == 1 && strings.Contains(faults[0].Error(), "that is held back")
				})
				w.watches("secrets", "held back", func(one kubernetes.Watch) bool { return one.Held == 1 })
			}
			tt.then(w, s)
			w.await("what becomes of it", func() bool {
				faults := w.state["ingresses/shop/a"].Faults
				if held := len(faults) > 0 && strings.Contains(faults[0].Error(), "that is held back"); held {
					return false
				}
				return named(w.state["ingresses/-/a.test"]) == tt.named && (tt.named == "") == (len(faults) > 0)
			})
		})
	}
}

// A host is of Ingresses of any namespace that is watched, so that each of their
// lists has to say that it is no more.
func TestHostsOutlastTheRightToListIngresses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.put(serviceNamed("web"))
	s.put(endpointSlice("web", 8080))
	s.put(parsed(t, ingress("a", "sluice", "a.test", "Prefix / web")))
	o := kubernetes.Options{
		Client: s.client(t), Namespaces: []string{"shop", "web"}, Patience: patience,
		File: filepath.Join(t.TempDir(), "memory.json"),
	}
	listed(t, o)
	s.refuse("ingresses", http.StatusForbidden)
	for start := range 3 { // each remembers what the one before did
		u := listed(t, o)["ingresses/-/a.test"]
		if u.Held != nil || len(u.Documents) != 1 {
			t.Errorf("start %d: the host has %d documents, and is held back: %v; want one as it was", start, len(u.Documents), u.Held)
		}
	}
	s.refuse("ingresses", 0)
	s.remove("ingresses", "a")
	if u := listed(t, o)["ingresses/-/a.test"]; u.Held == nil || len(u.Kept) != 1 {
		t.Errorf("of a list that is empty the host is not held back: %+v", u)
	}
	s.put(parsed(t, ingress("b", "sluice", "b.test", "Prefix / web")))
	if u := listed(t, o)["ingresses/-/a.test"]; len(u.Documents)+len(u.Kept) != 0 {
		t.Errorf("of a list that has others the host is there: %+v", u)
	}
}

// What stays named because nobody sees Secrets is judged once somebody does.
func TestSecretsThatAreSeenAtLastAreJudged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.put(serviceNamed("web"))
	s.put(endpointSlice("web", 8080))
	s.put(parsed(t, secured(ingress("a", "sluice", "a.test", "Prefix / web"), "tls: []")))
	s.refuse("secrets", http.StatusForbidden)
	w := begin(t, kubernetes.Options{Client: s.client(t), Patience: patience})
	host := func() string { return named(w.state["ingresses/-/a.test"]) }
	w.await("a host whose Secret nobody sees", func() bool { return host() == "secret:shop/tls" })
	s.refuse("secrets", 0)
	w.await("a host without Secret", func() bool { return host() == "" && len(w.state["ingresses/shop/a"].Faults) == 1 })
	s.put(tlsSecret(t, "tls", "a.test"))
	w.await("a host with its Secret", func() bool { return host() == "secret:shop/tls" && len(w.state["ingresses/shop/a"].Faults) == 0 })
}

// BenchmarkIngressChange changes one of a thousand Ingresses, of two rules each.
func BenchmarkIngressChange(b *testing.B) {
	x := kubernetes.NewIngresses(services(), "")
	for n := range 1000 {
		x.Put(made(fmt.Sprintf("i%d", n), fmt.Sprintf("h%d.test", n), "/"))
	}
	x.Take()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		x.Put(made("i7", "h7.test", fmt.Sprintf("/%d", n)))
		if len(x.Take()) == 0 {
			b.Fatal("nothing is told")
		}
	}
}

// made is an Ingress of two paths.
func made(called, host, path string) *networkingv1.Ingress {
	class, prefix := "sluice", networkingv1.PathTypePrefix
	to := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Name: "http"}}}
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: called},
		Spec: networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{{
			Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{
				{Path: path, PathType: &prefix, Backend: to}, {Path: path + "/more", PathType: &prefix, Backend: to},
			}}},
		}}},
	}
}
