// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/kube/bed"
	"github.com/sluice-mesh/sluice/test/kube/kubelet"
)

// shopVariable makes this program the shop, in the version that it holds.
const shopVariable = "SHOP_VERSION"

// patience bounds how long anything is waited for. It is only used up where
// something is wrong.
const patience = time.Minute

const shopYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: shop
        image: example.com:5000/shop:1.0.0
        ports: [{name: web, containerPort: 8080}]
        env:
        - {name: SHOP_VERSION, value: 1.0.0}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        readinessProbe: {httpGet: {path: /ready, port: web}, periodSeconds: 1}
        livenessProbe: {httpGet: {path: /alive, port: web}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: web}]}
`

// runShop answers with its version and node, with variables below /env/ and
// with files of its pod below /file/. GET /break has it fail its liveness probe.
// After SIGTERM it lingers, still serving, for a second. In a version "once" it
// writes that it ran to /shared/log and ends.
func runShop(version string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	root := os.Getenv("BED_ROOT")
	if version == "once" {
		return appendLine(filepath.Join(root, "shared/log"), os.Getenv("NAME"))
	}
	mux := http.NewServeMux()
	broken := make(chan struct{}, 1)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s on %s", version, os.Getenv("NODE")) })
	mux.HandleFunc("/env/{name}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.PathValue("name"))) })
	mux.HandleFunc("/file/{path...}", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(inRoot(root, r.PathValue("path")))
		if err != nil {
			text = []byte(err.Error())
		}
		_, _ = w.Write(text)
	})
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/break", func(http.ResponseWriter, *http.Request) { broken <- struct{}{} })
	mux.HandleFunc("/alive", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-broken:
			w.WriteHeader(http.StatusInternalServerError)
		default:
		}
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: patience}
	go func() {
		<-ctx.Done()
		time.Sleep(time.Second)
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// inRoot returns where a path of a pod is, whose mounts are links in its root.
func inRoot(root, path string) string {
	dir, err := os.Readlink(filepath.Join(root, filepath.Dir(path)))
	if err != nil {
		return err.Error()
	}
	return filepath.Join(root, dir, filepath.Base(path))
}

// appendLine adds a line to a file of a pod.
func appendLine(path, line string) int {
	root := os.Getenv("BED_ROOT")
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return 1
	}
	f, err := os.OpenFile(inRoot(root, rel), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, err = fmt.Fprintln(f, line)
	if err = errors.Join(err, f.Close()); err != nil {
		return 1
	}
	return 0
}

// shop deploys two pods of the shop in a namespace of their own.
func shop(t *testing.T) (b *bed.Bed, ns string) {
	t.Helper()
	b, ns = stocked(t)
	b.Apply(t, ns, shopYAML)
	return b, ns
}

// stocked returns a bed that has an image of the shop, and a namespace.
func stocked(t *testing.T) (b *bed.Bed, ns string) {
	t.Helper()
	b = bed.Start(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.Images.Set("example.com:5000/shop", kubelet.Image{Path: self})
	return b, b.Namespace(t)
}

// endpoints waits until the endpoints of the shop are as right says, and
// returns them.
func endpoints(t *testing.T, b *bed.Bed, ns, what string, right func([]discoveryv1.Endpoint) bool) []discoveryv1.Endpoint {
	t.Helper()
	var all []discoveryv1.Endpoint
	b.Eventually(t, what, func(ctx context.Context) error {
		list, err := b.Client.DiscoveryV1().EndpointSlices(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		all = nil
		for _, slice := range list.Items {
			all = append(all, slice.Endpoints...)
		}
		if !right(all) {
			return fmt.Errorf("endpoints are %v", all)
		}
		return nil
	})
	return all
}

// ready returns whether exactly n endpoints are there, all ready.
func ready(n int) func([]discoveryv1.Endpoint) bool {
	return func(all []discoveryv1.Endpoint) bool {
		for _, e := range all {
			if !*e.Conditions.Ready {
				return false
			}
		}
		return len(all) == n
	}
}

// get returns the answer of an endpoint of the shop.
func get(t *testing.T, e discoveryv1.Endpoint, path string) string {
	t.Helper()
	text, err := fetch(t.Context(), e, path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// fetch is get for those who wait for another answer.
func fetch(ctx context.Context, e discoveryv1.Endpoint, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Addresses[0]+":8080"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func TestPodsOfADeploymentAnswerOnTheirOwnAddresses(t *testing.T) {
	b, ns := shop(t)
	nodes := map[string]bool{}
	for _, e := range endpoints(t, b, ns, "two ready endpoints", ready(2)) {
		if got, want := get(t, e, "/"), "1.0.0 on "+*e.NodeName; got != want {
			t.Errorf("%s answers %q, want %q", e.Addresses[0], got, want)
		}
		nodes[*e.NodeName+" "+*e.Zone] = true
	}
	if len(nodes) != 2 {
		t.Errorf("the pods are on %v, want two nodes", nodes)
	}
}

func TestADeletedPodServesUntilItsProcessHasEnded(t *testing.T) {
	b, ns := shop(t)
	endpoints(t, b, ns, "two ready endpoints", ready(2))
	b.Kubectl(t, "scale", "deployment/shop", "--replicas=1", "--namespace", ns)
	endpoints(t, b, ns, "one terminating, still serving", func(all []discoveryv1.Endpoint) bool {
		for _, e := range all {
			c := e.Conditions
			if *c.Terminating && *c.Serving && !*c.Ready {
				return true
			}
		}
		return false
	})
	endpoints(t, b, ns, "one ready endpoint", ready(1))
}

func TestAContainerThatFailsItsLivenessProbeIsRestarted(t *testing.T) {
	b, ns := shop(t)
	get(t, endpoints(t, b, ns, "two ready endpoints", ready(2))[0], "/break")
	b.Eventually(t, "a restart", func(ctx context.Context) error {
		list, err := b.Client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range list.Items {
			if pod.Status.ContainerStatuses[0].RestartCount > 0 {
				return nil
			}
		}
		return fmt.Errorf("restarts: %v", restarts(list.Items))
	})
	endpoints(t, b, ns, "two ready endpoints again", ready(2))
}

// restarts returns how often the container of each pod was restarted.
func restarts(pods []corev1.Pod) []string {
	var all []string
	for _, pod := range pods {
		all = append(all, pod.Name+" "+strconv.Itoa(int(pod.Status.ContainerStatuses[0].RestartCount)))
	}
	return all
}

func TestPodsOutliveTheAPIServer(t *testing.T) {
	b, ns := shop(t)
	before := endpoints(t, b, ns, "two ready endpoints", ready(2))
	b.KillAPIServer(t)
	for _, e := range before {
		get(t, e, "/")
	}
	b.StartAPIServer(t)
	b.Kubectl(t, "scale", "deployment/shop", "--replicas=3", "--namespace", ns)
	endpoints(t, b, ns, "three ready endpoints", ready(3))
}

func TestAPausedAPIServerHangsUntilItIsResumed(t *testing.T) {
	b := bed.Start(t)
	ns := b.Namespace(t)
	resume := b.PauseAPIServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.Client.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{}); ctx.Err() == nil {
		t.Errorf("Get() = %v while the API server is paused, want no answer", err)
	}
	resume()
	if _, err := b.Client.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); err != nil {
		t.Errorf("Get() = %v after the API server was resumed", err)
	}
}
