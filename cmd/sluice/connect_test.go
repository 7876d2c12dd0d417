// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const twoContexts = `context: prod
contexts:
  prod: {host: "https://control.example:8090", namespace: acme/prod, token_file: prod.token, ca: /etc/ca.crt}
  local:
    host: http://127.0.0.1:9000
`

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(twoContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.yaml")
	prod := path + ", context prod"
	for _, tt := range []struct {
		name        string
		flags       connection
		environment map[string]string
		want        settings
	}{
		{"without anything said it is this machine", connection{}, map[string]string{"XDG_CONFIG_HOME": dir + "/none"}, settings{
			host: setting{"http://127.0.0.1:8090", "default"}, namespace: setting{"default/default", "default"},
		}},
		{"the context that the file names counts", connection{config: path}, nil, settings{
			context: setting{"prod", path}, host: setting{"https://control.example:8090", prod},
			namespace: setting{"acme/prod", prod}, tokenFile: setting{dir + "/prod.token", prod}, ca: setting{"/etc/ca.crt", prod},
		}},
		{"another context is chosen by flag", connection{config: path, context: "local"}, nil, settings{
			context: setting{"local", "--context"}, host: setting{"http://127.0.0.1:9000", path + ", context local"},
			namespace: setting{"default/default", "default"},
		}},
		{"a flag wins over the context", connection{config: path, namespace: "acme/dev"}, nil, settings{
			context: setting{"prod", path}, host: setting{"https://control.example:8090", prod},
			namespace: setting{"acme/dev", "--namespace"}, tokenFile: setting{dir + "/prod.token", prod}, ca: setting{"/etc/ca.crt", prod},
		}},
		{"what the environment said is told as that", connection{config: path, namespace: "acme/dev"}, map[string]string{"SLUICE_NAMESPACE": "acme/dev"}, settings{
			context: setting{"prod", path}, host: setting{"https://control.example:8090", prod},
			namespace: setting{"acme/dev", "SLUICE_NAMESPACE"}, tokenFile: setting{dir + "/prod.token", prod}, ca: setting{"/etc/ca.crt", prod},
		}},
		{"the token of a context is not shown to another host", connection{config: path, host: "https://evil.example"}, nil, settings{
			context: setting{"prod", path}, host: setting{"https://evil.example", "--host"},
			namespace: setting{"acme/prod", prod}, ca: setting{"/etc/ca.crt", prod},
		}},
		{"a token of the environment wins over that of the context", connection{config: path}, map[string]string{"SLUICE_TOKEN": "t"}, settings{
			context: setting{"prod", path}, host: setting{"https://control.example:8090", prod},
			namespace: setting{"acme/prod", prod}, token: setting{"t", "SLUICE_TOKEN"}, ca: setting{"/etc/ca.crt", prod},
		}},
		{"a file of a token wins over that", connection{config: path, tokenFile: "x"}, map[string]string{"SLUICE_TOKEN": "t"}, settings{
			context: setting{"prod", path}, host: setting{"https://control.example:8090", prod},
			namespace: setting{"acme/prod", prod}, tokenFile: setting{"x", "--token-file"}, ca: setting{"/etc/ca.crt", prod},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.flags.settle(func(name string) (string, bool) { v, ok := tt.environment[name]; return v, ok })
			if err != nil || got != tt.want {
				t.Errorf("settings are %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}

	nobody := func(string) (string, bool) { return "", false }
	for _, tt := range []struct {
		name  string
		flags connection
		want  string
	}{
		{"a file that is named has to be there", connection{config: none}, "none.yaml: no such file"},
		{"a context that is named has to be there", connection{config: path, context: "test"}, `--context: there is no context "test" in ` + path + "; local or prod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.flags.settle(nobody); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a key that is none", "contexts:\n  a: {hots: x}", `2:7: "hots" is unknown; did you mean host?`},
		{"a key at the top that is none", "x: 1", `1:1: "x" is unknown; context or contexts`},
		{"a key that stands twice", "contexts: {a: {ca: x, ca: y}}", `1:23: "ca" stands here twice`},
		{"a list", "contexts: []", "1:11: a map is wanted here"},
		{"a map where a text is wanted", "context: {}", "1:10: a text is wanted here"},
		{"what is no YAML", "{", "yaml: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseConfig([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("parseConfig(%q) = %v, want %q in it", tt.text, err, tt.want)
			}
		})
	}
}

// FuzzParseConfig holds that what was read, written and read again is the
// same.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(twoContexts))
	f.Add([]byte("contexts:\n  a:\n  b: {host: ~}"))
	f.Add([]byte("&a context: *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		contexts := make(map[string]map[string]string)
		for name, context := range c.Contexts {
			fields := make(map[string]string)
			for key, value := range context.fields() {
				fields[key] = *value
			}
			contexts[name] = fields
		}
		text, err := yaml.Marshal(map[string]any{"context": c.Context, "contexts": contexts})
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConfig(text)
		if err != nil || again.Context != c.Context || !maps.Equal(again.Contexts, c.Contexts) {
			t.Errorf("%q is %+v, and written as %q %+v, %v", data, c, text, again, err)
		}
	})
}

func TestReweigh(t *testing.T) {
	two := []routeWeight{{"a", 9000}, {"b", 1000}}
	three := []routeWeight{{"a", 5000}, {"b", 2500}, {"[10.0.0.1:80]", 2500}}
	for _, tt := range []struct {
		name   string
		before []routeWeight
		asked  []string
		want   string // routes, the one that takes the rest, or the error
	}{
		{"of two routes the other takes the rest", two, []string{"b=12.5"}, "a 87.5%, b 12.5%; rest a"},
		{"the first of two as well", two, []string{"a=0%"}, "a 0%, b 100%; rest b"},
		{"both of two are taken as they are", two, []string{"a=50", "b=50"}, "a 50%, b 50%"},
		{"of three routes those that are not named keep theirs", three, []string{"a=25", "b=50"}, "a 25%, b 50%, [10.0.0.1:80] 25%"},
		{"the last equals sign separates", []routeWeight{{"x=y", 0}, {"b", 10000}}, []string{"x=y=1"}, "x=y 1%, b 99%; rest b"},
		{"a sum above 100% is refused", two, []string{"a=60", "b=60"}, "the weights would add up to 120%, not 100%: a 60%, b 60%"},
		{"a sum below 100% is refused", three, []string{"a=10.25"}, "the weights would add up to 60.25%, not 100%: a 10.25%, b 25%, [10.0.0.1:80] 25%"},
		{"nothing at all is refused", two, []string{"a=0", "b=0"}, "the weights would add up to 0%, not 100%: a 0%, b 0%"},
		{"an unknown route is refused", three, []string{"bb=1"}, `gateway shop has no route "bb"; did you mean b?`},
		{"a route that stands there twice is refused", two, []string{"a=1", "a=2"}, "route a stands there twice"},
		{"what has no weight is refused", two, []string{"a"}, `"a" is not ROUTE=N, such as shop-1.1.0=10%`},
		{"what is no weight is refused", two, []string{"a=x"}, `a: "x" is not a percentage`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, err := parseWeights(tt.asked, "=")
			got, rest := []routeWeight(nil), ""
			if err == nil {
				got, rest, err = reweigh("shop", tt.before, asked)
			}
			text := listWeights(got)
			if rest != "" {
				text += "; rest " + rest
			}
			if err != nil {
				text = err.Error()
			}
			if !strings.HasPrefix(text, tt.want) || err == nil && text != tt.want {
				t.Errorf("%v of %v is %q, want %q", tt.asked, tt.before, text, tt.want)
			}
		})
	}
}

func TestTablesStayAligned(t *testing.T) {
	var b strings.Builder
	w := newTable(&b, false, "NAME", "PORT")
	w.row("shop", "9050")
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	w.row("überlang", "")
	w.row("a", "\x1b[2J1\n")
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	want := "NAME  PORT\nshop  9050\nüberlang  -\na         [2J1\n"
	if b.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", &b, want)
	}
}

func TestPluralKind(t *testing.T) {
	for _, tt := range []struct{ typed, want string }{
		{"gateway", "gateways"},
		{"Gateways", "gateways"},
		{"rewrite", "rewrites"},
		{"gatewya", `"gatewya" is not a kind; did you mean gateways?`},
		{"proxies", `"proxies" is not a kind; ` + enumerate(artifactKinds)},
	} {
		t.Run(tt.typed, func(t *testing.T) {
			got, err := pluralKind(tt.typed, artifactKinds)
			if err != nil {
				got = fmt.Sprint(err)
			}
			if got != tt.want {
				t.Errorf("pluralKind(%q) = %q, want %q", tt.typed, got, tt.want)
			}
		})
	}
	if len(artifactKinds) != len(singularKinds) {
		t.Errorf("%v and %v do not fit", artifactKinds, singularKinds)
	}
}
