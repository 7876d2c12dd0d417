// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// services are those of the tests: each has the port 80, called http, but
// none, which is missing. idle leads nowhere, outside to a name.
func services() kubernetes.Cluster {
	c := kubernetes.NewCluster()
	for _, called := range []string{"web", "root", "deep", "exact", "rest", "other", "new", "idle", "outside"} {
		s := serviceNamed(called)
		if called == "outside" {
			s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "web.example"
		}
		c.PutService(s)
		if called == "idle" || called == "outside" {
			continue
		}
		c.PutSlice(endpointSlice(called, 8080))
	}
	return c
}

// endpointSlice leads the port http of a Service to an address.
func endpointSlice(service string, port int32) *discoveryv1.EndpointSlice {
	called := "http"
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      []discoveryv1.EndpointPort{{Name: &called, Port: &port}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
	}
}

// asked is what Ingresses ask for, with the selectors of routes by path.
type asked struct {
	*routing.Snapshot
	table     *routing.Table
	selectors map[string]string
}

// ingresses reads the Ingresses of a text, and Secrets, and compiles what they
// ask for.
func ingresses(t *testing.T, text string, secrets ...*corev1.Secret) (asked, []string) {
	t.Helper()
	x := kubernetes.NewIngresses(services(), "")
	for d := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		one, err := d.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		x.Put(read(t, bytes.TrimSpace(one), new(networkingv1.Ingress)))
	}
	for _, s := range secrets {
		x.PutSecret(s)
	}
	return compile(t, x.Take())
}

// compile compiles what updates ask for, and returns what they tell of
// Ingresses.
func compile(t *testing.T, updates []discovery.Update) (asked, []string) {
	t.Helper()
	var docs []*routing.Document
	var told []string
	for _, u := range updates {
		docs = append(docs, u.Documents...)
		for _, f := range u.Faults {
			if strings.HasPrefix(u.Key, "ingresses/-") {
				t.Errorf("what was made of Ingresses is refused: %v", f)
			}
			told = append(told, f.Error())
		}
	}
	table, wrong := routing.Resolve(docs)
	s, more := routing.Compile(nil, table, routing.CompileOptions{})
	for _, f := range append(wrong, more...) {
		t.Errorf("what was made of Ingresses does not compile: %v", f)
	}
	selectors := make(map[string]string)
	for _, g := range table.Gateways {
		for _, r := range g.Routes {
			selectors[r.Path] = r.Selector
		}
	}
	return asked{s, table, selectors}, told
}

// serves returns the selector of the route that serves a request.
func serves(s asked, host, path string, fields ...string) string {
	g := s.ByHostAndPath(host, path)
	if g == nil {
		return "no gateway"
	}
	var d routing.Decision
	s.Decide(g, routingtest.NewRequest("GET", host, path, append(fields, "Host: "+host)...), &routingtest.Counters{}, &d)
	if d.Last().Route == nil {
		return d.Reason.String()
	}
	selector := s.selectors[d.Last().Route.Path]
	if selector == "false" {
		return "nothing"
	}
	_, after, _ := strings.Cut(selector, "label(sluice:service)(")
	service, _, _ := strings.Cut(after, ")")
	return service
}

// ingress writes an Ingress of one host, with paths such as "Exact /foo web".
func ingress(called, class, host string, paths ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "metadata: {name: %s, namespace: shop}\nspec:\n  ingressClassName: %s\n  rules:\n  - host: %q\n    http:\n      paths:\n", called, class, host)
	for _, p := range paths {
		f := strings.Fields(p)
		fmt.Fprintf(&b, "      - {pathType: %s, path: %q, backend: {service: {name: %s, port: {name: http}}}}\n", f[0], f[1], f[2])
	}
	return b.String()
}

func TestIngressesDecide(t *testing.T) {
	for _, tt := range []struct {
		name, text, host, path, want string
	}{
		{"another class is not ours", ingress("a", "nginx", "a.test", "Prefix / web"), "a.test", "/", "no gateway"},
		{"a host has its rules", ingress("a", "sluice", "a.test", "Prefix / web"), "a.test", "/x", "web"},
		{"another host has not", ingress("a", "sluice", "a.test", "Prefix / web"), "b.test", "/", "no gateway"},
		{"a wildcard stands for one label", ingress("a", "sluice", "*.a.test", "Prefix / web"), "x.a.test", "/", "web"},
		{"with a port, in any letter case", ingress("a", "sluice", "*.a.test", "Prefix / web"), "X.A.test:8080", "/", "web"},
		{"and not for none", ingress("a", "sluice", "*.a.test", "Prefix / web"), "a.test", "/", "no gateway"},
		{"and not for two", ingress("a", "sluice", "*.a.test", "Prefix / web"), "x.y.a.test", "/", "no_route"},
		{"an exact path matches", ingress("a", "sluice", "a.test", "Exact /foo web"), "a.test", "/foo", "web"},
		{"not with a slash", ingress("a", "sluice", "a.test", "Exact /foo web"), "a.test", "/foo/", "no_route"},
		{"not without its slash", ingress("a", "sluice", "a.test", "Exact /foo/ web"), "a.test", "/foo", "no_route"},
		{"not in another letter case", ingress("a", "sluice", "a.test", "Exact /foo web"), "a.test", "/FOO", "no_route"},
		{"not another path", ingress("a", "sluice", "a.test", "Exact /foo web"), "a.test", "/bar", "no_route"},
		{"a prefix matches itself", ingress("a", "sluice", "a.test", "Prefix /foo web"), "a.test", "/foo", "web"},
		{"and with a slash", ingress("a", "sluice", "a.test", "Prefix /foo web"), "a.test", "/foo/", "web"},
		{"and without the slash that it has", ingress("a", "sluice", "a.test", "Prefix /foo/ web"), "a.test", "/foo", "web"},
		{"and what is below it", ingress("a", "sluice", "a.test", "Prefix /foo web"), "a.test", "/foo/bar", "web"},
		{"but not as text alone", ingress("a", "sluice", "a.test", "Prefix /foo web"), "a.test", "/foobar", "no_route"},
		{"not in another letter case", ingress("a", "sluice", "a.test", "Prefix /foo web"), "a.test", "/FOO", "no_route"},
		{"the longest prefix wins", ingress("a", "sluice", "a.test", "Prefix / root", "Prefix /aaa/bbb deep", "Prefix /aaa web"), "a.test", "/aaa/bbb/c", "deep"},
		{"and the next longest what it lacks", ingress("a", "sluice", "a.test", "Prefix / root", "Prefix /aaa/bbb deep", "Prefix /aaa web"), "a.test", "/aaa/bbbc", "web"},
		{"and / all the rest", ingress("a", "sluice", "a.test", "Prefix / root", "Prefix /aaa web"), "a.test", "/ccc", "root"},
		{"exact comes before prefix", ingress("a", "sluice", "a.test", "Prefix /foo web", "Exact /foo exact"), "a.test", "/foo", "exact"},
		{"what our instances do not have is still its", ingress("a", "sluice", "a.test", "Prefix / root", "Prefix /foo idle"), "a.test", "/foo", "idle"},
		{
			"several objects make one host", ingress("a", "sluice", "a.test", "Prefix / root") + "---\n" + ingress("b", "sluice", "a.test", "Prefix /foo web"),
			"a.test", "/foo", "web",
		},
		{
			"the default backend has the rest of a host",
			ingress("a", "sluice", "a.test", "Prefix /foo web") + "  defaultBackend: {service: {name: rest, port: {number: 80}}}\n", "a.test", "/", "rest",
		},
		{
			"and not what no host has",
			ingress("a", "sluice", "a.test", "Prefix /foo web") + "  defaultBackend: {service: {name: rest, port: {number: 80}}}\n", "b.test", "/", "no gateway",
		},
		{
			"nor the rest of another host",
			ingress("a", "sluice", "a.test", "Prefix /foo web") + "  defaultBackend: {service: {name: rest, port: {number: 80}}}\n---\n" + ingress("b", "sluice", "b.test", "Prefix /bar web"),
			"b.test", "/", "no_route",
		},
		{
			"a default backend has the hosts that its TLS names",
			secured("metadata: {name: a, namespace: shop}\nspec:\n  ingressClassName: sluice\n  defaultBackend: {service: {name: rest, port: {number: 80}}}\n", "rest: [a.test]"),
			"a.test", "/", "rest",
		},
		{
			"a default backend alone does not have the rest of a host",
			ingress("a", "sluice", "a.test", "Prefix /foo web") + "---\nmetadata: {name: b, namespace: shop}\nspec: {ingressClassName: sluice, defaultBackend: {service: {name: rest, port: {number: 80}}}}\n",
			"a.test", "/", "no_route",
		},
		{"nor for what only seems to have one", ingress("a", "sluice", "*.a.test", "Prefix / web"), "x.b.test", "/", "no gateway"},
		{
			"what a wildcard does not stand for is what nobody names",
			ingress("a", "sluice", "*.a.test", "Prefix / web") + "---\n" + ingress("b", "sluice", "", "Prefix / rest"), "x.y.a.test", "/", "rest",
		},
		{
			"what it stands for is not",
			ingress("a", "sluice", "*.a.test", "Prefix /x web") + "---\n" + ingress("b", "sluice", "", "Prefix / rest"), "x.a.test", "/", "no_route",
		},
		{
			"a wildcard has the default backend of its Ingress",
			ingress("a", "sluice", "*.a.test", "Prefix /x web") + "  defaultBackend: {service: {name: rest, port: {number: 80}}}\n", "x.a.test", "/", "rest",
		},
		{"the more labels win", ingress("a", "sluice", "*.a.test", "Prefix / web") + "---\n" + ingress("b", "sluice", "*.y.a.test", "Prefix / deep"), "x.y.a.test", "/", "deep"},
		{"a host before a wildcard", ingress("a", "sluice", "*.a.test", "Prefix / web") + "---\n" + ingress("b", "sluice", "x.a.test", "Prefix / deep"), "x.a.test", "/", "deep"},
		{"a path without a type is a prefix", ingress("a", "sluice", "a.test", "ImplementationSpecific /foo web"), "a.test", "/foo/bar", "web"},
		{"a port has a name or a number", strings.ReplaceAll(ingress("a", "sluice", "a.test", "Prefix / web"), "name: http", "number: 80"), "a.test", "/", "web"},
		{"a query is not part of the path", ingress("a", "sluice", "a.test", "Exact /foo web"), "a.test", "/foo?a=b", "web"},
		{"the class may be an annotation", strings.NewReplacer("namespace: shop", "namespace: shop, annotations: {kubernetes.io/ingress.class: sluice}", "  ingressClassName: sluice\n", "").Replace(ingress("a", "sluice", "a.test", "Prefix / web")), "a.test", "/", "web"},
		{"without class it is not ours", strings.Replace(ingress("a", "sluice", "a.test", "Prefix / web"), "  ingressClassName: sluice\n", "", 1), "a.test", "/", "no gateway"},
		{"a default backend alone has everything", "metadata: {name: a, namespace: shop}\nspec: {ingressClassName: sluice, defaultBackend: {service: {name: rest, port: {number: 80}}}}\n", "b.test", "/x", "rest"},
		{"a rule without host is for all that no other has", ingress("a", "sluice", "", "Exact /foo web"), "b.test", "/foo", "web"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, faults := ingresses(t, tt.text, tlsSecret(t, "rest", "a.test"))
			if got := serves(s, tt.host, tt.path); got != tt.want || len(faults) > 0 {
				t.Errorf("%s%s is served by %q, want %q; faults %q\n%s", tt.host, tt.path, got, tt.want, faults, tt.text)
			}
		})
	}
}

// canary writes an Ingress beside one of a.test, with annotations of
// ingress-nginx.
func canary(annotations string) string {
	text := ingress("z", "sluice", "a.test", "Prefix / new")
	return ingress("a", "sluice", "a.test", "Prefix / web") + "---\n" +
		strings.Replace(text, "namespace: shop", "namespace: shop, annotations: {"+strings.ReplaceAll(annotations, "~", "nginx.ingress.kubernetes.io/canary")+"}", 1)
}

func TestIngressCanaries(t *testing.T) {
	both := canary(`~: "true", ~-by-header: X-New, ~-by-cookie: new, ~-weight: "10"`)
	for _, tt := range []struct {
		name, text, field string
		want              int // of 100 requests, those of the canary
	}{
		{"a weight is a share", both, "X-Other: 1", 10},
		{"a total makes it a share of that", canary(`~: "true", ~-weight: "1", ~-weight-total: "4"`), "X-Other: 1", 25},
		{"a header says always", both, "X-New: always", 100},
		{"or never", both, "X-New: never", 0},
		{"a cookie says always", both, "Cookie: new=always", 100},
		{"or never", both, "Cookie: new=never", 0},
		{"what else they say leaves it to the weight", both, "X-New: perhaps", 10},
		{"a header has a value", canary(`~: "true", ~-by-header: X-New, ~-by-header-value: yes please`), "X-New: always", 0},
		{"a header has the value", canary(`~: "true", ~-by-header: X-New, ~-by-header-value: "on"`), "X-New: on", 100},
		{"a header matches", canary(`~: "true", ~-by-header: X-New, ~-by-header-pattern: "^b.ta$"`), "X-New: beta", 100},
		{"a weight may be fine", canary(`~: "true", ~-weight: "1", ~-weight-total: "8"`), "X-New: 1", 12},
		{"a pattern that is none takes nothing", canary(`~: "true", ~-weight: "50", ~-by-header: X-New, ~-by-header-pattern: "("`), "X-New: always", 0},
		{"without anything it takes nothing", canary(`~: "true"`), "X-New: always", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := ingresses(t, tt.text)
			got := 0
			for range 100 {
				switch by := serves(s, "a.test", "/", tt.field); by {
				case "new":
					got++
				case "web":
				default:
					t.Fatalf("served by %q", by)
				}
			}
			if got != tt.want {
				t.Errorf("the canary has %d of 100, want %d", got, tt.want)
			}
		})
	}
}

func TestIngressesTellWhatIsWrong(t *testing.T) {
	good := ingress("a", "sluice", "a.test", "Prefix / web")
	for _, tt := range []struct{ name, text, want string }{
		{"a missing Service", ingress("a", "sluice", "a.test", "Prefix / none"), "there is no Service none"},
		{"a path that another has", good + "---\n" + ingress("b", "sluice", "a.test", "Prefix / other"), "another rule of the host has the path"},
		{"a path with a quote", ingress("a", "sluice", "a.test", "Exact /'x web"), "the path cannot be asked for"},
		{"an annotation", strings.Replace(good, "namespace: shop", `namespace: shop, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}`, 1), "not understood"},
		{"a canary of nothing", strings.ReplaceAll(canary(`~: "true"`), "path: \"/\", backend: {service: {name: new", "path: \"/x\", backend: {service: {name: new"), "no Ingress of the namespace"},
		{"a weight that is none", canary(`~: "true", ~-weight: many`), "is no weight"},
		{"a pattern that is none", canary(`~: "true", ~-by-header: X-New, ~-by-header-pattern: "("`), "regular expression"},
		{"a path that is too long", ingress("a", "sluice", "a.test", "Exact /"+strings.Repeat("x", 2000)+" web"), "the path cannot be asked for"},
		{"a share that cannot be exact", canary(`~: "true", ~-weight: "1", ~-weight-total: "3"`), "takes 33.33%"},
		{"a Service of a name outside", ingress("a", "sluice", "a.test", "Prefix / outside"), "stands for a name outside"},
		{"a port that there is not", strings.ReplaceAll(good, "name: http", "number: 81"), "there is no Service web with this port"},
		{"a backend that is none", strings.ReplaceAll(good, "service: {name: web, port: {name: http}}", "resource: {kind: Bucket, name: b}"), "the backend is no Service"},
		{
			"a second default backend",
			"metadata: {name: a, namespace: shop}\nspec: {ingressClassName: sluice, defaultBackend: {service: {name: rest, port: {number: 80}}}}\n---\n" +
				"metadata: {name: b, namespace: shop}\nspec: {ingressClassName: sluice, defaultBackend: {service: {name: web, port: {number: 80}}}}\n",
			"another Ingress of the host has a default backend",
		},
		{"a default backend of a canary", canary(`~: "true"`) + "  defaultBackend: {service: {name: rest, port: {number: 80}}}\n", "the default backend of a canary has no effect"},
		{"a second canary", canary(`~: "true"`) + "---\n" + strings.Replace(ingress("zz", "sluice", "a.test", "Prefix / other"), "namespace: shop", `namespace: shop, annotations: {nginx.ingress.kubernetes.io/canary: "true"}`, 1), "another canary has the path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := ingresses(t, tt.text)
			if len(faults) != 1 || !strings.Contains(faults[0], tt.want) || !strings.HasPrefix(faults[0], "ingresses/shop/") {
				t.Errorf("faults %q, want one about %q", faults, tt.want)
			}
		})
	}
}

// serviceNamed is a Service of the tests.
func serviceNamed(called string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: called},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
}
