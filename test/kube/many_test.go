// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/kube/bed"
)

var manyPods = flag.Int("many.pods", 1200, "pods from which a control plane makes its first table")

const (
	manyNode     = "many"
	podsOfOne    = 1000 // of a Service, and so of a gateway
	podsOfASlice = 100  // as the controller of EndpointSlices has it
)

// crowded is a namespace with many pods, which are objects and nothing else.
type crowded struct {
	*testing.T

	b    *bed.Bed
	ns   string
	pods int
}

// services returns how many Services the pods have.
func (c *crowded) services() int { return (c.pods + podsOfOne - 1) / podsOfOne }

// app names the Service of pod i, and its gateway.
func app(i int) string { return "many-" + strconv.Itoa(i/podsOfOne) }

// address returns the address of pod i.
func address(i int) string {
	return netip.AddrFrom4([4]byte{10, 200 + byte(i>>16), byte(i >> 8), byte(i)}).String()
}

// each calls f with 0 to n-1, some at once.
func (c *crowded) each(n int, f func(ctx context.Context, i int) error) {
	c.Helper()
	g, ctx := errgroup.WithContext(c.Context())
	g.SetLimit(32)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		c.Fatal(err)
	}
}

// node makes a node that nobody runs pods on, so that what stands in the status
// of its pods stays. That there is one keeps the pods from being collected.
func (c *crowded) node() {
	c.Helper()
	nodes := c.b.Client.CoreV1().Nodes()
	taint := corev1.Taint{Key: "example.com/nobody", Effect: corev1.TaintEffectNoSchedule}
	_, err := nodes.Create(c.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: manyNode}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{taint}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := nodes.Delete(context.WithoutCancel(c.Context()), manyNode, metav1.DeleteOptions{}); err != nil {
			c.Error(err)
		}
	})
}

// pod makes pod i, with the status that a kubelet would write.
func (c *crowded) pod(ctx context.Context, i int) error {
	now, none, no := metav1.Now(), int64(0), false
	pods := c.b.Client.CoreV1().Pods(c.ns)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "many-" + strconv.Itoa(i), Labels: map[string]string{
			"app": app(i), "version": "1.0." + strconv.Itoa(i%2), "number": strconv.Itoa(i), "topology.kubernetes.io/zone": "zone-a",
		}},
		Spec: corev1.PodSpec{
			NodeName: manyNode, TerminationGracePeriodSeconds: &none, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "web", Image: "example.com/web:1.0", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}},
		},
	}
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("the account of pods is not there yet: %w", err)
	} else if err != nil {
		return err
	}
	made.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: address(i), PodIPs: []corev1.PodIP{{IP: address(i)}}, StartTime: &now,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "web", Image: "example.com/web:1.0", ImageID: "example.com/web@sha256:" + strings.Repeat("0", 64), Ready: true,
			ContainerID: "containerd://" + strings.Repeat("0", 64), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		}},
	}
	_, err = pods.UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

// service makes a Service without selector, which no controller has a hand in.
func (c *crowded) service(ctx context.Context, n int) error {
	_, err := c.b.Client.CoreV1().Services(c.ns).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app(n * podsOfOne)},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}, metav1.CreateOptions{})
	return err
}

// slice makes the n-th EndpointSlice.
func (c *crowded) slice(ctx context.Context, n int) error {
	ready, node, zone, port, name := true, manyNode, "zone-a", int32(8080), "http"
	first := n * podsOfASlice
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "many-" + strconv.Itoa(n), Labels: map[string]string{
			discoveryv1.LabelServiceName: app(first), discoveryv1.LabelManagedBy: "test.example.com",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	for i := first; i < min(first+podsOfASlice, c.pods); i++ {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{address(i)},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
			NodeName:   &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: c.ns, Name: "many-" + strconv.Itoa(i)},
		})
	}
	_, err := c.b.Client.DiscoveryV1().EndpointSlices(c.ns).Create(ctx, s, metav1.CreateOptions{})
	return err
}

// memory returns what the system says of a process, in bytes, such as VmRSS.
func memory(tb testing.TB, pid int, what string) int {
	tb.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kilobytes, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				tb.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	tb.Fatalf("there is no %s", what)
	return 0
}

// A control plane makes its first table of many pods soon, and keeps little of
// each.
func TestManyPodsMakeATable(t *testing.T) { //nolint:paralleltest // it measures
	b := start(t)
	c := &crowded{T: t, b: b, ns: b.Namespace(t), pods: *manyPods}
	s := launch(t, b, c.ns, "control", "--stream", "127.0.0.1:0", "--service-type", "none")
	for n := range c.services() {
		s.run(fmt.Sprintf("name: %[1]s\nport: %[2]d\nselector: label(app)(%[1]s) && label(version)((.*))\n", app(n*podsOfOne), 20000+n), "apply", "-f", "-")
	}
	before := memory(t, s.cmd.Process.Pid, "VmRSS")
	s.stop()

	b.Eventually(t, "the account of pods", func(ctx context.Context) error {
		_, err := b.Client.CoreV1().ServiceAccounts(c.ns).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	c.node()
	began := time.Now()
	c.each(c.services(), c.service)
	c.each(c.pods, c.pod)
	c.each((c.pods+podsOfASlice-1)/podsOfASlice, c.slice)
	t.Logf("%d pods, %d EndpointSlices and %d Services are made in %v", c.pods, (c.pods+podsOfASlice-1)/podsOfASlice, c.services(), time.Since(began).Round(time.Millisecond))

	began = time.Now()
	s.start()
	t.Logf("the first table is there %v after the start of the process", time.Since(began).Round(time.Millisecond))
	for n := range c.services() {
		want := min(podsOfOne, c.pods-n*podsOfOne)
		text, err := fetch(t.Context(), "http://"+s.api+"/api/v1/gateways/"+app(n*podsOfOne))
		if got := strings.Count(text, `"port":8080`); err != nil || got != want {
			t.Errorf("%s has %d instances (%v), want %d", app(n*podsOfOne), got, err, want)
		}
	}

	// What changes of one is seen at once among the others.
	b.Kubectl(t, "label", "--overwrite", "--namespace", c.ns, "pod/many-0", "version=next")
	began = time.Now()
	b.Eventually(t, "the route of a pod that has another version", func(ctx context.Context) error {
		text, err := fetch(ctx, "http://"+s.api+"/api/v1/gateways/many-0")
		if err == nil && !strings.Contains(text, `"(next)"`) {
			err = errors.New("it is not there")
		}
		return err
	})
	t.Logf("a pod has another route %v after its label was changed", time.Since(began).Round(time.Millisecond))

	// A selector that would make a route of each is refused, with their number.
	if c.pods > routing.MaxGroups {
		b.Apply(t, c.ns, `
apiVersion: v1
kind: ConfigMap
metadata: {name: each, labels: {sluice.dev/gateways: "true"}}
data: {each.yaml: "{name: each, port: 19999, selector: label(number)((.*))}"}
`)
		b.Eventually(t, "the fault of the gateway", func(ctx context.Context) error {
			text, err := fetch(ctx, "http://"+s.api+"/api/v1/status")
			if err == nil && !strings.Contains(text, fmt.Sprintf("the selector finds %d groups", c.pods)) {
				err = fmt.Errorf("the status is %.2000s", text)
			}
			return err
		})
	}

	rss, most := memory(t, s.cmd.Process.Pid, "VmRSS"), memory(t, s.cmd.Process.Pid, "VmHWM")
	t.Logf("sluice control has %d MB, %d MB at most; %d MB without any pod", rss>>20, most>>20, before>>20)
	// Twice what a pod and its share of slices took, when this was written.
	if bound := before + 32<<20 + c.pods*16<<10; most > bound {
		t.Errorf("it had %d MB at most, want less than %d MB", most>>20, bound>>20)
	}
}
