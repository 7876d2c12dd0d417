// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/kube/bed"
)

// control is a control plane as far as a Writer needs one.
type control struct {
	*kube.Writer

	planner *planner.Planner
	stop    func() // returns when the Writer has ended

	mu       sync.Mutex // guards deployed
	deployed kube.Deployment
}

// newControl starts a Writer in a namespace of Kubernetes. change may say more
// of it.
func newControl(tb testing.TB, b *bed.Bed, home string, change func(*kube.Options)) *control {
	tb.Helper()
	client, err := kubernetes.Connect(kubernetes.Access{File: b.Kubeconfig})
	if err != nil {
		tb.Fatal(err)
	}
	c := &control{planner: planner.New(planner.Options{}), deployed: kube.Deployment{Proxies: 1, Served: 1}}
	log := new(lockedBuffer)
	o := kube.Options{
		Client: client, Home: home, Watch: []string{home}, Plans: c.planner,
		Deployed: func(string, string) kube.Deployment {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.deployed
		},
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	if change != nil {
		change(&o)
	}
	if c.Writer, err = kube.New(o); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("Run() = %v, want nil", err)
		}
	})
	tb.Cleanup(func() {
		c.stop()
		if tb.Failed() {
			tb.Log(log.String())
		}
	})
	return c
}

// lockedBuffer is a buffer that several may write to.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// says plans what an object of a source says, nothing if it is no more, in the
// namespace that updates have which name none.
func (c *control) says(tb testing.TB, key string, generation int64, text string) {
	tb.Helper()
	c.saysIn(tb, "", key, generation, text)
}

func (c *control) saysIn(tb testing.TB, namespace, key string, generation int64, text string) {
	tb.Helper()
	u := discovery.Update{Key: key, Gone: true}
	if text != "" {
		docs, faults := routing.Read(key, []byte(text))
		u = discovery.Update{Key: key, Namespace: namespace, Generation: generation, Documents: docs, Faults: faults}
	}
	c.planner.Put([]discovery.Update{u})
	plan, err := c.planner.Plan(tb.Context(), namespace)
	if err != nil {
		tb.Fatal(err)
	}
	c.Put(plan)
}

// gateway returns the text of a gateway.
func gateway(name string, port int) string {
	return fmt.Sprintf("name: %q\nport: %d/http\nroutes: {\"[127.0.0.1:8080]\": {weight: 100%%}}\n", name, port)
}

// service waits until a Service is as right says, and returns it.
func service(tb testing.TB, b *bed.Bed, ns, name string, right func(*corev1.Service) error) *corev1.Service {
	tb.Helper()
	var found *corev1.Service
	b.Eventually(tb, "the Service "+name, func(ctx context.Context) (err error) {
		if found, err = b.Client.CoreV1().Services(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if right == nil {
			return nil
		}
		return right(found)
	})
	return found
}

// noService waits until there is no Service of a name.
func noService(tb testing.TB, b *bed.Bed, ns, name string) {
	tb.Helper()
	b.Eventually(tb, "the end of the Service "+name, func(ctx context.Context) error {
		found, err := b.Client.CoreV1().Services(ns).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %v, %w", found, err)
	})
}

// has returns whether a Service has one port of a number.
func has(port int32) func(*corev1.Service) error {
	return func(s *corev1.Service) error {
		if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].Port != port || s.Spec.Ports[0].TargetPort.IntVal != port {
			return fmt.Errorf("its ports are %v, want %d", s.Spec.Ports, port)
		}
		return nil
	}
}

func TestEachGatewayHasAService(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	c := newControl(t, b, ns, nil)
	c.says(t, "files/shop", 0, gateway("sava-product", 9070))
	made := service(t, b, ns, "sava-product", has(9070))
	if made.Spec.Type != corev1.ServiceTypeNodePort || made.Spec.Ports[0].NodePort == 0 || made.Spec.Ports[0].Name != "" {
		t.Errorf("the Service is %v, want one of type NodePort", made.Spec)
	}
	for label, want := range map[string]string{
		"app.kubernetes.io/managed-by": "sluice", "sluice.dev/gateway": "sava-product", "sluice.dev/namespace": "default.default",
		"io.vamp": "gateway", "io.vamp.gateway": "sava-product", "io.vamp.lookup_name": routing.GatewayID("sava-product"),
	} {
		if got := made.Labels[label]; got != want {
			t.Errorf("the label %s is %q, want %q", label, got, want)
		}
	}
	if got := metav1.FormatLabelSelector(metav1.SetAsLabelSelector(made.Spec.Selector)); got != "app.kubernetes.io/component=proxy,app.kubernetes.io/name=sluice" {
		t.Errorf("the selector is %s, want that of the chart's proxies", got)
	}
	b.Eventually(t, "its address", func(context.Context) error {
		if a, ok := c.Service("default/default", "sava-product"); !ok || a.Host != made.Spec.ClusterIP || a.Port != 9070 || a.NodePort != int(made.Spec.Ports[0].NodePort) {
			return fmt.Errorf("Service() = %+v, %t, want %s", a, ok, made.Spec.ClusterIP)
		}
		return nil
	})

	c.says(t, "files/shop", 0, gateway("sava-product", 9071))
	moved := service(t, b, ns, "sava-product", has(9071))
	if moved.UID != made.UID || moved.Spec.ClusterIP != made.Spec.ClusterIP || moved.Spec.Ports[0].NodePort != made.Spec.Ports[0].NodePort {
		t.Errorf("a moved gateway has %v, want the Service that it had with another port", moved.Spec)
	}
	c.says(t, "files/shop", 0, "")
	noService(t, b, ns, "sava-product")
}

func TestWhatOthersChangeOfAServiceIsPutRight(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	c := newControl(t, b, ns, nil)
	c.says(t, "files/shop", 0, gateway("shop", 9000))
	service(t, b, ns, "shop", has(9000))
	b.Kubectl(t, "annotate", "service/shop", "note=mine", "--namespace", ns)
	b.Kubectl(t, "label", "service/shop", "team=mine", "--namespace", ns)
	b.Kubectl(t, "patch", "service/shop", "--namespace", ns, "--type=merge", "--patch", `{"spec":{"selector":{"app":"thief","app.kubernetes.io/name":null},"internalTrafficPolicy":"Local"}}`)
	service(t, b, ns, "shop", func(s *corev1.Service) error {
		if len(s.Spec.Selector) != 2 || s.Spec.Selector["app"] != "" || *s.Spec.InternalTrafficPolicy != corev1.ServiceInternalTrafficPolicyCluster {
			return fmt.Errorf("its selector is %v", s.Spec.Selector)
		}
		if s.Annotations["note"] != "mine" || s.Labels["team"] != "mine" {
			return fmt.Errorf("what others added is gone: %v, %v", s.Annotations, s.Labels)
		}
		return nil
	})
	b.Kubectl(t, "delete", "service/shop", "--namespace", ns)
	service(t, b, ns, "shop", has(9000))
}

const foreign = `
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {io.vamp: gateway, app.kubernetes.io/managed-by: sluice, sluice.dev/namespace: other.tenant}}
spec: {selector: {app: shop}, ports: [{port: 80}]}
`

func TestAServiceOfOthersIsNeverTouched(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	b.Apply(t, ns, foreign)
	before := service(t, b, ns, "shop", nil)
	c := newControl(t, b, ns, nil)
	c.says(t, "files/shop", 0, gateway("shop", 9000))
	c.says(t, "files/cart", 0, gateway("cart", 9001))
	service(t, b, ns, "cart", has(9001))
	b.Eventually(t, "the trouble of the gateway", func(context.Context) error {
		if c.Trouble("default/default", "shop") == "" {
			return errors.New("none is told")
		}
		return nil
	})
	c.says(t, "files/shop", 0, "")
	c.says(t, "files/cart", 0, "")
	noService(t, b, ns, "cart")
	if after := service(t, b, ns, "shop", nil); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the Service of others was changed from %v to %v", before, after)
	}
	c.says(t, "files/shop", 0, gateway("shop", 9000))
	b.Kubectl(t, "delete", "service/shop", "--namespace", ns)
	service(t, b, ns, "shop", has(9000))
	b.Eventually(t, "the end of the trouble", func(context.Context) error {
		if text := c.Trouble("default/default", "shop"); text != "" {
			return fmt.Errorf("it is %q", text)
		}
		return nil
	})
}
