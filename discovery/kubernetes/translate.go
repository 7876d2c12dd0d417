// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/routing"
)

// The kinds of instances. Vamp knows the first two.
const (
	kindContainer = "container"
	kindService   = "service"
	kindEndpoint  = "endpoint" // an address that somebody wrote into an EndpointSlice
)

// labelService is the label of instances to which a Service leads. The colon
// keeps it apart from what objects bear.
const labelService = "sluice:service"

// The labels of instances of pods that something controls, such as a
// Deployment: its name, and its kind.
const (
	labelWorkload     = "sluice:workload"
	labelWorkloadKind = "sluice:workload-kind"
)

// workload returns the instances of the pods of a workload, in the order of
// the names of the pods.
func (c *cluster) workload(key string) []*routing.Instance {
	var list []*routing.Instance
	for _, n := range c.replicas.sorted(key) {
		list = append(list, c.podInstances(c.pods[n])...)
	}
	return list
}

// podInstances returns the instances of one pod. One that terminates and does
// not serve any more has none: what it began it finishes all the same.
func (c *cluster) podInstances(p *pod) []*routing.Instance {
	led := c.leadingTo(p)
	terminating := p.terminating || led.terminating
	if terminating && !p.ready {
		return nil
	}
	labels := withWorkload(p.labels, c.workloadOfPod(p))
	var list []*routing.Instance
	add := func(of *container, port, index int) {
		list = append(list, &routing.Instance{
			Name: of.name, Address: p.address, Port: port, Index: index,
			Labels: withServices(labels, led.services[port]),
			Kind:   kindContainer, Namespace: p.name.namespace, Image: of.image,
			Zone: cmp.Or(p.zone, led.zone), Node: p.node,
			Ready: p.ready && !terminating,
		})
	}
	for k := range p.containers {
		of := &p.containers[k]
		for i, port := range of.ports {
			// Pods without labels are none that Vamp knows.
			if led.services[port] != nil || len(p.labels) > 0 {
				add(of, port, i)
			}
			delete(led.undeclared, port)
		}
	}
	if len(p.containers) > 0 {
		of := &p.containers[0]
		for i, port := range slices.Sorted(maps.Keys(led.undeclared)) {
			add(of, port, len(of.ports)+i)
		}
	}
	return list
}

// ways is what the slices say that lead to a pod.
type ways struct {
	services    map[int][]string // their names, sorted, by port
	undeclared  map[int]bool     // the ports, for the caller to strike out
	zone        string
	terminating bool
}

// leadingTo returns what slices say of a pod. A slice that has another address
// speaks of an earlier pod of that name, or of an address of another family.
func (c *cluster) leadingTo(p *pod) ways {
	w := ways{services: make(map[int][]string), undeclared: make(map[int]bool)}
	for _, n := range c.leading.sorted(p.name) {
		s := c.slices[n]
		for i := range s.endpoints {
			e := &s.endpoints[i]
			if e.pod != p.name || e.address != p.address {
				continue
			}
			w.zone = cmp.Or(w.zone, e.zone)
			w.terminating = w.terminating || e.terminating
			for _, port := range s.ports {
				w.undeclared[port.number] = true
				w.services[port.number] = append(w.services[port.number], s.service.name)
			}
		}
	}
	for port, services := range w.services {
		slices.Sort(services)
		w.services[port] = slices.Compact(services)
	}
	return w
}

// withWorkload returns labels with those of what a pod is a replica of.
func withWorkload(labels []routing.Label, of owner) []routing.Label {
	if of == (owner{}) {
		return labels
	}
	return append(slices.Clone(labels), routing.Label{Name: labelWorkload, Value: of.name}, routing.Label{Name: labelWorkloadKind, Value: of.kind})
}

// withServices returns labels with one more for each Service.
func withServices(labels []routing.Label, services []string) []routing.Label {
	if len(services) == 0 {
		return labels
	}
	all := slices.Grow(slices.Clip(slices.Clone(labels)), len(services))
	for _, s := range services {
		all = append(all, routing.Label{Name: labelService, Value: s})
	}
	return all
}

// serviceInstances returns the instances of a Service: its own address, and
// what its slices lead to that is no pod. A Service that stands for a gateway
// is none.
func (c *cluster) serviceInstances(n name) []*routing.Instance {
	s := c.services[n]
	if s == nil {
		s = &service{name: n} // its slices may come first
	}
	if s.ours {
		return nil
	}
	list := c.ownInstances(s)
	for _, part := range c.parts.sorted(n) {
		list = append(list, foreignInstances(s, c.slices[part])...)
	}
	return eachOnce(list)
}

// ownInstances returns the ports of the address of a Service. Without labels
// it is none that Vamp knows.
func (c *cluster) ownInstances(s *service) []*routing.Instance {
	if !s.address.IsValid() || len(s.labels) == 0 {
		return nil
	}
	var list []*routing.Instance
	for i, p := range s.ports {
		list = append(list, &routing.Instance{
			Name: s.name.name, Address: s.address, Port: p.number, Index: i, Labels: s.labels,
			Kind: kindService, Namespace: s.name.namespace, Ready: c.served(s.name, p.name),
		})
	}
	return list
}

// served reports whether a port of a Service leads to anything that is ready,
// or that still serves: where nothing is ready, Services use what terminates.
// What cannot be known is taken to be so.
func (c *cluster) served(n name, port string) bool {
	if c.unsliced[metav1.NamespaceAll] || c.unsliced[n.namespace] {
		return true
	}
	for part := range c.parts[n] {
		s := c.slices[part]
		if !slices.ContainsFunc(s.ports, func(p slicePort) bool { return p.name == port }) {
			continue
		}
		for i := range s.endpoints {
			if e := &s.endpoints[i]; e.ready || e.terminating && e.serving {
				return true
			}
		}
	}
	return false
}

// foreignInstances returns what a slice leads to that is no pod.
func foreignInstances(s *service, part *slice) []*routing.Instance {
	var list []*routing.Instance
	for i := range part.endpoints {
		e := &part.endpoints[i]
		if e.pod != (name{}) || e.terminating && !e.serving {
			continue
		}
		for k, p := range part.ports {
			list = append(list, &routing.Instance{
				Name: s.name.name, Address: e.address, Port: p.number, Index: k,
				Labels: withServices(s.labels, []string{s.name.name}),
				Kind:   kindEndpoint, Namespace: s.name.namespace, Zone: e.zone, Node: e.node,
				Ready: e.ready && !e.terminating,
			})
		}
	}
	return list
}

// eachOnce leaves one instance at each address: while slices are moved about,
// two may have the same one.
func eachOnce(list []*routing.Instance) []*routing.Instance {
	seen := make(map[netip.AddrPort]bool, len(list))
	return slices.DeleteFunc(list, func(i *routing.Instance) bool {
		at := i.AddrPort()
		twice := seen[at]
		seen[at] = true
		return twice
	})
}
