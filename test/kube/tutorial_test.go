// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/kube/bed"
)

func init() { roles["origin"] = origin }

// origin answers each request with $VERSION and the name of its pod, and stops
// listening as soon as it is asked to end.
func origin() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %s\n", os.Getenv("VERSION"), os.Getenv("POD"))
	})}
	ended := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer ended()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// release is a Deployment of a version of the product API.
func release(version string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: sava-product-%[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: sava-product, version: %[1]s}}
  template:
    metadata: {labels: {app: sava-product, version: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: sava-product
        image: %[3]s
        ports: [{containerPort: 8080}]
        env:
        - {name: %[4]s, value: origin}
        - {name: VERSION, value: %[1]s}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`, version, replicas, selfImage, roleVariable)
}

// answering returns what waits until a hundred answers in a row of the gateway
// at a port come from versions and pods as wanted.
func answering(tb testing.TB, b *bed.Bed, port int) func(what string, holds func(versions, pods map[string]int) bool) {
	tb.Helper()
	url := "http://127.0.0.1:" + strconv.Itoa(port) + "/products/ie"
	return func(what string, holds func(versions, pods map[string]int) bool) {
		tb.Helper()
		b.Eventually(tb, what, func(ctx context.Context) error {
			versions, pods := make(map[string]int), make(map[string]int)
			for range 100 {
				text, err := fetch(ctx, url)
				if err != nil {
					return err
				}
				version, pod, _ := strings.Cut(strings.TrimSpace(text), " ")
				versions[version]++
				pods[pod]++
			}
			if !holds(versions, pods) {
				return fmt.Errorf("answers: %v %v", versions, pods)
			}
			return nil
		})
	}
}

// Versions are deployed by Kubernetes and released by a gateway.
func TestVersionsAreReleased(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	port := freeport.One(t)
	b.Apply(t, ns, release("1.0.3", 1))
	s := newSluice(t, b, ns)
	s.run(fmt.Sprintf("name: sava-product\nport: %d\nselector: label(app)(sava-product) && label(version)((.*))\n", port), "apply", "-f", "-")
	answers := answering(t, b, port)
	answers("the first version answers", func(v, _ map[string]int) bool { return v["1.0.3"] == 100 })

	b.Apply(t, ns, release("2.0.1", 2))
	s.until("the second version is a route without weight", func(out string) bool {
		return strings.Contains(out, "(2.0.1)") && strings.Contains(out, "(1.0.3)")
	}, "get", "gateways", "sava-product", "-o", "yaml")
	b.Kubectl(t, "rollout", "status", "deployment/sava-product-2.0.1", "--namespace", ns, "--timeout", "60s")
	answers("no request goes there", func(v, _ map[string]int) bool { return v["1.0.3"] == 100 })

	s.run("", "weight", "sava-product", "(1.0.3)=75%", "(2.0.1)=25%", "--wait")
	answers("the second version has its share, on both pods", func(v, p map[string]int) bool {
		return v["1.0.3"] == 75 && v["2.0.1"] == 25 && len(p) == 3
	})

	b.Kubectl(t, "scale", "deployment/sava-product-2.0.1", "--namespace", ns, "--replicas", "1")
	answers("one replica less takes requests", func(v, p map[string]int) bool { return v["2.0.1"] == 25 && len(p) == 2 })

	b.Kubectl(t, "delete", "deployment/sava-product-1.0.3", "--namespace", ns)
	s.until("the first version is no route any more", func(out string) bool {
		return !strings.Contains(out, "(1.0.3)")
	}, "get", "gateways", "sava-product", "-o", "yaml")
	answers("the second version has all", func(v, _ map[string]int) bool { return v["2.0.1"] == 100 })
}
