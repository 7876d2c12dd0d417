// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-mesh/sluice/discovery/discoverytest"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// runningPod is a pod of its own with one container, whose name says what the
// contract asks for.
func runningPod(called, container string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: called, Labels: map[string]string{"app": called}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: container, Image: "shop:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
		}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.0.%d", called[0]),
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

func configMap(called, gateway string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: called, Labels: map[string]string{kubernetes.LabelGateways: "true"}},
		Data:       map[string]string{"gateway.yaml": "name: " + gateway + "\nport: 8080\n"},
	}
}

func gatewayObject(called, gateway string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": "shop", "name": called},
		"spec":     map[string]any{"name": gateway, "port": int64(8080)},
	}}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, resource, key string
		object              func(called, says string) object
	}{
		{"pods", "pods", "pods/shop/Pod/%s", func(c, s string) object { return runningPod(c, s) }},
		{"config maps", "configmaps", "configmaps/shop/%s/gateway.yaml", func(c, s string) object { return configMap(c, s) }},
		{"gateways", kubernetes.GatewayResource, "sluicegateways/shop/%s", func(c, s string) object { return gatewayObject(c, s) }},
	} {
		for _, streams := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, with lists that are streamed: %t", tt.name, streams), func(t *testing.T) {
				t.Parallel()
				discoverytest.Test(t, func(t *testing.T) discoverytest.Bed {
					t.Helper()
					s := newServer(t)
					s.streams = streams
					s.put(tt.object("a", "a1"))
					s.put(tt.object("b", "b1"))
					return discoverytest.Bed{
						Source: kubernetes.New(kubernetes.Options{Client: s.client(t)}),
						Put:    func(called, says string) { s.put(tt.object(called, says)) },
						Remove: func(called string) { s.remove(tt.resource, called) },
						Key:    func(called string) string { return fmt.Sprintf(tt.key, called) },
					}
				})
			})
		}
	}
}
