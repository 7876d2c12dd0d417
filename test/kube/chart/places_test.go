// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nearYAML runs the product API on a node, whose name it answers as its version.
const nearYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: near-NODE}
spec:
  selector: {matchLabels: {app: near, node: NODE}}
  template:
    metadata: {labels: {app: near, node: NODE}}
    spec:
      nodeName: NODE
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: sava
        image: "vampio/sava:1.0.3"
        ports: [{containerPort: 8080}]
        env: [{name: VERSION, value: NODE}, {name: PORT, value: "8080"}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

const nearGatewayYAML = `
name: near
port: 9070
routes: {all: {weight: 100%, selector: label(app)(near)}}
sluice: {locality: zone}
`

// With a proxy on every node, each asks the instances of its own node, and
// Services lead clients to the proxy of theirs.
func TestAProxyOnEveryNodeAsksItsNode(t *testing.T) {
	t.Parallel()
	i := install(t, "proxy.kind=DaemonSet")
	nodes := []string{"node-1", "node-2"}
	for _, node := range nodes {
		i.b.Apply(t, i.ns, strings.ReplaceAll(nearYAML, "NODE", node))
		i.b.Kubectl(t, "rollout", "status", "deployment/near-"+node, "--timeout=60s", "--namespace", i.ns)
	}
	i.sluice(nearGatewayYAML, "apply", "-f", "-", "--wait")
	proxies := make(map[string]corev1.Pod)
	for _, p := range i.pods(t.Context(), "proxy") {
		proxies[p.Spec.NodeName] = p
	}
	if len(proxies) != len(nodes) {
		t.Fatalf("there are proxies on %d nodes, want %d", len(proxies), len(nodes))
	}
	for _, node := range nodes {
		i.b.Eventually(t, "twenty answers of "+node+" in a row", func(ctx context.Context) error {
			for range 20 {
				if v, err := i.version(ctx, proxies[node], 9070); err != nil || v != node {
					return fmt.Errorf("%q answers, %w", v, err)
				}
			}
			return nil
		})
	}
	i.b.Eventually(t, "an answer of the gateway's Service", func(ctx context.Context) error {
		_, err := i.through(ctx, "near")
		return err
	})
	service, err := i.b.Client.CoreV1().Services(i.ns).Get(t.Context(), "near", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p := service.Spec.InternalTrafficPolicy; p == nil || *p != corev1.ServiceInternalTrafficPolicyLocal {
		t.Errorf("the Service leads to any proxy, want that of the node")
	}

	// Without an instance of its own node, a proxy asks those of others.
	i.b.Kubectl(t, "scale", "deployment/near-node-1", "--replicas=0", "--namespace", i.ns)
	i.b.Eventually(t, "answers of the other node", func(ctx context.Context) error {
		if v, err := i.version(ctx, proxies["node-1"], 9070); err != nil || v != "node-2" {
			return fmt.Errorf("%q answers, %w", v, err)
		}
		return nil
	})
	i.writesAll("9071", nearGatewayYAML)
	i.hasTheRightsItUses("sluice-control")
}

// version returns which version of the product API answers at a port of a proxy.
func (i *installation) version(ctx context.Context, proxy corev1.Pod, port int) (string, error) {
	text, err := i.ask(ctx, fmt.Sprintf("http://%s:%d/products/ie", proxy.Status.PodIP, port), "", "")
	if err != nil {
		return "", err
	}
	var answer struct{ Version string }
	err = json.Unmarshal([]byte(text), &answer)
	return answer.Version, err
}

// writesAll has the control plane write all that it ever writes: the gateway of
// a text, which has port 9070, moves to another port, and goes.
func (i *installation) writesAll(port, gateway string) {
	i.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(gateway), "name: "), "\n")
	i.b.Apply(i.T, i.ns, strings.ReplaceAll(objectsYAML, "CLASS", i.class))
	i.b.Kubectl(i.T, "patch", "service/sluice-proxy", "--namespace", i.ns, "--patch", `{"spec":{"externalIPs":["198.51.100.7"]}}`)
	i.sluice(strings.Replace(gateway, "9070", port, 1), "apply", "-f", "-", "--wait")
	i.b.Eventually(i.T, "an answer at another port", func(ctx context.Context) error {
		_, err := i.through(ctx, name+":"+port)
		return err
	})
	i.sluice("", "delete", "gateway", name, "--yes")
}

// Each environment has its proxies and its Services in a namespace of
// Kubernetes of its own, with credentials that are good for nothing else.
func TestEnvironmentsAreKeptApart(t *testing.T) {
	t.Parallel()
	i := prepare(t)
	versions := map[string]string{"prod": "1.0.3", "test": "2.0.1"}
	places := make(map[string]*installation)
	spaces, values := []string{i.ns}, []string(nil)
	for _, env := range []string{"prod", "test"} {
		e := prepare(t)
		e.class = i.class
		places[env], spaces = e, append(spaces, e.ns)
		values = append(values, "watch.environments.acme/"+env+"="+e.ns)
	}
	i.install(append(values, "watch.namespaces={"+strings.Join(spaces, ",")+"}")...)
	for env, e := range places {
		e.install("control.enabled=false", "crds.create=false", "proxy.namespaces={acme/"+env+"}",
			"proxy.control={sluice-control."+i.ns+".svc:8091}")
		e.env = append(append([]string(nil), i.env...), "SLUICE_NAMESPACE=acme/"+env)
		e.deploy("sava-product", versions[env], "", "8080", "")
		e.sluice(productYAML, "apply", "-f", "-", "--wait")
	}
	for env, e := range places {
		e.b.Eventually(t, "an answer of the Service in "+env, func(ctx context.Context) error {
			text, err := e.through(ctx, "sava-product")
			if err == nil && !strings.Contains(text, `"version":"`+versions[env]+`"`) {
				err = fmt.Errorf("it is %q", text)
			}
			return err
		})
		if got := e.versions(20, ""); got[versions[env]] != 20 {
			t.Errorf("the versions in %s answer %v, want %s alone", env, got, versions[env])
		}
		for _, name := range []string{"sluice-proxy", "sluice-sidecar"} {
			if e.secret(name)["token"] == nil {
				t.Errorf("there is no token in %s of %s", name, env)
			}
		}
	}
	if _, err := i.b.Client.CoreV1().Services(i.ns).Get(t.Context(), "sava-product", metav1.GetOptions{}); err == nil {
		t.Error("the Service of an environment is in the namespace of the release")
	}
	// What stands in objects of an environment belongs to it, and Ingresses have
	// the address of its proxies.
	places["prod"].writesAll("9072", productYAML)
	i.hasTheRightsItUses("sluice-control")

	// Credentials in other namespaces are renewed.
	before := places["prod"].secret("sluice-sidecar")["token"]
	i.spoil(i.ns, "sluice-proxy")
	i.spoil(places["prod"].ns, "sluice-sidecar")
	i.renew()
	if after := places["prod"].secret("sluice-sidecar")["token"]; string(after) == string(before) || len(after) == 0 {
		t.Error("a token that was lost in another namespace was not made anew")
	}
	i.hasTheRightsItUses("sluice-renewal")
}

// What stands in a namespace with the label of an environment is found by
// gateways of that environment, with the rights of the chart.
func TestLabelsOfNamespacesSayWhoseTheyAre(t *testing.T) { //nolint:paralleltest // it watches all namespaces
	i, home, other := prepare(t), prepare(t), prepare(t)
	i.install("watch.namespaces=null", "watch.namespaceLabels=true", "watch.environments.acme/prod="+home.ns)
	home.class = i.class
	home.install("control.enabled=false", "crds.create=false", "proxy.namespaces={acme/prod}", "proxy.control={sluice-control."+i.ns+".svc:8091}")
	home.env = append(append([]string(nil), i.env...), "SLUICE_NAMESPACE=acme/prod")
	other.deploy("sava-product", "2.0.1", "", "8080", "")
	home.deploy("sava-product", "1.0.3", "", "8080", "")
	home.sluice(productYAML, "apply", "-f", "-", "--wait")
	home.untilRoutes(map[string]string{"(1.0.3)": "100%"})
	i.b.Kubectl(t, "label", "namespace/"+other.ns, "sluice.dev/environment=acme.prod")
	home.untilRoutes(map[string]string{"(1.0.3)": "100%", "(2.0.1)": "0%"})
	i.b.Kubectl(t, "label", "namespace/"+other.ns, "sluice.dev/environment-")
	home.untilRoutes(map[string]string{"(1.0.3)": "100%"})
	home.writesAll("9071", productYAML)
	i.hasTheRightsItUses("sluice-control")
	i.b.Kubectl(t, "delete", "statefulset/sluice-control", "--cascade=foreground", "--timeout=60s", "--namespace", i.ns)
}

// spoil takes the token out of a Secret.
func (i *installation) spoil(ns, name string) {
	i.Helper()
	i.b.Kubectl(i.T, "patch", "secret/"+name, "--namespace", ns, "--patch", `{"data":{"token":""}}`)
}

// renew has the credentials renewed now.
func (i *installation) renew() {
	i.Helper()
	i.b.Kubectl(i.T, "create", "job", "renewal-now", "--from=cronjob/sluice-renewal", "--namespace", i.ns)
	i.b.Eventually(i.T, "the end of the renewal", func(ctx context.Context) error {
		job, err := i.b.Client.BatchV1().Jobs(i.ns).Get(ctx, "renewal-now", metav1.GetOptions{})
		if err == nil && job.Status.Succeeded == 0 {
			err = errors.New("it goes on")
		}
		return err
	})
}
