// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// newGroup returns a group of which nothing is watched yet.
func newGroup(prefixes ...string) *group {
	return &group{
		prefixes: prefixes, remembered: make(map[string]discovery.Update), recalled: make(map[string]string), held: make(map[string]discovery.Update),
	}
}

// namespaces is the group of what says whose all the rest is. Nothing of it is
// watched where labels do not count.
func (s *Source) namespaces() *group {
	g := newGroup("namespaces/")
	p := s.places
	g.take = p.news.take
	if !s.labels() {
		return g
	}
	p.warn = func(f *routing.Fault) {
		s.o.Log.Warn("a Kubernetes namespace is not that of the environment that it should be", "error", f)
	}
	w := newWatched(s, resource{name: "namespaces"}, metav1.NamespaceAll, s.o.Client.Metadata.Resource(namespaces), metav1.ListOptions{},
		&metav1.PartialObjectMetadata{}, readNamespace, newShelf(p.set, unheld))
	w.seen = p.listed
	g.watched = append(g.watched, w)
	return g
}

// labels reports whether labels say whose Kubernetes namespaces are.
func (s *Source) labels() bool { return s.o.NamespaceLabels && len(s.o.Namespaces) == 0 }

// namespaces are those of Kubernetes. Of them, no more is asked for than what
// every object has.
var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// instances is the group of what runs.
func (s *Source) instances() *group {
	g := newGroup("pods/", "services/")
	c := s.cluster
	s.eachNamespace(func(ns string) {
		api := s.o.Client.API
		parts := newWatched(s, resource{"discovery.k8s.io", "endpointslices"}, ns, api.DiscoveryV1().EndpointSlices(ns), metav1.ListOptions{},
			&discoveryv1.EndpointSlice{}, readSlice, newShelf(c.setSlice, c.withhold(ofSlices)))
		c.unsliced[ns] = true
		parts.seen = func() { c.sliced(ns) }
		g.watched = append(
			g.watched,
			newWatched(s, resource{name: "pods"}, ns, api.CoreV1().Pods(ns), metav1.ListOptions{},
				&corev1.Pod{}, readPod, newShelf(c.setPod, c.withhold(ofPods))),
			newWatched(s, resource{name: "services"}, ns, api.CoreV1().Services(ns), metav1.ListOptions{},
				&corev1.Service{}, readService, newShelf(c.setService, c.withhold(ofServices))),
			parts,
			newWatched(s, resource{"apps", "replicasets"}, ns, s.o.Client.Metadata.Resource(replicaSets).Namespace(ns), metav1.ListOptions{},
				&metav1.PartialObjectMetadata{}, readReplicaSet, newShelf(c.setReplicaSet, unheld)),
		)
	})
	g.take = c.take
	return g
}

// replicaSets are what pods of Deployments are controlled by. Of them, no more
// is asked for than what every object has.
var replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}

// unheld takes note of no absence: what is held back of it is not told.
func unheld(name, *discovery.Held) {}

// waiting is what is to be told of objects, the newest of each.
type waiting map[string]discovery.Update

func (w waiting) add(updates ...discovery.Update) {
	for _, u := range updates {
		w[u.Key] = u
	}
}

// take returns what waits, sorted by key.
func (w waiting) take() []discovery.Update {
	var updates []discovery.Update
	for _, key := range slices.Sorted(maps.Keys(w)) {
		updates = append(updates, w[key])
	}
	clear(w)
	return updates
}

// configMaps is the group of the artifacts in ConfigMaps.
func (s *Source) configMaps() *group {
	g := newGroup("configmaps/")
	g.asks = true
	m := newConfigMaps()
	news := make(waiting)
	only := metav1.ListOptions{LabelSelector: LabelGateways + "=true"}
	s.eachNamespace(func(ns string) {
		g.watched = append(g.watched, newWatched(s, resource{name: "configmaps"}, ns, s.o.Client.API.CoreV1().ConfigMaps(ns), only,
			&corev1.ConfigMap{}, readConfigMap, newShelf(
				func(n name, c *corev1.ConfigMap) { news.add(m.set(n, c)...) },
				func(n name, held *discovery.Held) { news.add(m.withhold(n, held)...) },
			)))
	})
	g.take, g.text = news.take, m.texts.data
	return g
}

// readConfigMap cuts a ConfigMap to what counts.
func readConfigMap(c *corev1.ConfigMap) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Labels: c.Labels}, Data: c.Data}
}

// gateways is the group of the objects that are gateways.
func (s *Source) gateways() *group {
	g := newGroup(GatewayResource + "/")
	g.asks = true
	objects := gatewayObjects{make(texts)}
	news := make(waiting)
	at := schema.GroupVersionResource{Group: GatewayGroup, Version: GatewayVersion, Resource: GatewayResource}
	s.eachNamespace(func(ns string) {
		g.watched = append(g.watched, newWatched(s, resource{GatewayGroup, GatewayResource}, ns, s.o.Client.Dynamic.Resource(at).Namespace(ns), metav1.ListOptions{},
			&unstructured.Unstructured{}, readGateway, newShelf(
				func(n name, o *gatewayState) {
					if u, changed := objects.set(n, o); changed {
						news.add(u)
					}
				},
				func(n name, held *discovery.Held) {
					if u, changed := objects.withhold(n, held); changed {
						news.add(u)
					}
				},
			)))
	})
	g.take, g.text = news.take, objects.texts.data
	return g
}

// ingresses is the group of Ingresses and of what they name. What a port of a
// Service leads to is known once what runs is.
func (s *Source) ingresses(instances *group) *group {
	g := newGroup("ingresses/", "secrets/")
	g.after = instances
	x := newIngresses(s.cluster, s.places, s.o.IngressClass, s.o.Ingress)
	if s.o.IngressClass != NoIngress {
		g.watched = append(g.watched, newWatched(s, resource{"networking.k8s.io", "ingressclasses"}, metav1.NamespaceAll, s.o.Client.API.NetworkingV1().IngressClasses(), metav1.ListOptions{},
			&networkingv1.IngressClass{}, readClass, newShelf(x.setClass, unheld)))
	}
	// Others than those with a certificate are not even sent here.
	only := metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeTLS)}
	var expected []func(n name)
	s.eachNamespace(func(ns string) {
		if s.o.IngressClass != NoIngress {
			g.watched = append(g.watched, newWatched(s, resource{"networking.k8s.io", "ingresses"}, ns, s.o.Client.API.NetworkingV1().Ingresses(ns), metav1.ListOptions{},
				&networkingv1.Ingress{}, readIngress, newShelf(x.setIngress, x.withhold)))
		}
		if !s.o.WithoutSecrets {
			on := newShelf(x.setSecret, x.withholdSecret)
			w := newWatched(s, resource{name: "secrets"}, ns, s.o.Client.API.CoreV1().Secrets(ns), only,
				&corev1.Secret{}, readSecret, on)
			x.lists = append(x.lists, w)
			expected = append(expected, func(n name) {
				if w.covers(n.namespace) {
					on.expect(n)
				}
			})
		}
	})
	g.watched = append(g.watched, x.lists...)
	g.take, g.text = x.take, x.texts.data
	g.recall = func(docs []*routing.Document) {
		x.recall(docs)
		for n := range x.served { // a list without it may be empty by mistake
			for _, expect := range expected {
				expect(n)
			}
		}
	}
	return g
}

// gatewayState is what counts of an object that is a gateway.
type gatewayState struct {
	spec       []byte // never nil
	generation int64
}

// readGateway cuts an object to what counts.
func readGateway(u *unstructured.Unstructured) *gatewayState {
	return &gatewayState{spec: jsonOf(u.Object["spec"]), generation: u.GetGeneration()}
}

// jsonOf writes a part of an object.
func jsonOf(part any) []byte {
	text, err := json.Marshal(part)
	if err != nil {
		panic(err) // it was JSON
	}
	return text
}
