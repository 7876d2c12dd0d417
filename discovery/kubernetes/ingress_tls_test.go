// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/certs"
)

// tlsSecret is a Secret of the namespace shop for some hosts.
func tlsSecret(t *testing.T, called string, hosts ...string) *corev1.Secret {
	t.Helper()
	p := certs.New(t).Issue(t, hosts...)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: called}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": p.Certificate, "tls.key": p.Key},
	}
}

// secured adds TLS to an Ingress, such as "a: [a.test, b.test]".
func secured(text string, secrets ...string) string {
	var b strings.Builder
	b.WriteString(text + "  tls:\n")
	for _, s := range secrets {
		secret, hosts, _ := strings.Cut(s, ":")
		fmt.Fprintf(&b, "  - {secretName: %q, hosts: %s}\n", secret, hosts)
	}
	return b.String()
}

func TestIngressTLS(t *testing.T) {
	good := ingress("a", "sluice", "a.test", "Prefix / web")
	a, b := tlsSecret(t, "a", "a.test"), tlsSecret(t, "b", "b.test")
	keyless, torn := a.DeepCopy(), a.DeepCopy()
	delete(keyless.Data, "tls.key")
	torn.Data["tls.key"] = b.Data["tls.key"]
	wild := tlsSecret(t, "wild", "*.a.test")
	for _, tt := range []struct {
		name, text string
		secrets    []*corev1.Secret
		host       string
		want       string // what the gateway shows, and who serves in plain text
		fault      string // part of it; empty for none
	}{
		{"a Secret is shown", secured(good, "a: [a.test]"), []*corev1.Secret{a}, "a.test", "secret:shop/a, redirect", ""},
		{"in any letter case", secured(good, "a: [A.Test]"), []*corev1.Secret{a}, "a.test", "secret:shop/a, redirect", ""},
		{"without hosts it is for all", secured(good, "a: []"), []*corev1.Secret{a}, "a.test", "secret:shop/a, redirect", ""},
		{"another Secret is not", secured(good, "a: [a.test]"), []*corev1.Secret{a, b}, "a.test", "secret:shop/a, redirect", ""},
		{
			"what is plain stays so", strings.Replace(secured(good, "a: [a.test]"), "namespace: shop", `namespace: shop, annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "false"}`, 1),
			[]*corev1.Secret{a},
			"a.test", "secret:shop/a, serve", "",
		},
		{
			"the oldest says whether plain text is served",
			secured(good, "a: [a.test]") + "---\n" + strings.Replace(secured(ingress("b", "sluice", "a.test", "Prefix /b web"), "a: [a.test]"), "namespace: shop", `namespace: shop, annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "false"}`, 1),
			[]*corev1.Secret{a},
			"a.test", "secret:shop/a, redirect", "",
		},
		{"two Ingresses bring two", secured(good, "a: []") + "---\n" + secured(ingress("b", "sluice", "a.test", "Prefix /b other"), "wild: []"), []*corev1.Secret{a, wild}, "a.test", "secret:shop/a secret:shop/wild, redirect", "is not for a.test"},
		{"a wildcard is for the hosts below it", secured(ingress("a", "sluice", "x.a.test", "Prefix / web"), `wild: ["*.a.test"]`), []*corev1.Secret{wild}, "x.a.test", "secret:shop/wild, redirect", ""},
		{"and for itself", secured(ingress("a", "sluice", "*.a.test", "Prefix / web"), `wild: ["*.a.test"]`), []*corev1.Secret{wild}, "*.a.test", "secret:shop/wild, redirect", ""},
		{
			"the default backend has TLS for hosts without rules",
			secured("metadata: {name: a, namespace: shop}\nspec:\n  ingressClassName: sluice\n  defaultBackend: {service: {name: rest, port: {number: 80}}}\n", "a: [a.test]"),
			[]*corev1.Secret{a},
			"a.test", "secret:shop/a, redirect", "",
		},
		{"a Secret that is missing closes the host", secured(good, "a: [a.test]"), nil, "a.test", "nothing", "there is no Secret a"},
		{"so does one without key", secured(good, "a: [a.test]"), []*corev1.Secret{keyless}, "a.test", "nothing", "the Secret a has no tls.key"},
		{"and one whose key is another's", secured(good, "a: [a.test]"), []*corev1.Secret{torn}, "a.test", "nothing", "has a key that is not that of its certificate"},
		{"and one without a name", secured(good, ": [a.test]"), []*corev1.Secret{a}, "a.test", "nothing", "no Secret is named"},
		{
			"but not for who does not ask for TLS, such as a challenge of ACME",
			secured(good, "a: [a.test]") + "---\n" + ingress("b", "sluice", "a.test", "Exact / other"), nil, "a.test", "other", "there is no Secret a",
		},
		{"one that is missing leaves the others", secured(good, "a: [a.test]", "b: [a.test]"), []*corev1.Secret{a}, "a.test", "secret:shop/a, redirect", "there is no Secret b"},
		{"a host without a rule is told", secured(good, "a: [a.test, b.test]"), []*corev1.Secret{a}, "a.test", "secret:shop/a, redirect", "no rule of the Ingress is for b.test"},
		{"a certificate for others is told", secured(good, "b: [a.test]"), []*corev1.Secret{b}, "a.test", "secret:shop/b, redirect", "the certificate in the Secret b is not for a.test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, faults := ingresses(t, tt.text, tt.secrets...)
			got := "no gateway"
			for _, g := range s.table.Gateways {
				if g.Name != "ingress/"+tt.host {
					continue
				}
				got = serves(s, strings.Replace(tt.host, "*", "x", 1), "/")
				if g.TLS != nil {
					var shown []string
					for _, pair := range g.TLS.Certificates {
						shown = append(shown, pair.Certificate)
					}
					got = strings.Join(shown, " ") + ", " + g.TLS.Plain.String()
				}
			}
			if got != tt.want {
				t.Errorf("%s: %s, want %s", tt.host, got, tt.want)
			}
			if all := strings.Join(faults, "\n"); (all == "") != (tt.fault == "") || !strings.Contains(all, tt.fault) || len(faults) > 1 {
				t.Errorf("faults %q, want one about %q", faults, tt.fault)
			}
			for _, secret := range tt.secrets {
				for _, f := range faults {
					if key := string(secret.Data["tls.key"]); key != "" && strings.Contains(f, key) {
						t.Error("a fault shows a key")
					}
				}
			}
		})
	}
}

// TLS of a default backend for a host that a wildcard has is one more
// certificate of the wildcard, whose rules go on, and who asks for no TLS is
// asked in plain text as before.
func TestTLSOfADefaultBackendHidesNoWildcard(t *testing.T) {
	rest := "metadata: {name: %s, namespace: shop}\nspec:\n  ingressClassName: sluice\n  defaultBackend: {service: {name: rest, port: {number: 80}}}\n"
	a, wild := tlsSecret(t, "a", "x.a.test"), tlsSecret(t, "wild", "*.a.test")
	for _, tt := range []struct{ name, general, wildcard, want string }{
		{"the default backend is older", "a", ingress("b", "sluice", "*.a.test", "Prefix / web"), "secret:shop/a, serve"},
		{"the wildcard is older", "c", ingress("b", "sluice", "*.a.test", "Prefix / web"), "secret:shop/a, serve"},
		{"the wildcard asks for TLS itself", "a", secured(ingress("b", "sluice", "*.a.test", "Prefix / web"), "wild: []"), "secret:shop/a secret:shop/wild, redirect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, faults := ingresses(t, secured(fmt.Sprintf(rest, tt.general), "a: [x.a.test]")+"---\n"+tt.wildcard, a, wild)
			if got := serves(s, "x.a.test", "/"); got != "web" || len(faults) > 0 {
				t.Errorf("x.a.test is served by %s, want web; faults %q", got, faults)
			}
			if got := serves(s, "b.test", "/"); got != "rest" {
				t.Errorf("other hosts are served by %s, want rest", got)
			}
			for _, g := range s.table.Gateways {
				if g.Name != "ingress/*.a.test" {
					continue
				}
				if g.TLS == nil {
					t.Fatal("the wildcard has no certificate")
				}
				var shown []string
				for _, pair := range g.TLS.Certificates {
					shown = append(shown, pair.Certificate)
				}
				if got := strings.Join(shown, " ") + ", " + g.TLS.Plain.String(); got != tt.want {
					t.Errorf("the wildcard shows %s, want %s", got, tt.want)
				}
			}
		})
	}
}
