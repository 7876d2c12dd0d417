// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// BenchmarkSourceLists tells how long the first listing of a large cluster
// takes, and what the source keeps of it. The server is in the same process
// and writes JSON, which takes longer than what a true one sends.
func BenchmarkSourceLists(b *testing.B) {
	const pods, each = 20_000, 100
	s := startServer(b)
	s.streams = true
	for i := range pods {
		s.put(usualPod(i, each))
		if i%each == 0 {
			s.put(usualSlice(i, each))
		}
	}
	client, err := kubernetes.NewClient(&rest.Config{Host: s.at.URL}, "default")
	if err != nil {
		b.Fatal(err)
	}
	before := heap()
	b.ResetTimer()
	for b.Loop() {
		source := kubernetes.New(kubernetes.Options{Client: client})
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		listed := make(chan int, 1)
		running.Go(func() {
			instances := 0
			err := source.Run(ctx, func(batch discovery.Batch) {
				for i := range batch.Updates {
					instances += len(batch.Updates[i].Instances)
				}
				if batch.Listed {
					listed <- instances
				}
			})
			if err != nil {
				b.Error(err)
			}
		})
		if n := <-listed; n != pods {
			b.Errorf("%d instances, want %d", n, pods)
		}
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/(1<<20), "MB-kept")
		runtime.KeepAlive(source)
		cancel()
		running.Wait()
		b.StartTimer()
	}
}

// heap returns what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// usualPod has what a pod of a cluster has, of which little counts.
func usualPod(i, each int) *corev1.Pod {
	app := fmt.Sprintf("app-%d", i/each)
	controls := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprintf("%s-5d9c7b8f6-%d", app, i),
			Labels:          map[string]string{"app": app, "version": "1.0.0", "team": "shop", "tier": "front", "pod-template-hash": "5d9c7b8f6"},
			Annotations:     map[string]string{"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 500)},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: app + "-5d9c7b8f6", Controller: &controls}},
		},
		Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i%200), Containers: []corev1.Container{{
			Name: "app", Image: "registry.example.com/shop/" + app + ":1.0.0", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
			Env: []corev1.EnvVar{{Name: "CONFIGURATION", Value: strings.Repeat("x", 1500)}},
		}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: addressOf(i),
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

func addressOf(i int) string { return fmt.Sprintf("10.1.%d.%d", i/250, i%250+1) }

// usualSlice leads to each pods, from the first on.
func usualSlice(first, each int) *discoveryv1.EndpointSlice {
	app, port, yes := fmt.Sprintf("app-%d", first/each), int32(8080), true
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: app + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: app}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
	}
	for i := first; i < first+each; i++ {
		node, zone := fmt.Sprintf("node-%d", i%200), fmt.Sprintf("zone-%d", i%3)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{addressOf(i)}, NodeName: &node, Zone: &zone,
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("%s-5d9c7b8f6-%d", app, i)},
		})
	}
	return s
}
