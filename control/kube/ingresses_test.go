// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// proxies makes the Service of proxies in a namespace of Kubernetes, with an
// address outside.
func (c *cluster) proxies(place, name, address string) {
	c.t.Helper()
	c.make(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: name}, Spec: corev1.ServiceSpec{ExternalIPs: []string{address}},
	})
}

// ingress makes an Ingress, and has p serve it.
func (c *cluster) ingress(p *control, place string) {
	c.t.Helper()
	i := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: "web", UID: "uid"}}
	if _, err := c.api.NetworkingV1().Ingresses(place).Create(c.t.Context(), i, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	p.PutIngress(kubernetes.IngressObject{Namespace: place, Name: "web", UID: "uid"}, false)
}

// addressed checks which addresses the Ingress of a namespace has after a time.
func (c *cluster) addressed(d time.Duration, place, want string) {
	c.t.Helper()
	after(d)
	i, err := c.api.NetworkingV1().Ingresses(place).Get(c.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for _, a := range i.Status.LoadBalancer.Ingress {
		all = append(all, a.IP+a.Hostname)
	}
	if got := strings.Join(all, " "); got != want {
		c.t.Errorf("the Ingress in %s has the addresses %q, want %q", place, got, want)
	}
}

// Ingresses have the address of the proxies that serve them: those in the home
// of their environment, if there are some.
func TestIngressesHaveTheAddressesOfTheirProxies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.proxies("sluice", "sluice-proxy", "198.51.100.1")
		c.proxies("sluice", "other", "198.51.100.9")
		c.proxies("one", "sluice-proxy", "198.51.100.2")
		p := c.control(func(o *kube.Options) {
			o.Ingress = kube.IngressOptions{Addresses: []string{"edge.example"}, Service: "sluice/sluice-proxy"}
		})
		defer p.stop()
		p.PutPlaces(kubernetes.Places{
			Environments: map[string]string{"one": acme, "beside": acme, "two": "acme/test"},
			Homes:        map[string]string{acme: "one", "acme/test": "two"},
		})
		for _, place := range []string{"any", "one", "beside", "two"} {
			c.ingress(p, place)
		}
		c.addressed(time.Minute, "any", "edge.example 198.51.100.1")
		c.addressed(0, "one", "edge.example 198.51.100.2")
		c.addressed(0, "beside", "edge.example 198.51.100.2")
		c.addressed(0, "two", "edge.example 198.51.100.1") // its home has no proxies

		// Where they cannot be seen, what is known of them stays, and others are
		// followed.
		refuse := func(a clienttesting.Action) (bool, runtime.Object, error) {
			return a.GetNamespace() == "one", nil, apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", errors.New("not yours"))
		}
		c.api.PrependReactor("list", "services", refuse)
		c.proxies("two", "sluice-proxy", "198.51.100.3")
		c.addressed(time.Minute, "two", "edge.example 198.51.100.3")
		c.addressed(0, "one", "edge.example 198.51.100.2")

		// An environment that has no home any more is served where all else is.
		p.PutPlaces(kubernetes.Places{Environments: map[string]string{"two": "acme/test"}})
		c.addressed(time.Minute, "two", "edge.example 198.51.100.1")
		c.addressed(0, "one", "edge.example 198.51.100.1")
	})
}
