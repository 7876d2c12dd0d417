// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"bytes"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
)

// Cluster lets tests play what happens in a cluster, without one.
type Cluster struct{ c *cluster }

func NewCluster() Cluster { return Cluster{newCluster()} }

func (c Cluster) PutPod(p *corev1.Pod)         { c.c.setPod(nameOf(&p.ObjectMeta), readPod(p)) }
func (c Cluster) PutService(s *corev1.Service) { c.c.setService(nameOf(&s.ObjectMeta), readService(s)) }

func (c Cluster) PutSlice(s *discoveryv1.EndpointSlice) {
	c.c.setSlice(nameOf(&s.ObjectMeta), readSlice(s))
}

// PutReplicaSet takes note of a ReplicaSet.
func (c Cluster) PutReplicaSet(m *metav1.PartialObjectMetadata) {
	c.c.setReplicaSet(nameOf(&m.ObjectMeta), readReplicaSet(m))
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
	case "ReplicaSet":
		c.c.setReplicaSet(n, nil)
	}
}

func (c Cluster) Take() []discovery.Update { return c.c.take() }

// ConfigMaps and Gateways let tests put objects that hold artifacts.
type (
	ConfigMaps struct{ m *configMaps }
	Gateways   struct{ g gatewayObjects }
)

func NewConfigMaps() *ConfigMaps { return &ConfigMaps{newConfigMaps()} }
func NewGateways() *Gateways     { return &Gateways{gatewayObjects{make(texts)}} }

func (m *ConfigMaps) Set(namespace, called string, c *corev1.ConfigMap) []discovery.Update {
	return m.m.set(name{namespace, called}, c)
}

// Hold holds the absence of a ConfigMap back; nil ends that.
func (m *ConfigMaps) Hold(namespace, called string, held *discovery.Held) []discovery.Update {
	return m.m.withhold(name{namespace, called}, held)
}

// Kept returns how many objects something is kept of, and how many texts.
func (m *ConfigMaps) Kept() (objects, texts int) { return len(m.m.keys), len(m.m.texts) }

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

// Ingresses lets tests put Ingresses and what they name.
type Ingresses struct {
	x *ingresses
	// Shown are those that are ours, by key.
	Shown map[string]IngressObject
}

// NewIngresses returns none, beside what a cluster runs. What stands in the
// Kubernetes namespace apart is of acme/apart.
func NewIngresses(c Cluster, class string) *Ingresses {
	i := &Ingresses{Shown: make(map[string]IngressObject)}
	i.x = newIngresses(c.c, newPlaces("", map[string]string{"apart": "acme/apart"}, nil), class, func(o IngressObject, gone bool) {
		if delete(i.Shown, o.Key()); !gone {
			i.Shown[o.Key()] = o
		}
	})
	return i
}

func (i *Ingresses) Put(o *networkingv1.Ingress) {
	i.x.setIngress(nameOf(&o.ObjectMeta), readIngress(o))
}

func (i *Ingresses) PutClass(c *networkingv1.IngressClass) {
	i.x.setClass(name{name: c.Name}, readClass(c))
}

func (i *Ingresses) PutSecret(s *corev1.Secret) { i.x.setSecret(nameOf(&s.ObjectMeta), readSecret(s)) }

func (i *Ingresses) Delete(namespace, called string) { i.x.setIngress(name{namespace, called}, nil) }
func (i *Ingresses) DeleteClass(called string)       { i.x.setClass(name{name: called}, nil) }
func (i *Ingresses) DeleteSecret(namespace, called string) {
	i.x.setSecret(name{namespace, called}, nil)
}
func (i *Ingresses) Take() []discovery.Update { return i.x.take() }

// Hold holds the absence of an Ingress back; nil ends that.
func (i *Ingresses) Hold(namespace, called string, held *discovery.Held) {
	i.x.withhold(name{namespace, called}, held)
}

// Ports returns where a port of a Service leads.
func (c Cluster) Ports(namespace, service string, port networkingv1.ServiceBackendPort) ([]int, bool) {
	return c.c.ports(name{namespace, service}, port)
}

// RewriteMemory reads the text of a file, and writes it again.
func RewriteMemory(text []byte) ([]byte, error) {
	m, err := parseMemory(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = m.encode(&b)
	return b.Bytes(), err
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

// ParseEnvironment reads the value of a label.
var ParseEnvironment = parseEnvironment
