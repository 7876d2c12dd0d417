// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// render returns what the chart comes to with values, or how Helm refuses them.
func render(t *testing.T, values ...string) (string, error) {
	t.Helper()
	args := []string{"template", "sluice", chart, "--namespace", "sluice"}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	cmd := exec.CommandContext(t.Context(), find(t, "helm"), args...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return problems.String(), err
	}
	return out.String(), nil
}

func TestTheManifestsAreWhatTheChartComesTo(t *testing.T) {
	t.Parallel()
	want, err := render(t)
	if err != nil {
		t.Fatal(want, err)
	}
	got, err := os.ReadFile(repository + "/deploy/kubernetes/sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("deploy/kubernetes/sluice.yaml is not what the chart comes to: make manifests writes it anew")
	}
}

func TestTheChartHasTheDefinitionOfGateways(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(repository + "/deploy/kubernetes/sluicegateways.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(chart + "/files/sluicegateways.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("files/sluicegateways.yaml of the chart is not deploy/kubernetes/sluicegateways.yaml: make manifests copies it")
	}
}

func TestTheChartIsGood(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), find(t, "helm"), "lint", "--strict", chart).CombinedOutput()
	if err != nil || strings.Contains(string(out), "[WARNING]") {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
}

func TestValuesChangeWhatIsInstalled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []string
		has    []string
		lacks  []string
	}{
		{
			"by default two proxies follow one control plane",
			nil,
			[]string{"kind: StatefulSet", "kind: Deployment", "replicas: 2", "--control=sluice-control.sluice.svc:8091", "kind: ClusterRole\n", "--service-type=NodePort", "type: LoadBalancer", "--service-internal-traffic-policy=Cluster"},
			[]string{"kind: DaemonSet", "--kubernetes-namespaces", "is-default-class"},
		},
		{
			"on every node, gateways' Services lead to that node's proxy",
			[]string{"proxy.kind=DaemonSet"},
			[]string{"kind: DaemonSet", "--service-internal-traffic-policy=Local"},
			[]string{"kind: Deployment", "replicas: 2", "PodDisruptionBudget"},
		},
		{
			"with namespaces, rights end there",
			[]string{"watch.namespaces={shop,cart}"},
			[]string{"--kubernetes-namespaces=shop,cart", "namespace: shop\n", "namespace: cart\n", "name: sluice-sluice-watch"},
			[]string{"- {apiGroups: [\"\"], resources: [secrets], verbs: [list, watch]}\n- {apiGroups: [networking.k8s.io], resources: [ingressclasses]"},
		},
		{
			"an environment has Services in its own namespace, and its proxies may join",
			[]string{"watch.environments.acme/prod=shop-prod"},
			[]string{"--kubernetes-environment=acme/prod=shop-prod", "namespace: shop-prod\n", "--namespace=default/default,acme/prod"},
			nil,
		},
		{
			"credentials of an environment are kept where its proxies are",
			[]string{"watch.environments.acme/prod=shop-prod"},
			[]string{"--proxies=acme/prod=shop-prod", "--sidecars=acme/prod=shop-prod", "name: sluice-sluice-renewal\n  namespace: shop-prod\n", `resourceNames: ["sluice-proxy","sluice-sidecar"], verbs: [get, update]`},
			nil,
		},
		{
			"proxies beside applications have credentials without keys in their namespace",
			[]string{"credentials.sidecars.web=default/default"},
			[]string{"--sidecars=default/default=web", "name: sluice-sluice-credentials\n  namespace: web\n", `resourceNames: ["sluice-sidecar"], verbs: [get, update]`},
			[]string{"--proxies="},
		},
		{
			"an environment in the namespace of the release has the credentials there",
			[]string{"watch.environments.acme/prod=sluice"},
			[]string{"--sidecars=acme/prod=sluice", "--namespace=default/default,acme/prod"},
			[]string{"--proxies=", "sluice-sluice-renewal"},
		},
		{
			"keys of certificates stay in memory",
			nil,
			[]string{"--secrets-dir=/var/lib/sluice-keys", "emptyDir: {medium: Memory, sizeLimit: 64Mi}"},
			nil,
		},
		{
			"labels of namespaces count if that is asked for, and take a right",
			[]string{"watch.namespaceLabels=true"},
			[]string{"- --kubernetes-namespace-labels\n", "resources: [namespaces], verbs: [list, watch]"},
			nil,
		},
		{
			"labels of namespaces do not count else",
			nil,
			[]string{"- --kubernetes-installation=sluice\n"},
			[]string{"--kubernetes-namespace-labels", "resources: [namespaces]"},
		},
		{
			"proxies alone follow another installation",
			[]string{"control.enabled=false", "proxy.control={sluice-control.mesh.svc:8091}", "proxy.namespaces={acme/prod}"},
			[]string{"--control=sluice-control.mesh.svc:8091", "- --namespace=acme/prod"},
			[]string{"kind: StatefulSet", "kind: Role", "kind: Job", "kind: IngressClass"},
		},
		{
			"without Ingresses and Secrets there are no rights to them",
			[]string{"ingress.enabled=false", "watch.secrets=false"},
			[]string{"--ingress-class=none", "--kubernetes-secrets=false"},
			[]string{"resources: [ingresses", "resources: [secrets], verbs: [list", "kind: IngressClass"},
		},
		{
			"without Services of gateways there are no rights to write them",
			[]string{"gatewayServices.type=none"},
			[]string{"--service-type=none"},
			[]string{"verbs: [get, list, watch, create, update, delete]", "-services\n"},
		},
		{
			"with credentials of others none are made",
			[]string{"credentials.create=false"},
			[]string{"secretName: sluice-proxy"},
			[]string{"kind: Job", "kind: CronJob", "verbs: [create]}\n- {apiGroups: [\"\"], resources: [secrets], resourceNames"},
		},
		{
			"images come from a registry, by a tag",
			[]string{"image.registry=registry.example/mesh", "image.tag=v2", "image.pullSecrets={pull}"},
			[]string{"image: registry.example/mesh/sluice:v2", "image: registry.example/mesh/sluice-proxy:v2", "imagePullSecrets:\n      - name: pull"},
			nil,
		},
		{
			"balancers in front are believed, and arguments are passed on",
			[]string{"proxy.trustedProxies={10.0.0.0/8}", "proxy.extraArgs={--max-requests=1000}", "control.extraArgs={--max-proxies=5}", "ingress.default=true"},
			[]string{"--trusted-proxies=10.0.0.0/8", `- "--max-requests=1000"`, `- "--max-proxies=5"`, `ingressclass.kubernetes.io/is-default-class: "true"`},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := render(t, tt.values...)
			if err != nil {
				t.Fatal(out, err)
			}
			for _, text := range tt.has {
				if !strings.Contains(out, text) {
					t.Errorf("there is no %q", text)
				}
			}
			for _, text := range tt.lacks {
				if strings.Contains(out, text) {
					t.Errorf("there is %q", text)
				}
			}
		})
	}
}

// helm upgrade --reuse-values brings the values of the chart before, in which
// what is new is not there at all.
func TestValuesOfTheChartBeforeAreTaken(t *testing.T) {
	t.Parallel()
	want, err := render(t)
	if err != nil {
		t.Fatal(want, err)
	}
	got, err := render(t, "credentials.proxies=null", "credentials.sidecars=null", "watch.namespaceLabels=null")
	if err != nil || got != want {
		t.Errorf("without values that are new: %v\n%s", err, got)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, want string }{
		{"a key that does not exist", "proxy.replica=3", "'replica' not allowed"},
		{"a kind of nothing", "proxy.kind=StatefulSet", "/proxy/kind"},
		{"a type of Service that does not exist", "gatewayServices.type=Port", "/gatewayServices/type"},
		{"a name that no namespace has", "watch.namespaces={Shop}", "/watch/namespaces/0"},
		{"credentials for half an environment", "credentials.sidecars.web=default", "/credentials/sidecars/web"},
		{"labels of namespaces of which most are not seen", "watch.namespaceLabels=true,watch.namespaces={shop}", "leave watch.namespaces out"},
		{"half an environment", "watch.environments.acme=shop", "'acme' does not match pattern"},
		{"a time without a unit", "proxy.drain=30", "/proxy/drain"},
		{"an address without a port", "proxy.control={control.example}", "/proxy/control/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if out, err := render(t, tt.value); err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("helm template --set %s: %v\n%s\nwant a refusal with %q", tt.value, err, out, tt.want)
			}
		})
	}
}
