// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/kube/bed"
)

// installation is the chart, installed in a namespace of its own in which pods
// have to be restricted.
type installation struct {
	*testing.T
	b    *bed.Bed
	ns   string
	helm string

	class  string   // of Ingresses
	values []string // of the chart, KEY=VALUE each
	host   string   // of the API: a port of this machine
	env    []string // of sluice, as an operator sets it
}

// prepare returns an installation whose namespace is there, and nothing in it.
func prepare(t *testing.T) *installation {
	t.Helper()
	i := &installation{T: t, b: start(t), helm: find(t, "helm")}
	i.ns = i.b.Namespace(t)
	i.class = i.ns // other tests have installations, too
	i.b.Kubectl(t, "label", "namespace/"+i.ns, "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
	return i
}

// install installs the chart with values, KEY=VALUE each.
func install(t *testing.T, values ...string) *installation {
	t.Helper()
	i := prepare(t)
	i.install(values...)
	return i
}

// install installs the chart with values. It watches its namespace alone unless
// they say otherwise.
func (i *installation) install(values ...string) {
	i.Helper()
	i.values = append([]string{"watch.namespaces={" + i.ns + "}", "ingress.class=" + i.class}, values...)
	i.Helm(append([]string{"install", "sluice", chart, "--take-ownership"}, i.set()...)...)
	if !slices.Contains(values, "control.enabled=false") {
		i.connect()
	}
	i.Cleanup(func() {
		if i.Failed() {
			i.tell(context.WithoutCancel(i.Context()))
		}
	})
}

// set returns arguments of Helm for the values, those of tests among them:
// nobody gives addresses to Services of type LoadBalancer, and nobody waits long.
func (i *installation) set(more ...string) []string {
	args := []string{"--wait", "--timeout", "2m"}
	values := []string{"image.tag=" + tag, "proxy.service.type=ClusterIP", "proxy.pauseSeconds=1", "proxy.drain=5s"}
	for _, v := range slices.Concat(values, i.values, more) {
		args = append(args, "--set", v)
	}
	return args
}

// Helm runs Helm in the namespace and returns what it prints.
func (i *installation) Helm(args ...string) string {
	i.Helper()
	home := i.TempDir()
	cmd := exec.CommandContext(i.Context(), i.helm, append(args, "--namespace", i.ns)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+i.b.Kubeconfig,
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.tell(i.Context())
		i.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tell logs how the pods fare.
func (i *installation) tell(ctx context.Context) {
	i.Helper()
	if i.env != nil {
		out, err := i.try(ctx, "", "get", "gateways", "-o", "wide")
		i.Log(out, err)
		for _, p := range i.pods(ctx, "proxy") {
			out, err := i.ask(ctx, "http://"+p.Status.PodIP+":9070/products/ie", "", "")
			i.Log(p.Name, out, err)
		}
	}
	pods, err := i.b.Client.CoreV1().Pods(i.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		i.Log(err)
		return
	}
	for _, p := range pods.Items {
		i.Logf("pod %s: %s %v", p.Name, p.Status.Phase, p.Status.ContainerStatuses)
		for _, c := range p.Spec.Containers {
			text, _ := os.ReadFile(filepath.Join(i.b.Dir, "pods", string(p.UID), c.Name+".log"))
			i.Logf("%s", text[max(0, len(text)-4000):])
		}
	}
}

// pods returns the pods of a component, which are ready.
func (i *installation) pods(ctx context.Context, component string) []corev1.Pod {
	i.Helper()
	list, err := i.b.Client.CoreV1().Pods(i.ns).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/component=" + component, FieldSelector: "status.phase=Running",
	})
	if err != nil {
		i.Fatal(err)
	}
	return list.Items
}

// connect has sluice ask the control plane, as NOTES.txt says: through a port of
// this machine, with the token of an admin.
func (i *installation) connect() {
	i.Helper()
	ca := filepath.Join(i.TempDir(), "ca.crt")
	admin := i.secret("sluice-admin")
	if err := os.WriteFile(ca, admin["ca.crt"], 0o600); err != nil {
		i.Fatal(err)
	}
	background := context.WithoutCancel(i.Context())
	port := forward(i.T, func() string {
		pods := i.pods(background, "control")
		if len(pods) == 0 {
			return ""
		}
		return pods[0].Status.PodIP + ":8090"
	})
	i.host = "https://" + port
	i.env = append(os.Environ(), "SLUICE_HOST="+i.host, "SLUICE_CA="+ca, "SLUICE_TOKEN="+string(admin["token"]), "HOME="+i.TempDir())
}

// secret returns what a Secret holds.
func (i *installation) secret(name string) map[string][]byte {
	i.Helper()
	s, err := i.b.Client.CoreV1().Secrets(i.ns).Get(i.Context(), name, metav1.GetOptions{})
	if err != nil {
		i.Fatal(err)
	}
	return s.Data
}

// forward returns an address of this machine that leads to another one, as
// kubectl port-forward does. to is asked at each connection.
func forward(t *testing.T, to func() string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends with the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to()) //nolint:noctx // as above
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return listener.Addr().String()
}

// sluice runs sluice and returns what it prints. input is what it reads.
func (i *installation) sluice(input string, args ...string) string {
	i.Helper()
	out, err := i.try(i.Context(), input, args...)
	if err != nil {
		i.Fatal(err)
	}
	return out
}

// try is sluice for what may fail yet.
func (i *installation) try(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(built.dir, "sluice"), args...)
	cmd.Env, cmd.Stdin = i.env, strings.NewReader(input)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sluice %s: %w\n%s%s", strings.Join(args, " "), err, out, &problems)
	}
	return string(out), nil
}

// routes returns the weights of a gateway's routes, and how many instances each
// has.
func (i *installation) routes(ctx context.Context, gateway string) (map[string]string, error) {
	out, err := i.try(ctx, "", "get", "gateway", gateway, "-o", "json")
	if err != nil {
		return nil, err
	}
	var g struct {
		Routes map[string]struct{ Weight string }
	}
	if err := json.Unmarshal([]byte(out), &g); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	all := make(map[string]string)
	for name, r := range g.Routes {
		all[name] = r.Weight
	}
	return all, nil
}

// untilRoutes waits until the gateway of products has routes with these weights.
func (i *installation) untilRoutes(want map[string]string) {
	i.Helper()
	i.b.Eventually(i.T, fmt.Sprintf("routes %v", want), func(ctx context.Context) error {
		got, err := i.routes(ctx, "sava-product")
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("they are %v", got)
		}
		return err
	})
}

// through asks a Service for products by way of the API server, as kubectl proxy
// does.
func (i *installation) through(ctx context.Context, service string) (string, error) {
	var status int
	text, err := i.b.Client.Discovery().RESTClient().Get().
		AbsPath("/api/v1/namespaces/" + i.ns + "/services/" + service + "/proxy/products/ie").Do(ctx).StatusCode(&status).Raw()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return string(text), err
}

// ask asks a proxy as clients do. host and agent may be empty.
func (i *installation) ask(ctx context.Context, url, host, agent string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = host
	request.Header.Set("User-Agent", agent)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %v: %s", response.Status, response.Header, text)
	}
	return string(text), err
}

// versions counts which versions of the product API answer n requests of an
// agent to its gateway, by all proxies in turn.
func (i *installation) versions(n int, agent string) map[string]int {
	i.Helper()
	all, proxies := make(map[string]int), i.pods(i.Context(), "proxy")
	for k := range n {
		text, err := i.ask(i.Context(), "http://"+proxies[k%len(proxies)].Status.PodIP+":9070/products/ie", "", agent)
		if err != nil {
			i.Fatal(err)
		}
		var answer struct{ Version string }
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			i.Fatalf("%v: %s", err, text)
		}
		all[answer.Version]++
	}
	return all
}

// deploy runs a version of a part of the shop.
func (i *installation) deploy(app, version, locale, port, more string) {
	i.Helper()
	name := app + "-" + version
	if locale != "" {
		name += "-" + strings.ToLower(locale)
	}
	labels := "app: " + app + ", version: " + version
	if locale != "" {
		labels += ", locale: " + locale
	}
	i.b.Apply(i.T, i.ns, strings.NewReplacer("NAME", name, "LABELS", labels, "VERSION_OF", version, "PORT_OF", port, "MORE", more).Replace(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {LABELS}}
  template:
    metadata: {labels: {LABELS}}
    spec:
      terminationGracePeriodSeconds: 10
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: sava
        image: "vampio/sava:VERSION_OF"
        ports: [{containerPort: PORT_OF}]
        env: [{name: VERSION, value: VERSION_OF}, {name: PORT, value: "PORT_OF"}MORE]
        readinessProbe: {httpGet: {path: /ready, port: PORT_OF}}
        lifecycle: {preStop: {sleep: {seconds: 1}}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`))
}

const productYAML = `
name: sava-product
port: 9070
selector: label(app)(sava-product) && label(version)((.*))
`

const cartYAML = `
name: sava-cart-ie
virtual_hosts:
- ie.tutorials.vamp.cloud
selector: label(app)(sava-cart) && label(locale)(IE) && label(version)((.*))
`

func TestTheTutorialIsTrueOfAnInstallation(t *testing.T) {
	t.Parallel()
	i := install(t)
	// A version is deployed, and a gateway put before it.
	i.deploy("sava-product", "1.0.3", "", "8080", "")
	i.sluice(productYAML, "apply", "-f", "-", "--wait")
	i.b.Eventually(t, "an answer of the gateway's Service", func(ctx context.Context) error {
		text, err := i.through(ctx, "sava-product")
		if err == nil && !strings.Contains(text, `"version":"1.0.3"`) {
			err = fmt.Errorf("it is %q", text)
		}
		return err
	})
	service, err := i.b.Client.CoreV1().Services(i.ns).Get(t.Context(), "sava-product", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p := service.Spec.Ports; service.Spec.Type != corev1.ServiceTypeNodePort || len(p) != 1 || p[0].Port != 9070 || p[0].NodePort == 0 {
		t.Errorf("the Service is %s with %v, want a NodePort for 9070", service.Spec.Type, p)
	}

	// The store front has a host name on the port that gateways share, and
	// finds the product API by the name of the gateway.
	i.deploy("sava-cart", "1.0.5", "IE", "3000", `, {name: LOCALE, value: IE}, {name: PRODUCTS, value: "http://sava-product:9070"}`)
	i.sluice(cartYAML, "apply", "-f", "-", "--wait")
	i.b.Eventually(t, "an answer of the store front", func(ctx context.Context) error {
		text, err := i.ask(ctx, "http://"+i.pods(ctx, "proxy")[0].Status.PodIP+"/", "ie.tutorials.vamp.cloud", "")
		if err == nil && (!strings.HasPrefix(text, "cart 1.0.5 sells") || !strings.Contains(text, `"version":"1.0.3"`)) {
			err = fmt.Errorf("it is %q", text)
		}
		return err
	})

	// Another version is deployed beside it. Nothing of the traffic goes there.
	i.deploy("sava-product", "2.0.1", "", "8080", "")
	i.untilRoutes(map[string]string{"(1.0.3)": "100%", "(2.0.1)": "0%"})
	if got := i.versions(20, ""); got["1.0.3"] != 20 {
		t.Errorf("the versions answer %v, want 1.0.3 alone", got)
	}

	// It is released to some browsers, then by weight.
	i.sluice("", "update-gateway", "sava-product", "--route", "(2.0.1)", "--condition", "user-agent == Firefox", "--strength", "100%")
	i.b.Eventually(t, "the canary for Firefox", func(ctx context.Context) error {
		for _, p := range i.pods(ctx, "proxy") {
			text, err := i.ask(ctx, "http://"+p.Status.PodIP+":9070/products/ie", "", "Mozilla/5.0 Gecko/20100101 Firefox/140.0")
			if err != nil || !strings.Contains(text, "2.0.1") {
				return fmt.Errorf("it is %q, %w", text, err)
			}
		}
		return nil
	})
	if got := i.versions(20, "curl/8"); got["1.0.3"] != 20 {
		t.Errorf("the versions answer %v to other clients, want 1.0.3 alone", got)
	}
	i.sluice("", "weight", "sava-product", "(1.0.3)=50%", "(2.0.1)=50%", "--wait")
	if got := i.versions(40, "curl/8"); got["1.0.3"] < 16 || got["2.0.1"] < 16 {
		t.Errorf("the versions answer %v, want half of each", got)
	}
	i.sluice("", "weight", "sava-product", "(1.0.3)=0%", "(2.0.1)=100%", "--wait")
	if got := i.versions(20, "curl/8"); got["2.0.1"] != 20 {
		t.Errorf("the versions answer %v, want 2.0.1 alone", got)
	}

	// The old one is deleted, the new one has more instances.
	i.b.Kubectl(t, "delete", "deployment/sava-product-1.0.3", "--namespace", i.ns)
	i.untilRoutes(map[string]string{"(2.0.1)": "100%"})
	i.b.Kubectl(t, "scale", "deployment/sava-product-2.0.1", "--replicas=3", "--namespace", i.ns)
	i.b.Eventually(t, "three instances", func(ctx context.Context) error {
		out, err := i.try(ctx, "", "get", "gateway", "sava-product", "-o", "json")
		if n := strings.Count(out, `"port": 8080`); err == nil && n < 3 {
			err = fmt.Errorf("%d of them: %s", n, out)
		}
		return err
	})

	i.writesAll("9071", productYAML)
	i.sluice("", "delete", "gateway", "sava-cart-ie", "--yes")
	i.hasTheRightsItUses("sluice-control")
}

// objectsYAML are objects that the control plane writes to: a gateway with a
// status, an Ingress that is served, and one that points nowhere.
const objectsYAML = `
apiVersion: sluice.dev/v1alpha1
kind: SluiceGateway
metadata: {name: product-object}
spec:
  port: 9080
  selector: label(app)(sava-product) && label(version)((.*))
---
apiVersion: v1
kind: Service
metadata: {name: product-plain}
spec: {selector: {app: sava-product}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: product}
spec:
  ingressClassName: CLASS
  rules:
  - host: product.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: product-plain, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: nowhere}
spec:
  ingressClassName: CLASS
  rules:
  - host: nowhere.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: absent, port: {number: 80}}}}]}
`

func TestAnInstallationIsUpgradedRenewedAndTakenAway(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.deploy("sava-product", "1.0.3", "", "8080", "")
	i.sluice(productYAML, "apply", "-f", "-", "--wait")
	before := i.secret("sluice-proxy")

	i.Helm(append([]string{"upgrade", "sluice", chart, "--take-ownership"}, i.set("proxy.replicas=3", "control.logLevel=debug")...)...)
	if got := len(i.pods(i.Context(), "proxy")); got != 3 {
		t.Errorf("there are %d proxies after the upgrade, want 3", got)
	}
	if after := i.secret("sluice-proxy"); !maps.EqualFunc(before, after, slices.Equal) {
		t.Error("the upgrade has made other credentials")
	}
	i.b.Eventually(t, "an answer after the upgrade", func(ctx context.Context) error {
		_, err := i.try(ctx, "", "get", "gateway", "sava-product")
		if err == nil {
			_, err = i.through(ctx, "sava-product")
		}
		return err
	})

	i.spoil(i.ns, "sluice-sidecar")
	i.renew()
	i.hasTheRightsItUses("sluice-renewal")

	// Taken away by mistake and installed again, it is what it was.
	service := func() *corev1.Service {
		t.Helper()
		s, err := i.b.Client.CoreV1().Services(i.ns).Get(t.Context(), "sava-product", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	made := service()
	i.Helm("uninstall", "sluice", "--wait", "--timeout", "2m")
	i.Helm(append([]string{"install", "sluice", chart, "--take-ownership"}, i.set()...)...)
	i.b.Eventually(t, "an answer after all was installed again", func(ctx context.Context) error {
		_, err := i.through(ctx, "sava-product")
		return err
	})
	if again := service(); again.UID != made.UID || again.Spec.Ports[0].NodePort != made.Spec.Ports[0].NodePort {
		t.Errorf("the gateway has the Service %v, want the one that it had: %v", again, made)
	}

	i.sluice("", "delete", "gateway", "sava-product", "--yes")
	i.b.Eventually(t, "the end of the gateway's Service", func(ctx context.Context) error {
		_, err := i.b.Client.CoreV1().Services(i.ns).Get(ctx, "sava-product", metav1.GetOptions{})
		if err == nil {
			return errors.New("it is there")
		}
		return nil
	})
	i.Helm("uninstall", "sluice", "--wait", "--timeout", "2m")
	i.b.Eventually(t, "the end of all pods", func(ctx context.Context) error {
		left, err := i.b.Client.CoreV1().Pods(i.ns).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=sluice"})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("there are %d", len(left.Items))
		}
		return err
	})
	left := i.b.Kubectl(t, "get", "deployments,statefulsets,services,jobs,cronjobs,roles,rolebindings,serviceaccounts,poddisruptionbudgets",
		"--namespace", i.ns, "--selector", "app.kubernetes.io/instance=sluice", "--output", "name")
	if left = strings.TrimSpace(left); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if out := i.b.Kubectl(t, "get", "crd/sluicegateways.sluice.dev", "--output", "name"); !strings.Contains(out, "sluicegateways") {
		t.Errorf("gateways that are objects are gone with the release: %s", out)
	}
}
