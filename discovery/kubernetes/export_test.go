// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Cluster lets tests play what happens in a cluster, without one.
type Cluster struct{ c *cluster }

func NewCluster() Cluster { return Cluster{newCluster()} }

func (c Cluster) PutPod(p *corev1.Pod)         { c.c.setPod(nameOf(&p.ObjectMeta), readPod(p)) }
func (c Cluster) PutService(s *corev1.Service) { c.c.setService(nameOf(&s.ObjectMeta), readService(s)) }

func (c Cluster) PutSlice(s *discoveryv1.EndpointSlice) {
	c.c.setSlice(nameOf(&s.ObjectMeta), readSlice(s))
}

// Delete takes away the object of a kind.
func (c Cluster) Delete(kind, namespace, called string) {
	n := name{namespace, called}
	switch kind {
	case "Pod":
		c.c.setPod(n, nil)
	case "Service":
		c.c.setService(n, nil)
	case "EndpointSlice":
		c.c.setSlice(n, nil)
	}
}

func (c Cluster) Take() []discovery.Update { return c.c.take() }

// ConfigMaps and Gateways let tests put objects that hold artifacts.
type (
	ConfigMaps struct{ m configMaps }
	Gateways   struct{ g gatewayObjects }
)

func NewConfigMaps() *ConfigMaps { return &ConfigMaps{configMaps{make(texts)}} }
func NewGateways() *Gateways     { return &Gateways{gatewayObjects{make(texts)}} }

func (m *ConfigMaps) Set(namespace, called string, c *corev1.ConfigMap) []discovery.Update {
	return m.m.set(name{namespace, called}, c)
}

func (g *Gateways) Set(namespace, called string, spec []byte) (discovery.Update, bool) {
	if spec == nil {
		return g.g.set(name{namespace, called}, nil)
	}
	return g.g.set(name{namespace, called}, &gatewayState{spec: spec})
}

// SetGeneration puts an object of a generation.
func (g *Gateways) SetGeneration(namespace, called string, spec []byte, generation int64) (discovery.Update, bool) {
	return g.g.set(name{namespace, called}, &gatewayState{spec: spec, generation: generation})
}

// ReadIngresses reads Ingresses of the class sluice, and those without class
// if byDefault.
func ReadIngresses(list []*networkingv1.Ingress, byDefault bool, look func(namespace, service string, port networkingv1.ServiceBackendPort) ([]int, bool)) (gateways map[string][]byte, faults map[string][]*routing.Fault) {
	r := readIngresses(list, ingressClasses{ours: map[string]bool{"sluice": true}, byDefault: byDefault},
		func(n name, port networkingv1.ServiceBackendPort) ([]int, bool) {
			return look(n.namespace, n.name, port)
		})
	return r.Gateways, r.Faults
}

// Ports returns where a port of a Service leads.
func (c Cluster) Ports(namespace, service string, port networkingv1.ServiceBackendPort) ([]int, bool) {
	return c.c.ports(name{namespace, service}, port)
}

// Shelf lets tests fill one of texts.
type Shelf struct {
	s  *shelf[string]
	On map[string]string // by name

	Held map[string]*discovery.Held
}

func NewShelf() *Shelf {
	s := &Shelf{On: make(map[string]string), Held: make(map[string]*discovery.Held)}
	s.s = newShelf(func(n name, text *string) {
		if text == nil {
			delete(s.On, n.name)
		} else {
			s.On[n.name] = *text
		}
	}, func(n name, held *discovery.Held) {
		delete(s.Held, n.name)
		if held != nil {
			s.Held[n.name] = held
		}
	})
	return s
}

func (s *Shelf) Put(called, text string) { s.s.put(name{"ns", called}, &text) }
func (s *Shelf) Remove(called string)    { s.s.remove(name{"ns", called}) }

// Release believes what is held back.
func (s *Shelf) Release() int { return s.s.release(func(*discovery.Held) bool { return true }) }

func (s *Shelf) Replace(list map[string]string) int {
	full := make(map[name]*string)
	for called, text := range list {
		full[name{"ns", called}] = &text
	}
	s.s.replace(full, &discovery.Held{})
	return len(s.Held)
}
