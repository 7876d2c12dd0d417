// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// NoIngress is the class that turns Ingresses off.
const NoIngress = "none"

// defaultClass is the class that counts by its name where classes cannot be
// read.
const defaultClass = "sluice"

// ingresses is what is known of Ingresses and of what they name, and what of
// it was told. It does no I/O and is not safe for concurrent use.
type ingresses struct {
	cluster *cluster
	places  *places // whose Ingresses are
	class   string  // the one that is ours; empty for all of our controller
	show    func(o IngressObject, gone bool)

	objects map[name]*networkingv1.Ingress
	classes map[name]*ingressClass
	secrets map[name]*tlsSecret
	held    map[name]*discovery.Held // Ingresses whose absence is held back
	lists   []*watched               // those of Secrets
	listed  int                      // how many of them were listed when it was read
	served  map[name]bool            // Secrets that hosts named before the start
	absent  map[name]bool            // those of them whose absence is held back

	stale bool             // something has changed since it was read
	ways  uint64           // those of the cluster when it was read
	moves uint64           // those of places then
	seen  map[lookUp]found // what was looked up then
	texts texts            // of hosts, by key
	told  map[string]fared // by key of the Ingress
	shown map[name]IngressObject
	news  waiting
}

// lookUp is a port of a Service.
type lookUp struct {
	service name
	port    networkingv1.ServiceBackendPort
}

// found is what a lookUp came to.
type found struct {
	numbers  []int
	is       bool
	external bool
}

// fared is what was told of an Ingress.
type fared struct {
	generation int64
	faults     []*routing.Fault
}

// ingressClass is what counts of an IngressClass.
type ingressClass struct {
	ours, byDefault bool
}

// IngressObject is an Ingress that is ours, for whoever writes its status and
// tells it what is wrong. It is not changed once it was handed on.
type IngressObject struct {
	Namespace, Name string
	UID             types.UID
	Generation      int64
	// Keys are those of the updates about it: its own, and those of its hosts.
	Keys []string
	// Addresses are those in its status, as it was written last.
	Addresses []networkingv1.IngressLoadBalancerIngress
}

// Key is that of the updates about the Ingress alone.
func (o IngressObject) Key() string { return ingressKey(name{o.Namespace, o.Name}) }

func newIngresses(c *cluster, p *places, class string, show func(IngressObject, bool)) *ingresses {
	if show == nil {
		show = func(IngressObject, bool) {}
	}
	return &ingresses{
		cluster: c, places: p, class: class, show: show,
		objects: make(map[name]*networkingv1.Ingress), classes: make(map[name]*ingressClass),
		secrets: make(map[name]*tlsSecret), held: make(map[name]*discovery.Held), served: make(map[name]bool), absent: make(map[name]bool),
		seen: make(map[lookUp]found), texts: make(texts), told: make(map[string]fared),
		shown: make(map[name]IngressObject), news: make(waiting),
	}
}

// readIngress cuts an Ingress to what counts.
func readIngress(i *networkingv1.Ingress) *networkingv1.Ingress {
	cut := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: i.Namespace, Name: i.Name, UID: i.UID,
			Generation: i.Generation, CreationTimestamp: i.CreationTimestamp,
		},
		Spec: i.Spec, Status: i.Status,
	}
	for key, value := range i.Annotations {
		if key == classAnnotation || strings.HasPrefix(key, nginxPrefix) {
			metav1.SetMetaDataAnnotation(&cut.ObjectMeta, key, value)
		}
	}
	return cut
}

// readClass cuts an IngressClass to what counts.
func readClass(c *networkingv1.IngressClass) *ingressClass {
	return &ingressClass{
		ours:      c.Spec.Controller == IngressController,
		byDefault: c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true",
	}
}

// setIngress takes note of an Ingress as it is now, nil if it is no more.
func (x *ingresses) setIngress(n name, i *networkingv1.Ingress) {
	was := x.objects[n]
	if i == nil {
		delete(x.objects, n)
		x.stale = x.stale || was != nil
		return
	}
	x.objects[n] = i
	if was == nil || was.UID != i.UID || !was.CreationTimestamp.Equal(&i.CreationTimestamp) ||
		!maps.Equal(was.Annotations, i.Annotations) || !reflect.DeepEqual(was.Spec, i.Spec) {
		x.stale = true
		return
	}
	if o, ours := x.shown[n]; ours {
		o.Generation, o.Addresses = i.Generation, i.Status.LoadBalancer.Ingress
		x.tellFared(n, x.told[o.Key()].faults, o.Generation)
		x.present(n, o)
	}
}

// setClass takes note of an IngressClass as it is now, nil if it is no more.
func (x *ingresses) setClass(n name, c *ingressClass) {
	if was := x.classes[n]; was != nil && c != nil && *was == *c {
		return
	}
	x.stale = true
	if c == nil {
		delete(x.classes, n)
	} else {
		x.classes[n] = c
	}
}

// setSecret takes note of a Secret as it is now, nil if it is no more. The last
// good form of one that cannot be used any more serves on.
func (x *ingresses) setSecret(n name, s *tlsSecret) {
	was := x.secrets[n]
	key := "secrets/" + n.String()
	if s == nil {
		delete(x.secrets, n)
		delete(x.served, n)
		delete(x.absent, n)
		x.stale = true
		if was != nil && was.Secret != nil {
			x.news.add(discovery.Update{Key: key, Gone: true})
		}
		return
	}
	if s.problem != "" && was != nil {
		s.Secret, s.names, s.ips, s.notAfter = was.Secret, was.names, was.ips, was.notAfter
	}
	x.secrets[n] = s
	if was != nil && routing.SameSecret(was.Secret, s.Secret) {
		s.Secret = was.Secret
		if was.problem == s.problem {
			return
		}
	}
	x.stale = true
	if s.Secret != nil && (was == nil || s.Secret != was.Secret) {
		x.news.add(discovery.Update{Key: key, Secrets: []*routing.Secret{s.Secret}})
	}
}

// withhold takes note that the absence of an Ingress is held back, nil that it
// is not any more.
func (x *ingresses) withhold(n name, held *discovery.Held) {
	x.stale = true
	if held == nil {
		delete(x.held, n)
	} else {
		x.held[n] = held
	}
}

// withholdSecret takes note that the absence of a Secret is held back, nil that it
// is not any more.
func (x *ingresses) withholdSecret(n name, held *discovery.Held) {
	if x.secrets[n] != nil {
		return // it is served as it was seen
	}
	x.stale = true
	if held == nil {
		delete(x.absent, n)
	} else {
		x.absent[n] = true
	}
}

// ports implements surroundings.
func (x *ingresses) ports(service name, port networkingv1.ServiceBackendPort) (numbers []int, is bool) {
	f := x.find(lookUp{service, port})
	x.seen[lookUp{service, port}] = f
	return f.numbers, f.is
}

// external implements surroundings.
func (x *ingresses) external(service name) bool {
	s := x.cluster.services[service]
	return s != nil && s.external != ""
}

// secret implements surroundings. One that served before the start and is of no
// use now serves on from the files of proxies, and so may one that nobody sees.
func (x *ingresses) secret(n name) *tlsSecret {
	s := x.secrets[n]
	switch {
	case s == nil && slices.ContainsFunc(x.lists, func(w *watched) bool { return !w.listed && w.covers(n.namespace) }):
		return &tlsSecret{problem: "cannot be seen: Secrets of its namespace could not be listed since the start", filed: true}
	case s == nil && x.absent[n] && x.served[n]:
		return &tlsSecret{problem: "is in no list since the start, where there is none at all: that is held back", filed: true}
	case s == nil:
		delete(x.served, n)
	case s.Secret == nil && x.served[n]:
		return &tlsSecret{problem: s.problem, filed: true}
	}
	return s
}

// recall takes note of what was told of hosts before the start.
func (x *ingresses) recall(docs []*routing.Document) {
	table, _ := routing.Resolve(docs)
	for _, g := range table.Gateways {
		g.EachSecret(func(ref string) bool {
			if namespace, called, ok := routing.SecretOf(ref); ok {
				x.served[name{namespace, called}] = true
			}
			return true
		})
	}
}

// looked returns how many lists of Secrets were taken in.
func (x *ingresses) looked() (n int) {
	for _, w := range x.lists {
		if w.listed {
			n++
		}
	}
	return n
}

func (x *ingresses) find(l lookUp) found {
	f := found{external: x.external(l.service)}
	f.numbers, f.is = x.cluster.ports(l.service, l.port)
	return f
}

// moved reports whether a look-up comes to something else by now.
func (x *ingresses) moved() bool {
	for l, before := range x.seen {
		if now := x.find(l); now.is != before.is || now.external != before.external || !slices.Equal(now.numbers, before.numbers) {
			return true
		}
	}
	return false
}

// take returns what has changed since it was called last, sorted by key.
func (x *ingresses) take() []discovery.Update {
	if !x.stale && x.ways != x.cluster.ways {
		x.stale = x.moved()
	}
	x.ways = x.cluster.ways
	if x.moves != x.places.moves {
		x.moves, x.stale = x.places.moves, true
	}
	if n := x.looked(); n != x.listed {
		x.listed, x.stale = n, true
	}
	if x.stale {
		x.stale = false
		x.read()
	}
	return x.news.take()
}

// ours returns which Ingresses are ours: of the class that was named, or of
// all of our controller. A class of which there is no object counts by its
// name.
func (x *ingresses) ours() ingressClasses {
	classes := ingressClasses{ours: make(map[string]bool)}
	if c := x.classes[name{name: cmp.Or(x.class, defaultClass)}]; c == nil {
		classes.ours[cmp.Or(x.class, defaultClass)] = true
	}
	for n, c := range x.classes {
		if c.ours && (x.class == "" || x.class == n.name) {
			classes.ours[n.name] = true
			classes.byDefault = classes.byDefault || c.byDefault
		}
	}
	return classes
}

// read reads all Ingresses anew. Those of one namespace, organisation/environment,
// are read together.
func (x *ingresses) read() {
	clear(x.seen)
	lists := make(map[string][]*networkingv1.Ingress)
	for n, i := range x.objects {
		space := x.places.of(n.namespace)
		lists[space] = append(lists[space], i)
	}
	classes := x.ours()
	keys := make(map[name][]string) // of hosts, by Ingress
	faults := make(map[string][]*routing.Fault)
	texts := make(map[string]bool)
	for _, space := range slices.Sorted(maps.Keys(lists)) {
		reading := readIngresses(lists[space], classes, x)
		maps.Copy(faults, reading.Faults)
		for _, host := range slices.Sorted(maps.Keys(reading.Hosts)) {
			key := hostKey(space, host)
			texts[key] = true
			x.tellHost(key, space, reading.Hosts[host])
			for _, n := range reading.Hosts[host].Of {
				keys[n] = append(keys[n], key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(x.texts)) {
		if !texts[key] {
			u, _ := x.texts.drop(key)
			x.news.add(u)
		}
	}
	x.tellObjects(faults, keys)
}

// hostPlace begins the second part of the keys of hosts, as no name of a
// Kubernetes namespace does.
const hostPlace = "-"

// hostKey is the key of what is asked for of a host.
func hostKey(space, host string) string {
	return "ingresses/" + hostPlace + dotted(space) + "/" + host
}

// dotted writes a namespace, organisation/environment, without a slash.
func dotted(space string) string { return strings.Replace(space, "/", ".", 1) }

// spaceOfHost returns the part of a key that hostKey has written for the
// namespace; false if the key is none of a host.
func spaceOfHost(key string) (space string, ofHost bool) {
	rest, ofHost := strings.CutPrefix(key, "ingresses/"+hostPlace)
	space, _, _ = strings.Cut(rest, "/")
	return space, ofHost
}

// tellHost tells what is asked for of a host, if that is new.
func (x *ingresses) tellHost(key, space string, text ingressText) {
	u, changed := x.texts.set(key, text.Text)
	var held *discovery.Held
	for _, n := range text.Of {
		held = cmp.Or(x.held[n], held)
	}
	if v, also := x.texts.hold(key, held); also {
		u, changed = v, true
	}
	if changed {
		u.Namespace = space
		x.news.add(u)
	}
}

// tellObjects tells how Ingresses fare.
func (x *ingresses) tellObjects(faults map[string][]*routing.Fault, keys map[name][]string) {
	for n, i := range x.objects {
		o := IngressObject{Namespace: n.namespace, Name: n.name, UID: i.UID, Generation: i.Generation, Addresses: i.Status.LoadBalancer.Ingress}
		wrong, ours := faults[o.Key()]
		if !ours {
			continue
		}
		o.Keys = append([]string{o.Key()}, keys[n]...)
		x.tellFared(n, wrong, i.Generation)
		x.present(n, o)
	}
	for n, o := range x.shown {
		if _, ours := faults[o.Key()]; !ours {
			delete(x.shown, n)
			delete(x.told, o.Key())
			x.news.add(discovery.Update{Key: o.Key(), Gone: true})
			x.show(o, true)
		}
	}
}

// tellFared tells what is wrong with an Ingress, if that is new.
func (x *ingresses) tellFared(n name, faults []*routing.Fault, generation int64) {
	key := ingressKey(n)
	before, told := x.told[key]
	same := slices.EqualFunc(before.faults, faults, func(a, b *routing.Fault) bool { return *a == *b })
	if told && same && before.generation == generation {
		return
	}
	if same {
		faults = before.faults
	}
	x.told[key] = fared{generation, faults}
	x.news.add(discovery.Update{Key: key, Generation: generation, Faults: faults})
}

// present shows an Ingress that is ours, if it differs from what was shown.
func (x *ingresses) present(n name, o IngressObject) {
	if before, known := x.shown[n]; known && reflect.DeepEqual(before, o) {
		return
	}
	x.shown[n] = o
	x.show(o, false)
}
