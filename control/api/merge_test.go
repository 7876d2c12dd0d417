// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/routing"
)

// stored are artifacts that the gateways below refer to.
const stored = `
kind: conditions
name: beta
condition: has cookie beta
---
kind: rewrites
name: strip
path: /new if path_beg /old
---
kind: routes
name: common
condition: {ref: beta}
weight: 40%
rewrites: [strip]
sluice: {timeouts: {connect: 2s}}
---
kind: templates
name: base
sticky: route
metadata: {from: base}
routes: {a: {weight: 30%}}
`

// texts are gateways in all the forms in which they may be written.
var texts = map[string]string{
	"without anything":          "name: g\n",
	"with a comment":            "# a gateway\nname: g # it\nroutes: {a: {}}\n",
	"with an address as key":    "name: g\nport: 8080\nroutes:\n  [10.0.0.1:80]: {weight: 50%}\n  \"[10.0.0.2:80]\": {weight: 50%}\n",
	"with routes in a list":     "name: g\nroutes:\n- a: {weight: 25%}\n- \"b\": {weight: 75%}\n",
	"with one route":            "name: g\nroutes: other/thing\n",
	"with a list of references": "name: g\nroutes:\n- common\n",
	"with references":           "name: g\nroutes:\n  a: common # the usual\n  b: {weight: 60%, condition: {ref: beta}, rewrites: [strip, {path: /x if path_beg /y}]}\n",
	"with imports":              "name: g\nimport: base\nroutes: {b: {weight: 70%}}\n",
	"with anchors":              "name: g\nroutes:\n  a: &a {weight: 50%, balance: leastconn}\n  b: *a\n",
	"with unsaid weights":       "name: g\nroutes: {a: {}, b: {}, c: {}}\n",
	"with fine weights":         "name: g\nroutes: {a: {sluice: {weight: 33.34%}}, b: {sluice: {weight: 66.66%, slow_start: 10s}}}\n",
	"in JSON":                   `{"name": "g", "port": "8080/http", "routes": {"z": {"weight": "10%"}, "a": {"weight": "90%"}}}`,
	"with all of its keys": `name: g
kind: gateway
metadata: {yes: no, n: 012, f: 1.50, list: [1, {a: ~}], t: "2024-01-01", e: 1e3}
port: 9090/HTTP
sticky: Instance
virtual_hosts: [a.example, "*.b.example"]
service: {host: h, port: 1}
deployed: true
routes:
  a/b:
    metadata: {ui: {x: [1, 2]}}
    weight: 20%
    balance: default
    condition: {condition: user-agent == Firefox, metadata: {by: me}}
    condition_strength: 30%
    sluice:
      headers:
        request: {set: {X-B: "1", X-A: "2"}}
  [legacy.example:80]: {weight: 80%}
sluice:
  split: random
  timeouts: {keep_alive: 30s}
`,
	"of TCP":                  "name: g\nport: 9090/tcp\nroutes: {\"[db.example:5432]\": {balance: roundrobin}}\n",
	"with a selector":         "name: g\nselector: label(version)((.*))\n",
	"with a route's selector": "name: g\nroutes: {a: {selector: label(version)(1)}, b: {weight: 0%}}\n",
	"with strange keys":       "name: g\nroutes:\n  //a//b/: {weight: 50%}\n  \"a b\": {weight: 50%}\n",
}

// running are three, of versions 1, 2 and 2.
func running() []*routing.Instance {
	var all []*routing.Instance
	for i, version := range []string{"1", "2", "2"} {
		all = append(all, &routing.Instance{
			Address: netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)}), Port: 80, Ready: true,
			Labels: []routing.Label{{Name: "version", Value: version}},
		})
	}
	return all
}

// What GET answers can be sent back, in YAML or JSON, and nothing changes: not
// a byte of what is stored.
func TestWhatIsAnsweredComesBackUnchanged(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			w := start(t, nil, running()...)
			w.ask("PUT", "/api/v1/", stored).is(202)
			w.put("gateways", "g", text)
			for _, accept := range []string{"application/json", "application/x-yaml"} {
				got := w.ask("GET", "/api/v1/gateways/g", "", "Accept", accept).is(200)
				w.ask("PUT", "/api/v1/gateways/g", got.body, "Content-Type", accept).is(202).tell("Sluice-Change", "").tell("ETag", `"2"`)
				w.ask("PUT", "/api/v1/", got.body).is(202).has(`"unchanged"`)
			}
			if got := w.text("g"); got != text {
				t.Errorf("stored is\n%s\nwant\n%s", got, text)
			}
		})
	}
}

// What a client changes in an answer is changed, whatever the form of the
// text; what it left alone is as before.
func TestAnswersThatComeBackChanged(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			w := start(t, nil, running()...)
			w.ask("PUT", "/api/v1/", stored).is(202)
			w.put("gateways", "g", text)
			before := w.ask("GET", "/api/v1/gateways/g", "").is(200)
			tree := api.ParseTree(before.body)
			tree.SetMap("metadata", "by", "a client")
			for i, r := range tree.Routes() {
				share := "0%"
				if i == 0 {
					share = "100%"
				}
				r.Set(share, "weight")
			}
			sent := tree.JSON()
			a := w.ask("PUT", "/api/v1/gateways/g", sent, "Content-Type", "application/json").is(202)
			if a.header.Get("Sluice-Change") == "" {
				t.Errorf("PUT %s changed nothing", sent)
			}
			tree.DropFine()
			if want := tree.JSON(); a.body != want {
				t.Errorf("answered\n%s\nwant\n%s\nstored\n%s", a.body, want, w.text("g"))
			}
			w.ask("PUT", "/api/v1/gateways/g", a.body).is(202).tell("Sluice-Change", "")
		})
	}
}

func TestCommentsAndReferencesOutliveClients(t *testing.T) {
	w := start(t, nil)
	w.ask("PUT", "/api/v1/", stored).is(202)
	w.put("gateways", "g", `# the gateway of the shop
name: g
port: 8080 # as ever
routes:
  # the old one
  [10.0.0.1:80]: {weight: 90%, condition: {ref: beta}} # stays
  new:
    weight: 10%
    rewrites: [strip]
`)
	got := w.ask("GET", "/api/v1/gateways/g", "").is(200).has(`"condition":{"condition":"has cookie beta"}`).body
	got = strings.Replace(strings.Replace(got, `"90%"`, `"70%"`, 1), `"10%"`, `"30%"`, 1)
	w.ask("PUT", "/api/v1/gateways/g", got).is(202)
	const want = `# the gateway of the shop
name: g
port: 8080 # as ever
routes:
  # the old one
  "[10.0.0.1:80]": {weight: 70%, condition: {ref: beta}} # stays
  new:
    weight: 30%
    rewrites: [strip]
`
	if text := w.text("g"); text != want {
		t.Errorf("stored is\n%s\nwant\n%s", text, want)
	}
	// A condition that was changed is a reference no longer.
	got = w.ask("GET", "/api/v1/gateways/g", "").body
	w.ask("PUT", "/api/v1/gateways/g", strings.Replace(got, "has cookie beta", "has cookie gamma", 1)).is(202).has("gamma")
	w.ask("PUT", "/api/v1/gateways/g", strings.Replace(got, `{"condition":"has cookie beta"}`, "null", 1)).is(202)
	if text := w.text("g"); strings.Contains(text, "condition") || !strings.Contains(text, "# stays") {
		t.Errorf("stored is\n%s\nwant no condition, and the comments", text)
	}
	// Routes that are left out are gone, as are those that are new there.
	got = w.ask("GET", "/api/v1/gateways/g", "").body
	i, j := strings.Index(got, `"[10.0.0.1:80]"`), strings.Index(got, `"new"`)
	w.ask("PUT", "/api/v1/gateways/g", strings.Replace(got[:i]+got[j:], "30%", "100%", 1)).is(202).has(`"weight":"100%"`)
	if text := w.text("g"); strings.Contains(text, "10.0.0.1") || !strings.Contains(text, "strip") {
		t.Errorf("stored is\n%s\nwant one route, with its reference", text)
	}
}

// What is refused of an answer that came back is told by its place there.
func TestAnswersThatComeBackBroken(t *testing.T) {
	w := start(t, nil)
	w.put("gateways", "g", "name: g\nroutes:\n  a: {weight: 50%}\n  b: {weight: 50%}\n")
	got := w.ask("GET", "/api/v1/gateways/g", "", "Accept", "application/x-yaml").is(200).body
	w.ask("PUT", "/api/v1/gateways/g", strings.Replace(got, "weight: 50%", "weight: 51%", 1)).is(400).has("GatewayRouteWeightError").has(`"line":11`)
	w.ask("PUT", "/api/v1/gateways/g", strings.Replace(got, "weight: 50%", "wieght: 50%", 1)).is(400).has("did you mean weight?").has(`"line":16`)
}

func TestPatchedWeights(t *testing.T) {
	for _, tt := range []struct {
		name, text, patch string
		status            int
		want              string // stored text, or of the message
	}{
		{
			"weights change and nothing else", "name: g # it\nroutes:\n  a: {weight: 90%} # old\n  b: {weight: 10%}\n",
			`{"routes": {"a": "70%", "b": "30%"}}`, 202, "name: g # it\nroutes:\n  a: {weight: 70%} # old\n  b: {weight: 30%}\n",
		},
		{
			"those that are not named stay", "name: g\nroutes: {a: {weight: 50%}, b: {weight: 20%}, c: {weight: 30%}}\n",
			`{"routes": {"a": "40%", "b": "30%"}}`, 202, "name: g\nroutes: {a: {weight: 40%}, b: {weight: 30%}, c: {weight: 30%}}\n",
		},
		{
			"finer ones stand under our key", "name: g\nroutes: {a: {weight: 90%}, b: {weight: 10%}}\n",
			`{"routes": {"a": "87.5%", "b": "12.50%"}}`, 202, "name: g\nroutes: {a: {sluice: {weight: 87.5%}}, b: {sluice: {weight: 12.5%}}}\n",
		},
		{
			"and leave it when they are whole again", "name: g\nroutes: {a: {sluice: {weight: 87.5%, slow_start: 10s}}, b: {sluice: {weight: 12.5%}}}\n",
			"routes: {a: 90.00%, b: 10%}", 202, "name: g\nroutes: {a: {sluice: {slow_start: 10s}, weight: 90%}, b: {weight: 10%}}\n",
		},
		{
			"unsaid weights are said", "name: g\nroutes: {a: {}, b: {}}\n",
			`{"routes": {"a": "100%", "b": "0%"}}`, 202, "name: g\nroutes: {a: {weight: 100%}, b: {weight: 0%}}\n",
		},
		{
			"a stored route is written out", "name: g\nroutes: {a: common, b: {weight: 60%}}\n", "routes: {a: 50%, b: 50%}", 202, "connect: 2s",
		},
		{
			"addresses", "name: g\nroutes:\n  [10.0.0.1:80]: {weight: 90%}\n  '[10.0.0.2:80]': {weight: 10%}\n",
			`{"routes": {"[10.0.0.1:80]": "80%", "[10.0.0.2:80]": "20%"}}`, 202, "name: g\nroutes:\n  \"[10.0.0.1:80]\": {weight: 80%}\n  '[10.0.0.2:80]': {weight: 20%}\n",
		},
		{"sums other than 100 are refused", "name: g\nroutes: {a: {weight: 90%}, b: {weight: 10%}}\n", `{"routes": {"a": "80%"}}`, 400, "add up to 90%"},
		{"and what is no weight", "name: g\nroutes: {a: {}}\n", `{"routes": {"a": "many"}}`, 400, "no such percentage"},
		{"routes that are not there are refused", "name: g\nroutes: {a: {}}\n", `{"routes": {"b": "100%"}}`, 400, "has no route"},
		{"as are other keys", "name: g\nroutes: {a: {}}\n", `{"weights": {"a": "100%"}}`, 400, "UnexpectedElement"},
		{"an empty body", "name: g\nroutes: {a: {}}\n", ``, 400, "no map"},
		{"no routes", "name: g\nroutes: {a: {}}\n", `{"routes": {}}`, 400, "names no routes"},
		{"maps as weights", "name: g\nroutes: {a: {}}\n", `{"routes": {"a": {}}}`, 400, "no percentage"},
		{"what is no YAML", "name: g\nroutes: {a: {}}\n", `{"routes`, 400, "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, nil)
			w.ask("PUT", "/api/v1/", stored).is(202)
			w.put("gateways", "g", tt.text)
			a := w.ask("PATCH", "/api/v1/gateways/g/weights", tt.patch).is(tt.status)
			if tt.status != 202 {
				a.has(tt.want)
				return
			}
			if text := w.text("g"); !strings.Contains(text, tt.want) {
				t.Errorf("stored is\n%s\nwant\n%s", text, tt.want)
			}
			w.ask("PATCH", "/api/v1/gateways/g/weights", tt.patch).is(202).tell("Sluice-Change", "")
		})
	}
}

func TestPatchedWeightsAreGuarded(t *testing.T) {
	w := start(t, nil)
	w.ask("PATCH", "/api/v1/gateways/g/weights", `{"routes": {"a": "100%"}}`).is(404)
	w.put("gateways", "g", "name: g\nroutes: {a: {weight: 90%}, b: {weight: 10%}}\n")
	const patch = `{"routes": {"a": "50%", "b": "50%"}}`
	w.ask("PATCH", "/api/v1/gateways/g/weights?validate_only=true", patch).is(202).has(`"50%"`)
	w.ask("PATCH", "/api/v1/gateways/g/weights", patch, "If-Match", `"7"`).is(412).tell("ETag", `"1"`).has(`"90%"`)
	w.ask("PATCH", "/api/v1/gateways/g/weights", patch, "If-Match", `"1"`).is(202).tell("ETag", `"2"`)
}

// FuzzWhatIsAnsweredComesBackUnchanged sends texts, and what they are answered
// as.
func FuzzWhatIsAnsweredComesBackUnchanged(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Add("name: g\nroutes: {a: {weight: 100%}, b: {}}\n<<: {sticky: route}\n")
	f.Add("name: g\nmetadata: {a: .inf, b: 0o7, c: 1_000, d: 1:30, e: !!str 5}\n")
	f.Add("--- # x\nname: g\nport: 0x50\nmetadata: {\"\\u2028\": \"\\x07\"}\n...\n")
	w := start(f, nil)
	w.ask("PUT", "/api/v1/", stored).is(202)
	f.Fuzz(func(t *testing.T, text string) {
		w.t = t
		a := w.ask("PUT", "/api/v1/gateways/g", text)
		if a.status >= 500 {
			t.Fatalf("PUT %q = %d %s", text, a.status, a.body)
		}
		if a.status >= 300 {
			return
		}
		defer w.ask("DELETE", "/api/v1/gateways/g", "")
		for _, accept := range []string{"application/json", "application/x-yaml"} {
			got := w.ask("GET", "/api/v1/gateways/g", "", "Accept", accept).is(200)
			w.ask("PUT", "/api/v1/gateways/g", got.body).is(202).tell("Sluice-Change", "")
		}
		if got := w.text("g"); got != text {
			t.Errorf("stored is %q, want %q", got, text)
		}
	})
}
