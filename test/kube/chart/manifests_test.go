// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const sidecarGatewayYAML = `
name: sava-product
port: 9070
selector: label(app)(beside-product) && label(version)((.*))
`

// TestAProxyStandsBesideAnApplication installs the manifests as they are, and
// the example of a sidecar beside them. They watch all namespaces, so no other
// test may have gateways meanwhile.
func TestAProxyStandsBesideAnApplication(t *testing.T) { //nolint:paralleltest // as it says
	i := &installation{T: t, b: start(t), ns: "sluice", class: "sluice"} // the manifests are for it
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: i.ns, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	namespaces := i.b.Client.CoreV1().Namespaces()
	i.b.Eventually(t, "the namespace", func(ctx context.Context) error { // one before may end yet
		_, err := namespaces.Create(ctx, made, metav1.CreateOptions{})
		return err
	})
	t.Cleanup(func() {
		if err := namespaces.Delete(context.WithoutCancel(t.Context()), i.ns, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	i.apply("sluice.yaml")
	i.b.Kubectl(t, "wait", "job/sluice-credentials", "--for=condition=Complete", "--timeout=120s", "--namespace", i.ns)
	i.b.Kubectl(t, "rollout", "status", "deployment/sluice-proxy", "--timeout=120s", "--namespace", i.ns)
	i.connect()
	t.Cleanup(func() {
		if t.Failed() {
			i.tell(context.WithoutCancel(t.Context()))
		}
	})
	i.deploy("beside-product", "1.0.3", "", "8080", "")
	i.sluice(sidecarGatewayYAML, "apply", "-f", "-", "--wait")
	i.apply("sidecar.yaml")
	i.b.Kubectl(t, "rollout", "status", "deployment/sava-cart", "--timeout=120s", "--namespace", i.ns)
	i.b.Eventually(t, "an answer by way of the proxy in the pod", func(ctx context.Context) error {
		list, err := i.b.Client.CoreV1().Pods(i.ns).List(ctx, metav1.ListOptions{LabelSelector: "app=sava-cart"})
		if err != nil {
			return err
		}
		for _, p := range list.Items {
			text, err := i.ask(ctx, "http://"+p.Status.PodIP+":3000/", "", "")
			if err != nil {
				return err
			}
			if !strings.Contains(text, `"version":"1.0.3"`) {
				return fmt.Errorf("it is %q", text)
			}
			if text, err := i.ask(ctx, "http://"+p.Status.PodIP+":9070/products/ie", "", ""); err == nil {
				t.Errorf("the proxy in the pod answers others: %q", text)
			}
		}
		return nil
	})
	// All namespaces are watched, with all rights.
	i.writesAll("9071", sidecarGatewayYAML)
	i.hasTheRightsItUses("sluice-control")
	i.hasTheRightsItUses("sluice-credentials")
	i.b.Kubectl(t, "delete", "statefulset/sluice-control", "--cascade=foreground", "--timeout=60s", "--namespace", i.ns)
}

// apply applies a file of deploy/kubernetes.
func (i *installation) apply(name string) {
	i.Helper()
	text, err := os.ReadFile(repository + "/deploy/kubernetes/" + name)
	if err != nil {
		i.Fatal(err)
	}
	i.b.Apply(i.T, i.ns, string(text))
}
