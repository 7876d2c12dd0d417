// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

func TestPortsOfServices(t *testing.T) {
	c := kubernetes.NewCluster()
	put(t, c, []byte(`
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: www}, {name: debug, port: 81}]}
---
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8081}, {name: debug, port: 6060}]
---
kind: EndpointSlice
metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: debug, port: 6060}]
`))
	for _, tt := range []struct {
		name, service string
		port          networkingv1.ServiceBackendPort
		want          []int
		found         bool
	}{
		{"a name leads to every number that pods have for it", "web", networkingv1.ServiceBackendPort{Name: "http"}, []int{8080, 8081}, true},
		{"a number is that of the Service", "web", networkingv1.ServiceBackendPort{Number: 81}, []int{6060}, true},
		{"a number of pods is none", "web", networkingv1.ServiceBackendPort{Number: 8080}, nil, false},
		{"an unknown name is none", "web", networkingv1.ServiceBackendPort{Name: "https"}, nil, false},
		{"an unknown Service has none", "gone", networkingv1.ServiceBackendPort{Number: 80}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, found := c.Ports("shop", tt.service, tt.port)
			if !slices.Equal(got, tt.want) || found != tt.found {
				t.Errorf("Ports(%s, %v) = %v, %t, want %v, %t", tt.service, tt.port, got, found, tt.want, tt.found)
			}
		})
	}
}

// TestSelectorsFindWhatRuns asks for instances as gateways do.
func TestSelectorsFindWhatRuns(t *testing.T) {
	c := kubernetes.NewCluster()
	for k, version := range []string{"1.0.3", "2.0.1"} {
		for _, p := range workload(k, 2) {
			p.Labels["app"], p.Labels["version"] = "sava-product", version
			c.PutPod(p)
		}
	}
	put(t, c, []byte(`
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: shop-0-5d9c-00000}}]
`))
	var list []*routing.Instance
	for _, u := range c.Take() {
		list = append(list, u.Instances...)
	}
	for _, tt := range []struct{ selector, want string }{
		{"label(app)(sava-product) && label(version)((.*))", "(1.0.3):2 (2.0.1):2"},
		{"label(version)(2[.]0[.]1)", "():2"},
		{"name(shop) && image(example/shop:.*) && kind(container) && port(8080) && index(0)", "():4"},
		{"namespace($namespace)", "():4"},
		{"namespace(other)", ""},
		{"namespace(shop) and label(sluice:service)(web) and (port(8080))", "():1"},
	} {
		t.Run(tt.selector, func(t *testing.T) {
			s, err := routing.ParseSelector(tt.selector)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range s.Groups(routing.NewInstances(list), "shop") {
				got = append(got, fmt.Sprintf("%s:%d", g.Name, len(g.Instances)))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// workload returns pods of one Deployment.
func workload(k, replicas int) []*corev1.Pod {
	list := make([]*corev1.Pod, replicas)
	owner := fmt.Sprintf("shop-%d-5d9c", k)
	for i := range list {
		list[i] = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("%s-%05d", owner, i), Namespace: "shop",
				Labels:          map[string]string{"app": owner, "version": "1.0.3", "pod-template-hash": "5d9c"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: owner, Controller: new(true)}},
			},
			Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{
				Name: "shop", Image: "example/shop:1.0.3", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
			}}},
			Status: corev1.PodStatus{
				PodIP:      fmt.Sprintf("10.%d.%d.%d", k, i/250, i%250+1),
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			},
		}
	}
	return list
}

// BenchmarkFirstListing tells 20,000 pods of 100 workloads for the first time.
func BenchmarkFirstListing(b *testing.B) {
	var pods []*corev1.Pod
	for k := range 100 {
		pods = append(pods, workload(k, 200)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		c := kubernetes.NewCluster()
		for _, p := range pods {
			c.PutPod(p)
		}
		if n := len(c.Take()); n != 100 {
			b.Fatalf("%d updates", n)
		}
	}
}

// BenchmarkOneChange tells that one pod of a workload of n is not ready, or
// ready again.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("replicas=%d", n), func(b *testing.B) {
			c := kubernetes.NewCluster()
			pods := workload(0, n)
			for _, p := range pods {
				c.PutPod(p)
			}
			c.Take()
			ready := &pods[0].Status.Conditions[0].Status
			b.ReportAllocs()
			for b.Loop() {
				if *ready == corev1.ConditionTrue {
					*ready = corev1.ConditionFalse
				} else {
					*ready = corev1.ConditionTrue
				}
				c.PutPod(pods[0])
				if len(c.Take()) != 1 {
					b.Fatal("not one update")
				}
			}
		})
	}
}
