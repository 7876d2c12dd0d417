// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/routing"
)

// name names an object among those of its kind.
type name struct{ namespace, name string }

func (n name) String() string { return n.namespace + "/" + n.name }

// compare sorts by namespace first.
func (n name) compare(o name) int {
	return cmp.Or(strings.Compare(n.namespace, o.namespace), strings.Compare(n.name, o.name))
}

func nameOf(m *metav1.ObjectMeta) name { return name{intern(m.Namespace), m.Name} }

// pod is what counts of a pod.
type pod struct {
	name        name
	workload    string // such as Deployment/shop
	owner       owner  // what controls it, the zero owner if nothing does
	address     netip.Addr
	labels      []routing.Label // by name
	containers  []container
	node, zone  string
	ready       bool // it may take requests: its condition says so
	terminating bool
}

// container is what counts of a container.
type container struct {
	name, image string
	ports       []int // that take TCP, in the order declared
}

// readPod cuts a pod to what counts; nil if it has no address, or has come to
// its end.
func readPod(p *corev1.Pod) *pod {
	address, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil
	}
	cut := &pod{
		name: nameOf(&p.ObjectMeta), workload: workloadOf(p), owner: ownerOf(p), address: address,
		labels: labelsOf(p.Labels), node: intern(p.Spec.NodeName), zone: intern(p.Labels[corev1.LabelTopologyZone]),
		ready:       slices.ContainsFunc(p.Status.Conditions, podReady),
		terminating: p.DeletionTimestamp != nil,
	}
	for i := range p.Spec.Containers {
		cut.containers = append(cut.containers, readContainer(&p.Spec.Containers[i]))
	}
	for i := range p.Spec.InitContainers {
		// A sidecar is an init container that goes on.
		if c := &p.Spec.InitContainers[i]; value(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways {
			cut.containers = append(cut.containers, readContainer(c))
		}
	}
	return cut
}

func podReady(c corev1.PodCondition) bool {
	return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
}

func readContainer(c *corev1.Container) container {
	cut := container{name: intern(c.Name), image: intern(c.Image)}
	for _, p := range c.Ports {
		if isTCP(p.Protocol) {
			cut.ports = append(cut.ports, int(p.ContainerPort))
		}
	}
	return cut
}

func isTCP(p corev1.Protocol) bool { return p == "" || p == corev1.ProtocolTCP }

// owner is what controls an object: another one of its namespace.
type owner struct{ kind, name string }

// ownerOf returns the zero owner of what nothing controls.
func ownerOf(o metav1.Object) owner {
	if r := metav1.GetControllerOfNoCopy(o); r != nil {
		return owner{kind: intern(r.Kind), name: intern(r.Name)}
	}
	return owner{}
}

// readReplicaSet cuts a ReplicaSet to what controls it; nil if nothing does.
func readReplicaSet(m *metav1.PartialObjectMetadata) *owner {
	if o := ownerOf(m); o != (owner{}) {
		return &o
	}
	return nil
}

// workloadOf names what a pod is a replica of. A ReplicaSet of a Deployment is
// called after it and the hash of its template, which its pods bear as a
// label; so no ReplicaSet has to be known, and the name never changes.
func workloadOf(p *corev1.Pod) string {
	owner := metav1.GetControllerOfNoCopy(p)
	if owner == nil {
		return "Pod/" + p.Name
	}
	if hash := p.Labels["pod-template-hash"]; owner.Kind == "ReplicaSet" && hash != "" {
		if deployment, ok := strings.CutSuffix(owner.Name, "-"+hash); ok {
			return intern("Deployment/" + deployment)
		}
	}
	return intern(owner.Kind + "/" + owner.Name)
}

// intern returns the one copy of a text that many objects have.
func intern(text string) string { return unique.Make(text).Value() }

// labelsOf returns labels by name: an object of the API has no other order.
func labelsOf(m map[string]string) []routing.Label {
	labels := make([]routing.Label, 0, len(m))
	for k, v := range m {
		labels = append(labels, routing.Label{Name: intern(k), Value: intern(v)})
	}
	slices.SortFunc(labels, func(a, b routing.Label) int { return strings.Compare(a.Name, b.Name) })
	return labels
}

// service is what counts of a Service.
type service struct {
	name     name
	address  netip.Addr // the zero Addr if it has none of its own
	external string     // the name that it stands for, instead of an address
	labels   []routing.Label
	ports    []servicePort
	ours     bool // it stands for a gateway
}

// servicePort is what counts of a port of a Service.
type servicePort struct {
	name   string
	number int
}

// The labels of the Services that stand for gateways, of Vamp's and of ours.
const (
	labelOwner     = "io.vamp"
	ownerIsGateway = "gateway"
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedByUs    = "sluice"
)

// readService cuts a Service to what counts.
func readService(s *corev1.Service) *service {
	cut := &service{
		name: nameOf(&s.ObjectMeta), labels: labelsOf(s.Labels),
		ours: s.Labels[labelOwner] == ownerIsGateway || s.Labels[labelManagedBy] == managedByUs,
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		cut.external = s.Spec.ExternalName
	} else if address, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil {
		cut.address = address // that of a headless Service is None
	}
	for _, p := range s.Spec.Ports {
		if isTCP(p.Protocol) {
			cut.ports = append(cut.ports, servicePort{name: p.Name, number: int(p.Port)})
		}
	}
	return cut
}

// slice is what counts of an EndpointSlice.
type slice struct {
	name      name
	service   name
	ports     []slicePort
	endpoints []endpoint
}

// slicePort is a port that all endpoints of a slice have.
type slicePort struct {
	name   string // that of the port of the Service
	number int
}

// endpoint is one address of a slice.
type endpoint struct {
	address                     netip.Addr
	pod                         name // the zero name if it is no pod
	node, zone                  string
	ready, serving, terminating bool
}

// readSlice cuts an EndpointSlice to what counts; nil if it is of no Service,
// or holds names instead of addresses.
func readSlice(s *discoveryv1.EndpointSlice) *slice {
	of := s.Labels[discoveryv1.LabelServiceName]
	if of == "" || s.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	cut := &slice{name: nameOf(&s.ObjectMeta), service: name{s.Namespace, of}}
	for _, p := range s.Ports {
		if p.Port != nil && (p.Protocol == nil || isTCP(*p.Protocol)) {
			cut.ports = append(cut.ports, slicePort{name: value(p.Name, ""), number: int(*p.Port)})
		}
	}
	for i := range s.Endpoints {
		if e, ok := readEndpoint(s.Namespace, &s.Endpoints[i]); ok {
			cut.endpoints = append(cut.endpoints, e)
		}
	}
	return cut
}

func readEndpoint(namespace string, e *discoveryv1.Endpoint) (endpoint, bool) {
	if len(e.Addresses) == 0 {
		return endpoint{}, false
	}
	// All others stand for the same and are not to be used.
	address, err := netip.ParseAddr(e.Addresses[0])
	if err != nil {
		return endpoint{}, false
	}
	ready := value(e.Conditions.Ready, true) // what is not said counts as ready
	cut := endpoint{
		address: address, node: intern(value(e.NodeName, "")), zone: intern(value(e.Zone, "")),
		ready: ready, serving: value(e.Conditions.Serving, ready), terminating: value(e.Conditions.Terminating, false),
	}
	if t := e.TargetRef; t != nil && t.Kind == "Pod" {
		cut.pod = name{intern(namespace), t.Name}
	}
	return cut, true
}

// value returns what p points to, or otherwise.
func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
