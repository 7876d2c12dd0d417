// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/kube/bed"
	"github.com/sluice-mesh/sluice/test/kube/kubelet"
)

// podReady waits until a pod is ready, and returns it.
func podReady(t *testing.T, b *bed.Bed, ns, name string) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	b.Eventually(t, name+" ready", func(ctx context.Context) (err error) {
		if pod, err = b.Client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !isReady(pod) {
			return fmt.Errorf("its status is %v", pod.Status)
		}
		return nil
	})
	return pod
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// at returns an endpoint that leads to a pod.
func at(pod *corev1.Pod) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{pod.Status.PodIP}}
}

const furnishedYAML = `
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {color: blue, shade: dark}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {size: small}
---
apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: shop}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: shop
    image: example.com:5000/shop
    env:
    - {name: SHOP_VERSION, value: 1.0.0}
    - {name: COLOR, valueFrom: {secretKeyRef: {name: key, key: color}}}
    - {name: SIZE, valueFrom: {configMapKeyRef: {name: settings, key: size}}}
    - {name: NONE, valueFrom: {configMapKeyRef: {name: absent, key: size, optional: true}}}
    - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    envFrom:
    - {prefix: KEY_, secretRef: {name: key}}
    resources: {limits: {memory: 64Mi}}
    readinessProbe: {httpGet: {path: /ready, port: 8080}}
    volumeMounts:
    - {name: key, mountPath: /etc/key}
    - {name: settings, mountPath: /etc/settings}
    - {name: self, mountPath: /etc/self}
  volumes:
  - {name: key, secret: {secretName: key, items: [{key: shade, path: tone}]}}
  - {name: settings, configMap: {name: settings}}
  - {name: self, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: "metadata.labels['app']"}}]}}
`

func TestPodsHaveVariablesAndFilesOfObjects(t *testing.T) {
	b, ns := stocked(t)
	b.Apply(t, ns, furnishedYAML)
	pod := podReady(t, b, ns, "shop")
	for path, want := range map[string]string{
		"/env/COLOR": "blue", "/env/SIZE": "small", "/env/NONE": "", "/env/ADDRESS": pod.Status.PodIP,
		"/env/MEMORY": "64", "/env/KEY_shade": "dark",
		"/file/etc/key/tone": "dark", "/file/etc/settings/size": "small", "/file/etc/self/labels": "shop",
	} {
		if got := get(t, at(pod), path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	b.Kubectl(t, "patch", "configmap/settings", "--namespace", ns, "--patch", `{"data":{"size":"large"}}`)
	b.Eventually(t, "a volume that follows its object", func(ctx context.Context) error {
		got, err := fetch(ctx, at(pod), "/file/etc/settings/size")
		if err == nil && got != "large" {
			err = fmt.Errorf("it has %q", got)
		}
		return err
	})
}

const orderedYAML = `
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  terminationGracePeriodSeconds: 30
  initContainers:
  - name: first
    image: example.com:5000/shop
    env: [{name: SHOP_VERSION, value: once}, {name: NAME, value: first}]
    volumeMounts: [{name: shared, mountPath: /shared}]
  - name: beside
    restartPolicy: Always
    image: example.com:5000/shop
    env: [{name: SHOP_VERSION, value: beside}]
    startupProbe: {httpGet: {path: /file/shared/log, port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: last
    image: example.com:5000/shop
    env: [{name: SHOP_VERSION, value: once}, {name: NAME, value: last}]
    volumeMounts: [{name: shared, mountPath: /shared}]
  restartPolicy: Never
  volumes: [{name: shared, emptyDir: {}}]
`

func TestInitContainersComeFirstAndSidecarsEndLast(t *testing.T) {
	b, ns := stocked(t)
	b.Apply(t, ns, orderedYAML)
	var pod *corev1.Pod
	b.Eventually(t, "the end of the pod", func(ctx context.Context) (err error) {
		if pod, err = b.Client.CoreV1().Pods(ns).Get(ctx, "shop", metav1.GetOptions{}); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("its status is %v", pod.Status)
		}
		return nil
	})
	first, beside := pod.Status.InitContainerStatuses[0].State.Terminated, pod.Status.InitContainerStatuses[1].State.Terminated
	last := pod.Status.ContainerStatuses[0].State.Terminated
	if first == nil || beside == nil || last == nil {
		t.Fatalf("not all of its containers have ended: %v", pod.Status)
	}
	if last.StartedAt.Before(&first.FinishedAt) || last.StartedAt.Before(&beside.StartedAt) || beside.FinishedAt.Before(&last.FinishedAt) {
		t.Errorf("first ran %v to %v, beside %v to %v, last %v to %v", first.StartedAt, first.FinishedAt,
			beside.StartedAt, beside.FinishedAt, last.StartedAt, last.FinishedAt)
	}
}

const keeperYAML = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keeper}
spec:
  serviceName: keeper
  selector: {matchLabels: {app: keeper}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      terminationGracePeriodSeconds: 5
      initContainers:
      - name: first
        image: example.com:5000/shop
        env: [{name: SHOP_VERSION, value: once}, {name: NAME, value: here}]
        volumeMounts: [{name: data, mountPath: /shared}]
      containers:
      - name: shop
        image: example.com:5000/shop
        env: [{name: SHOP_VERSION, value: 1.0.0}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
        volumeMounts: [{name: data, mountPath: /shared}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: keeper}
spec: {clusterIP: None, selector: {app: keeper}, ports: [{port: 8080}]}
`

func TestAClaimKeepsWhatAPodWrote(t *testing.T) {
	b, ns := stocked(t)
	b.Apply(t, ns, keeperYAML)
	old := podReady(t, b, ns, "keeper-0")
	b.Kubectl(t, "delete", "pod/keeper-0", "--namespace", ns)
	b.Eventually(t, "another pod", func(ctx context.Context) error {
		pod, err := b.Client.CoreV1().Pods(ns).Get(ctx, "keeper-0", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.UID == old.UID || !isReady(pod) {
			return errors.New("it is not ready yet")
		}
		return nil
	})
	pod := podReady(t, b, ns, "keeper-0")
	if got := get(t, at(pod), "/file/shared/log"); strings.Count(got, "here\n") != 2 {
		t.Errorf("the claim has %q, want what both pods wrote", got)
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", netip.AddrPortFrom(b.Gateway, 53).String())
	}}
	b.Eventually(t, "a name for the Service", func(ctx context.Context) error {
		addresses, err := resolver.LookupHost(ctx, "keeper."+ns+".svc.cluster.local.")
		if err == nil && !slices.Equal(addresses, []string{pod.Status.PodIP}) {
			err = fmt.Errorf("it is that of %v, want %s", addresses, pod.Status.PodIP)
		}
		return err
	})
}

const askerYAML = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: asker}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: asker}
rules: [{apiGroups: [""], resources: [services], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: asker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: asker}
subjects: [{kind: ServiceAccount, name: asker}]
---
apiVersion: v1
kind: Service
metadata: {name: something}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: may}
spec: &spec
  serviceAccountName: asker
  restartPolicy: Never
  securityContext: {runAsUser: 65532, runAsNonRoot: true}
  containers:
  - {name: kubectl, image: example.com:5000/kubectl, args: [get, services, --output, name, --cache-dir, /tmp/cache], volumeMounts: [{name: tmp, mountPath: /tmp}]}
  volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: maynot}
spec:
  serviceAccountName: asker
  restartPolicy: Never
  containers:
  - {name: kubectl, image: example.com:5000/kubectl, args: [get, pods]}
`

func TestASealedProgramAsksTheAPIServerAsTheAccountOfItsPod(t *testing.T) {
	b := bed.Start(t)
	b.Images.Set("example.com:5000/kubectl", kubelet.Image{Path: b.Program(), Args: []string{"kubectl"}, Sealed: true})
	ns := b.Namespace(t)
	b.Apply(t, ns, askerYAML)
	for pod, want := range map[string]struct {
		phase corev1.PodPhase
		log   string
	}{
		"may":    {corev1.PodSucceeded, "service/something"},
		"maynot": {corev1.PodFailed, "system:serviceaccount:" + ns + ":asker"},
	} {
		b.Eventually(t, "the end of "+pod, func(ctx context.Context) error {
			object, err := b.Client.CoreV1().Pods(ns).Get(ctx, pod, metav1.GetOptions{})
			if err == nil && object.Status.Phase != want.phase {
				err = fmt.Errorf("its status is %v", object.Status)
			}
			return err
		})
		if log := b.Logs(t, ns, pod, "kubectl"); !strings.Contains(log, want.log) {
			t.Errorf("%s says %q, want %q in it", pod, log, want.log)
		}
	}
}

const hollowYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 200
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      containers:
      - {name: none, image: example.com:5000/none, ports: [{containerPort: 80}], readinessProbe: {httpGet: {port: 80}}}
---
apiVersion: v1
kind: Service
metadata: {name: many}
spec: {selector: {app: many}, ports: [{port: 80}]}
`

func TestPodsWithoutAProgramAreReadyAndEndAtOnce(t *testing.T) {
	b := bed.Start(t)
	b.Images.Set("example.com:5000/none", kubelet.Image{})
	ns := b.Namespace(t)
	began := time.Now()
	b.Apply(t, ns, hollowYAML)
	all := endpoints(t, b, ns, "200 ready endpoints", ready(200))
	t.Logf("200 pods are ready after %v", time.Since(began))
	addresses := map[string]bool{}
	for _, e := range all {
		addresses[e.Addresses[0]] = true
	}
	if len(addresses) != 200 {
		t.Errorf("200 pods have %d addresses", len(addresses))
	}
	b.Kubectl(t, "scale", "deployment/many", "--replicas=0", "--namespace", ns)
	endpoints(t, b, ns, "no endpoint", ready(0))
}

const gatedYAML = `
apiVersion: v1
kind: Pod
metadata: {name: gated}
spec:
  readinessGates: [{conditionType: example.com/routed}]
  containers: [{name: none, image: example.com:5000/none}]
`

func TestAReadinessGateKeepsAPodFromBeingReady(t *testing.T) {
	b := bed.Start(t)
	b.Images.Set("example.com:5000/none", kubelet.Image{})
	ns := b.Namespace(t)
	b.Apply(t, ns, gatedYAML)
	b.Eventually(t, "ready containers", func(ctx context.Context) error {
		pod, err := b.Client.CoreV1().Pods(ns).Get(ctx, "gated", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(pod.Status.ContainerStatuses) == 0 || !pod.Status.ContainerStatuses[0].Ready {
			return fmt.Errorf("its status is %v", pod.Status)
		}
		if isReady(pod) {
			t.Error("the pod is ready before its gate is open")
		}
		return nil
	})
	b.Kubectl(t, "patch", "pod/gated", "--namespace", ns, "--subresource=status", "--patch",
		`{"status":{"conditions":[{"type":"example.com/routed","status":"True"}]}}`)
	podReady(t, b, ns, "gated")
}

const pausedYAML = `
apiVersion: v1
kind: Pod
metadata: {name: paused}
spec:
  terminationGracePeriodSeconds: 60
  containers:
  - name: shop
    image: example.com:5000/shop
    env: [{name: SHOP_VERSION, value: 1.0.0}]
    readinessProbe: {httpGet: {path: /ready, port: 8080}}
    lifecycle: {preStop: {sleep: {seconds: 2}}}
`

func TestAPodIsAskedToEndAfterItsPause(t *testing.T) {
	b, ns := stocked(t)
	b.Apply(t, ns, pausedYAML)
	pod := podReady(t, b, ns, "paused")
	began := time.Now()
	b.Kubectl(t, "delete", "pod/paused", "--namespace", ns)
	if took := time.Since(began); took < 3*time.Second { // a second more, since the shop lingers
		t.Errorf("the pod ended after %v, before its pause was over", took)
	}
	if answer, err := fetch(t.Context(), at(pod), "/"); err == nil {
		t.Errorf("the pod answers %q after it has ended", answer)
	}
}
