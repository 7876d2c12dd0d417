// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// Whatever stands in the spec of an object, it comes to a gateway of its name with
// its routes in their order, or to something that is told to be wrong.
func FuzzGatewayObject(f *testing.F) {
	for _, spec := range []string{
		`null`, `[]`, `{}`, `"x"`, `{`, `{"port": 80, "routes": [{"name": "b", "weight": "50%"}, {"name": "a", "weight": "50%"}]}`,
		`{"routes": [{"weight": "1%"}]}`, `{"routes": {"a": {}}}`, `{"routes": [null]}`, `{"name": "other", "routes": [{"name": "a"}, {"name": "a"}]}`,
		`{"kind": "conditions", "name": 3}`, `{"selector": "label(app)(shop)", "sluice": {"tls": {"certificates": "secret:other/tls"}}}`,
		`{"name": "\u0000", "routes": [{"name": "<&>"}]}`,
	} {
		f.Add([]byte(spec))
	}
	f.Fuzz(func(t *testing.T, spec []byte) {
		u, told := kubernetes.NewGateways().Set("shop", "g", spec)
		if spec == nil {
			return
		}
		if !told || u.Key != "sluicegateways/shop/g" {
			t.Fatalf("%s is told as %+v, %t", spec, u, told)
		}
		if len(u.Documents) == 0 && len(u.Faults) == 0 {
			t.Errorf("%s is nothing, and nothing is wrong with it", spec)
		}
		for _, d := range u.Documents {
			if d.Kind != "gateways" {
				t.Errorf("%s is of kind %s", spec, d.Kind)
			}
		}
		var asked struct{ Routes []struct{ Name string } }
		if json.Unmarshal(spec, &asked) != nil {
			return
		}
		table, _ := routing.Resolve(u.Documents)
		for _, g := range table.Gateways {
			at := -1
			for _, r := range g.Routes {
				next := slices.IndexFunc(asked.Routes, func(one struct{ Name string }) bool { return one.Name == r.Path })
				if next >= 0 && next < at && !twice(asked.Routes, r.Path) {
					t.Errorf("the route %q of %s is not in its place", r.Path, spec)
				}
				at = max(at, next)
			}
		}
	})
}

func twice(routes []struct{ Name string }, name string) bool {
	n := 0
	for _, one := range routes {
		if one.Name == name {
			n++
		}
	}
	return n > 1
}

// Whatever stands in an Ingress and in its annotations, each of its hosts comes to
// a text that is a gateway and can be read, and the same Ingress says the same
// again.
func FuzzIngress(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"spec": {"ingressClassName": "sluice", "rules": [{"host": "a.test", "http": {"paths": [{"path": "/a", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}`,
		`{"spec": {"ingressClassName": "sluice", "rules": [{"host": "*.a.test", "http": {"paths": [{"path": "/a\"b", "pathType": "Exact", "backend": {"service": {"name": "web"}}}]}}], "tls": [{"hosts": ["x.a.test"], "secretName": "tls"}]}}`,
		`{"metadata": {"annotations": {"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "33", "nginx.ingress.kubernetes.io/canary-by-header": "X-A", "nginx.ingress.kubernetes.io/canary-by-header-pattern": "(["}}, "spec": {"ingressClassName": "sluice", "rules": [{"host": "a.test", "http": {"paths": [{"backend": {"service": {"name": "web", "port": {"name": "http"}}}}]}}]}}`,
		`{"metadata": {"annotations": {"kubernetes.io/ingress.class": "sluice", "nginx.ingress.kubernetes.io/ssl-redirect": "false", "nginx.ingress.kubernetes.io/rewrite-target": "/"}}, "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}, "tls": [{"secretName": "tls"}]}}`,
	} {
		f.Add([]byte(text), "nginx.ingress.kubernetes.io/canary-by-cookie", "a b")
	}
	f.Fuzz(func(t *testing.T, text []byte, annotation, value string) {
		var i networkingv1.Ingress
		if json.Unmarshal(text, &i) != nil {
			return
		}
		i.Namespace, i.Name = "shop", "fuzzed"
		if i.Annotations == nil {
			i.Annotations = make(map[string]string)
		}
		i.Annotations[annotation] = value
		check(t, &i)
	})
}

// What an API server lets pass of an Ingress is not much held to a form: paths,
// annotations, names of ports and of Secrets.
func FuzzIngressWords(f *testing.F) {
	f.Add("a.test", "/a", true, "canary-by-header", "X-Next", "canary-by-header-value", "always", "http", "tls")
	f.Add("*.a.test", `/a"b' $1`, false, "canary-by-header-pattern", "([", "canary-weight", "33", "", "")
	f.Add("", "", false, "canary-by-cookie", "a;b", "canary-weight-total", "1000000000000000000000", "80", "a/b")
	f.Add("x.a.test", "no slash", true, "ssl-redirect", "false", "rewrite-target", "/$2", "-", ".")
	f.Add("a.test", "/"+strings.Repeat("a", 1024), false, "canary-weight", "-1", "canary-by-header", strings.Repeat("x", 300), "http", "\x00")
	f.Fuzz(func(t *testing.T, host, path string, exact bool, first, one, second, other, port, secret string) {
		if plain := strings.TrimPrefix(host, "*."); plain != "" && len(validation.IsDNS1123Subdomain(plain)) > 0 || host == "*." {
			return // no API server has that
		}
		kind := networkingv1.PathTypeImplementationSpecific
		if exact {
			kind = networkingv1.PathTypeExact
		}
		class := "sluice"
		for _, canary := range []string{"false", "true"} {
			i := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "fuzzed", Annotations: map[string]string{
				nginx + first: one, nginx + second: other, nginx + "canary": canary,
			}}}
			i.Spec.IngressClassName = &class
			i.Spec.Rules = []networkingv1.IngressRule{{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{Path: path, PathType: &kind, Backend: networkingv1.IngressBackend{
					Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Name: port}},
				}}},
			}}}}
			i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{host}, SecretName: secret}}
			check(t, i)
		}
	})
}

const nginx = "nginx.ingress.kubernetes.io/"

// check checks that each host of an Ingress is a gateway of which nothing is
// refused, and that the Ingress says the same when it is read again.
func check(t *testing.T, i *networkingv1.Ingress) {
	t.Helper()
	before, again := told(t, i), told(t, i)
	for key, u := range before {
		if _, ofHost := strings.CutPrefix(key, "ingresses/-"); ofHost && len(u.Documents) == 0 {
			t.Errorf("%s of %+v is no gateway: %v", key, i, u.Faults)
		}
		if key == "ingresses/-/a.test" && slices.ContainsFunc(u.Faults, func(f *routing.Fault) bool { return f.Severity == routing.Refused }) {
			t.Errorf("%+v has a host of others be refused: %v", i, u.Faults)
		}
		if len(again[key].Faults) != len(u.Faults) || len(again[key].Documents) != len(u.Documents) {
			t.Errorf("%s of %+v is %+v, and then %+v", key, i, u, again[key])
		}
	}
	if len(again) != len(before) {
		t.Errorf("%+v says %d things, and then %d", i, len(before), len(again))
	}
}

// told returns what an Ingress comes to, beside one that is good.
func told(t *testing.T, i *networkingv1.Ingress) map[string]discovery.Update {
	t.Helper()
	x := kubernetes.NewIngresses(kubernetes.NewCluster(), "sluice")
	x.Put(parsed(t, ingress("stable", "sluice", "a.test", "Prefix / web")))
	x.Put(i)
	all := make(map[string]discovery.Update)
	for _, u := range x.Take() {
		all[u.Key] = u
	}
	return all
}
