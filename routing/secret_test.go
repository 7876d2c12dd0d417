// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

func TestSecretsShowTheirNameAlone(t *testing.T) {
	s := &routing.Secret{Namespace: "shop", Name: "web", Certificate: []byte("public"), Key: []byte("private")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("told", "pointer", s, "value", *s, "list", []*routing.Secret{s})
	encoded, err := json.Marshal(map[string]any{"pointer": s, "value": *s, "list": []routing.Secret{*s}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		s.String(), fmt.Sprintf("%v %+v %#v %s %x %q", s, s, s, s, s, s), fmt.Sprintf("%+v %#v", *s, []routing.Secret{*s}),
		log.String(), string(encoded),
	} {
		if !strings.Contains(text, "secret:shop/web") {
			t.Errorf("%q does not show the name", text)
		}
		for _, wrong := range []string{"private", "112 114 105", fmt.Sprintf("%x", "private"), "cHJpdmF0ZQ"} {
			if strings.Contains(text, wrong) {
				t.Errorf("%q shows the key", text)
			}
		}
	}
}

func TestSecretOf(t *testing.T) {
	for _, tt := range []struct {
		file, namespace, name string
		ok                    bool
	}{
		{"secret:shop/web", "shop", "web", true},
		{"secret:shop/web.example.tls", "shop", "web.example.tls", true},
		{"tls/web.crt", "", "", false},
		{"secret:shop", "shop", "", false},
		{"secret:shop/a/b", "shop", "a/b", false},
		{"secret:../web", "..", "web", false},
		{"secret:shop/..", "shop", "..", false},
		{"secret:shop/.web", "shop", ".web", false},
		{"secret:Shop/web", "Shop", "web", false},
		{"secret:a.b/web", "a.b", "web", false},
		{"secret:/web", "", "web", false},
	} {
		if ns, name, ok := routing.SecretOf(tt.file); ns != tt.namespace || name != tt.name || ok != tt.ok {
			t.Errorf("SecretOf(%q) = %q, %q, %v; want %q, %q, %v", tt.file, ns, name, ok, tt.namespace, tt.name, tt.ok)
		}
	}
}

func TestReadWithin(t *testing.T) {
	const text = `
name: a
sluice: {tls: {certificates: secret:shop/web}}
routes: {"[10.0.0.5:80]": {weight: 100%}}
`
	if _, faults := routing.ReadWithin("shop", "a.yaml", []byte(text)); len(faults) > 0 {
		t.Errorf("a Secret of the same namespace is refused: %v", faults)
	}
	_, faults := routing.ReadWithin("other", "a.yaml", []byte(text))
	if len(faults) != 1 || faults[0].Severity != routing.Refused || faults[0].Code != "ForeignSecretError" {
		t.Errorf("a Secret of another namespace: faults %v, want one that refuses it", faults)
	}
}

func TestReadWithinRefusesFilesOfTheProxy(t *testing.T) {
	for name, settings := range map[string]string{
		"a certificate":   "sluice: {tls: {certificates: {certificate: /var/lib/x/pair.pem, key: secret:shop/web}}}\nroutes: {\"[10.0.0.1:80]\": {}}",
		"a key":           "sluice: {tls: {certificates: {certificate: secret:shop/web, key: secrets/bank/web/pair.pem}}}\nroutes: {\"[10.0.0.1:80]\": {}}",
		"an authority":    "sluice: {tls: {certificates: secret:shop/web, client_auth: optional, client_ca: ca.crt}}\nroutes: {\"[10.0.0.1:80]\": {}}",
		"that of a route": "routes: {\"[10.0.0.1:80]\": {sluice: {tls: {name: a, certificate: secret:shop/web, key: tls.key}}}}",
	} {
		_, faults := routing.ReadWithin("shop", "a.yaml", []byte("name: a\n"+settings+"\n"))
		if len(faults) != 1 || faults[0].Severity != routing.Refused || faults[0].Code != "ForeignSecretError" {
			t.Errorf("%s: faults %v, want one that refuses it", name, faults)
		}
	}
}

func TestReadWithinHoldsForWhatIsImported(t *testing.T) {
	docs, faults := routing.Read("template.yaml", []byte("kind: template\nname: secured\nsluice: {tls: {certificates: secret:shop/web}}\n"))
	more, wrong := routing.ReadWithin("other", "a.yaml", []byte("name: a\nimport: secured\nroutes: {\"[10.0.0.5:80]\": {weight: 100%}}\n"))
	table, resolving := routing.Resolve(append(docs, more...))
	all := slices.Concat(faults, wrong, resolving)
	if len(all) != 1 || all[0].Code != "ForeignSecretError" || len(table.Gateways) > 0 {
		t.Errorf("a foreign Secret that is imported: faults %v and %d gateways, want it refused", all, len(table.Gateways))
	}
}

func TestSecretsOf(t *testing.T) {
	all := []*routing.Secret{
		{Namespace: "shop", Name: "a"},
		{Namespace: "shop", Name: "b"},
		{Namespace: "shop", Name: "c"},
		{Namespace: "shop", Name: "d"},
	}
	listen := &routing.Gateway{TLS: &routing.ListenTLS{
		Certificates: []routing.KeyPair{{Certificate: "web.crt", Key: "web.key"}, {Certificate: "secret:shop/a", Key: "secret:shop/a"}},
		ClientCA:     "secret:shop/c",
	}}
	dial := &routing.Gateway{Routes: []*routing.Route{{}, {TLS: &routing.DialTLS{CA: "secret:shop/d"}}}}
	if got := routing.SecretsOf([]*routing.Gateway{listen, {}, dial}, all); !slices.Equal(got, []*routing.Secret{all[0], all[2], all[3]}) {
		t.Errorf("SecretsOf() = %v, want a, c and d", got)
	}
	if got := routing.SecretsOf([]*routing.Gateway{{}}, all); got != nil {
		t.Errorf("SecretsOf() = %v of gateways that name none", got)
	}
}
