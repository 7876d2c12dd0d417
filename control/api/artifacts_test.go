// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

const shop = `# the shop
name: shop
port: 8080
routes:
  blue: {weight: 90%}   # what most get
  green:
    weight: 10%
    condition: {ref: beta}
`

const beta = "name: beta\ncondition: has cookie beta\n"

// Each status is that of Vamp's table.
func TestStatusesOfWrites(t *testing.T) {
	w := start(t, nil)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"nothing is there at first", "GET", "/conditions/beta", "", 404},
		{"a condition is made by POST", "POST", "/conditions", beta, 201},
		{"and replaced", "POST", "/conditions", beta, 201},
		{"a condition is written by PUT", "PUT", "/conditions/beta", beta, 200},
		{"a gateway is made by POST", "POST", "/gateways", shop, 202},
		{"not twice with its port", "POST", "/gateways", shop, 400},
		{"a gateway is written by PUT", "PUT", "/gateways/shop", shop, 202},
		{"also below its namespace", "PUT", "/gateways/shop", strings.Replace(shop, "90%", "90% ", 1), 202},
		{"another name in the body is refused", "PUT", "/gateways/other", shop, 400},
		{"another kind in the body is refused", "PUT", "/gateways/shop", "kind: conditions\n" + shop, 400},
		{"a kind in the singular is taken", "PUT", "/gateways/shop", "kind: gateway\n" + shop, 202},
		{"unknown kinds are refused", "GET", "/breeds", "", 400},
		{"a body of two artifacts is refused", "PUT", "/conditions/beta", beta + "---\n" + beta, 400},
		{"an empty body is refused", "POST", "/conditions", "", 400},
		{"a gateway is deleted", "DELETE", "/gateways/shop", "", 202},
		{"and again, which is no error", "DELETE", "/gateways/shop", "", 202},
		{"a condition is deleted", "DELETE", "/conditions/beta", "", 204},
		{"a route is written", "PUT", "/routes/r", "name: r\nweight: 10%\n", 200},
		{"a rewrite is written", "POST", "/rewrites", "name: r\npath: /a if path_beg /b\n", 201},
		{"a template is written", "PUT", "/templates/t", "name: t\nsticky: route\n", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			w.ask(tt.method, "/api/v1"+tt.path, tt.body, "Content-Type", "application/x-yaml").is(tt.status)
		})
	}
}

func TestRefusalsNamePlacesInWhatWasSent(t *testing.T) {
	w := start(t, nil)
	w.put("conditions", "beta", beta)
	for _, tt := range []struct{ name, method, path, body, at, code, message string }{
		{"a key that is unknown", "PUT", "/gateways/shop", "name: shop\nstiky: route\n", "2:1", "UnexpectedElement", "did you mean sticky?"},
		{"weights that are not 100", "POST", "/gateways", "name: shop\nroutes:\n  a: {weight: 50%}\n  b: {weight: 60%}\n", "2:1", "GatewayRouteWeightError", "110%"},
		{"a condition that is not there", "PUT", "/gateways/shop", "name: shop\nroutes:\n  a:\n    condition: {ref: betta}\n", "4:22", "ArtifactNotFound", "did you mean beta?"},
		{"what is no YAML", "PUT", "/conditions/c", "name: c\ncondition: [\n", "", "YamlParsingError", ""},
		{"another name", "PUT", "/conditions/c", beta, "1:1", "InconsistentArtifactName", ""},
		{
			"the second of several", "PUT", "/", "kind: conditions\n" + beta + "---\n# next\nname: shop\nstiky: route\n", "7:1", "UnexpectedElement", "did you mean sticky?",
		},
		{
			"what is wrong beside the rest, in the second of several", "PUT", "/", "kind: conditions\n" + beta + "--- # next\nname: shop\nroutes: {a: {condition: {ref: gamma}}}\n",
			"6:31", "ArtifactNotFound", "gamma",
		},
		{"behind a directive", "PUT", "/", "# first\n%YAML 1.1\n---\nname: shop\nstiky: route\n", "5:1", "UnexpectedElement", "did you mean sticky?"},
		{"behind an end", "POST", "/", "name: a\n...\n\nname: shop\nstiky: route\n", "5:1", "UnexpectedElement", "did you mean sticky?"},
		{"in a list", "POST", "/", "- name: a\n- name: shop\n  stiky: route\n", "3:3", "UnexpectedElement", "did you mean sticky?"},
		{"one that stands twice", "PUT", "/", beta + "kind: conditions\n---\n" + beta + "kind: conditions\n", "5:1", "DuplicateArtifactName", "1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			a := w.ask(tt.method, "/api/v1"+tt.path, tt.body).is(400)
			var e struct {
				Message string
				Faults  []struct{ Source, At, Code, Severity string }
			}
			a.json(&e)
			if len(e.Faults) == 0 || e.Faults[0].Source != "" || e.Faults[0].Code != tt.code || tt.at != "" && e.Faults[0].At != tt.at {
				t.Errorf("faults %+v, want %s at %q", e.Faults, tt.code, tt.at)
			}
			if !strings.Contains(e.Message, tt.message) || !strings.HasPrefix(e.Message, tt.at) {
				t.Errorf("message %q, want it to begin with %q and have %q", e.Message, tt.at, tt.message)
			}
		})
	}
	w.t = t
	w.ask("GET", "/api/v1/gateways/shop", "").is(404)
}

// What is written is seen by whoever writes next, though the planner may not
// have heard of it.
func TestWritesSeeThoseBefore(t *testing.T) {
	w := start(t, nil)
	w.hasty = true
	for i := range 20 {
		name := fmt.Sprintf("c%d", i)
		w.put("conditions", name, "name: "+name+"\ncondition: has cookie x\n")
		w.put("gateways", name, "name: "+name+"\nroutes: {a: {condition: {ref: "+name+"}}}\n")
		w.ask("DELETE", "/api/v1/conditions/"+name, "").is(400)
		w.ask("DELETE", "/api/v1/gateways/"+name, "").is(202)
		w.ask("DELETE", "/api/v1/conditions/"+name, "").is(204)
	}
}

// A write that would break what others say is refused, and all stays.
func TestWhatIsReferredToStays(t *testing.T) {
	w := start(t, nil)
	w.put("conditions", "beta", beta)
	w.put("gateways", "shop", shop)
	w.ask("DELETE", "/api/v1/conditions/beta", "").is(400).has("shop").has("beta")
	w.ask("GET", "/api/v1/conditions/beta", "").is(200)
	w.ask("POST", "/api/v1/gateways", "name: other\nport: 8080\nroutes: {a: {}}\n").is(400).has("8080")
}

func TestGatewaysAreAnsweredAsVampDid(t *testing.T) {
	w := start(t, nil)
	w.put("gateways", "shop", `name: shop
metadata: {team: checkout, size: 0x10}
port: 8080/http
sticky: ROUTE
virtual_hosts: shop.example
service: {host: 10.0.0.9, port: 31080/http}
routes:
  [10.1.0.4:3000]: {sluice: {weight: 62.5%, timeouts: {connect: 1s}}, condition: user-agent == Chrome}
  other: {sluice: {weight: 37.50%}, metadata: {note: "yes"}}
sluice: {unavailable: redistribute}
`)
	//nolint:dupword // a key within one of its name
	const want = `name: shop
kind: gateways
metadata:
  team: checkout
  size: 16
lookup_name: f2c5aee3e47aad6735933f42d41a2d4e6720eced
internal: false
service:
  host: "10.0.0.9"
  port: 31080/http
deployed: false
port: 8080/http
sticky: route
virtual_hosts:
  - shop.example
selector: null
routes:
  "[10.1.0.4:3000]":
    metadata: {}
    lookup_name: %s
    selector: null
    balance: default
    condition:
      condition: user-agent == Chrome
    condition_strength: 100%%
    rewrites: []
    targets:
      - url: "10.1.0.4:3000"
    sluice:
      weight: 62.5%%
      timeouts:
        connect: 1s
  other:
    metadata:
      note: "yes"
    lookup_name: "%s"
    selector: null
    balance: default
    condition: null
    condition_strength: 0%%
    rewrites: []
    sluice:
      weight: 37.5%%
sluice:
  unavailable: redistribute
`
	got := w.ask("GET", "/api/v1/gateways/shop", "", "Accept", "application/x-yaml").is(200).tell("Content-Type", "application/x-yaml")
	if want := fmt.Sprintf(want, routing.RouteID("shop", "[10.1.0.4:3000]"), routing.RouteID("shop", "other")); got.body != want {
		t.Errorf("GET =\n%s\nwant\n%s", got.body, want)
	}
	w.proxies.serve()
	w.ask("GET", "/api/v1/gateways/shop", "").is(200).tell("Content-Type", "application/json").has(`"deployed":true`).has(`"size":16`)
	w.ask("GET", "/api/v1/gateways", "", "Accept", "application/x-yaml, */*").is(200).has("- name: shop\n")
}

func TestPortsThatWereAssignedAreShown(t *testing.T) {
	w := start(t, nil)
	w.put("gateways", "shop", "name: shop\nroutes: {a: {}}\n")
	a := w.ask("GET", "/api/v1/gateways/shop", "").is(200)
	var g struct{ Port string }
	a.json(&g)
	if !strings.HasPrefix(g.Port, "4") || !strings.HasSuffix(g.Port, "/http") {
		t.Errorf("port %q, want one from 40000 to 45000 with /http", g.Port)
	}
	// It stays an assigned one when the whole comes back.
	w.ask("PUT", "/api/v1/gateways/shop", strings.Replace(a.body, `"sticky":null`, `"sticky":"route"`, 1)).is(202)
	if text := w.text("shop"); strings.Contains(text, "port") || !strings.Contains(text, "sticky: route") {
		t.Errorf("the stored text is\n%s\nwant it sticky and without port", text)
	}
}

func TestGatewaysKeepThePortThatABodyDoesNotName(t *testing.T) {
	w := start(t, nil)
	for _, tt := range []struct{ name, first, then, want string }{
		{"in YAML", "name: g\nport: 8080\n", "name: g\nsticky: route", "name: g\nsticky: route\nport: \"8080\"\n"},
		{"in YAML that is indented", "name: g\nport: 8080/tcp\n", "  name: g\n  metadata: {}\n", "  name: g\n  metadata: {}\n  port: \"8080/tcp\"\n"},
		{"in JSON", "name: g\nport: 8080/http\n", `{"name": "g"}`, `{"port": "8080/http", "name": "g"}`},
		{"in JSON behind a comment with a brace", "name: g\nport: 8080\n", "# {g}\n{\"name\": \"g\"}\n", "# {g}\n{\"port\": \"8080\", \"name\": \"g\"}\n"},
		{"in YAML that ends with its mark", "name: g\nport: 8080\n", "name: g # ours\nsticky: route\n...\n", "name: g # ours\nsticky: route\nport: \"8080\"\n"},
		{"in YAML of several comments", "name: g\nport: 8080\n", "name: g\n# the end", "name: g\n# the end\nport: \"8080\"\n"},
		{"unless it asks for none", "name: g\nport: 8080\n", "name: g\nport: ~\n", "name: g\nport: ~\n"},
		{"or for another", "name: g\nport: 8080\n", "name: g\nport: 8081\n", "name: g\nport: 8081\n"},
		{"and none of none", "name: g\nport: 0\n", "name: g\n", "name: g\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			w.put("gateways", "g", tt.first)
			w.put("gateways", "g", tt.then)
			if got := w.text("g"); got != tt.want {
				t.Errorf("stored is %q, want %q", got, tt.want)
			}
			w.ask("DELETE", "/api/v1/gateways/g", "").is(202)
		})
	}
}

func TestNamesWithSlashes(t *testing.T) {
	w := start(t, nil)
	const text = "name: deployment/cluster/port\nroutes: {a: {}}\n"
	for _, name := range []string{"deployment/cluster/port", "deployment%2Fcluster%2Fport", "deployment%2fcluster/port"} {
		w.ask("PUT", "/api/v1/gateways/"+name, text).is(202)
		w.ask("GET", "/api/v1/gateways/"+name, "").is(200).has(`"internal":true`)
		w.ask("GET", "/api/v1/gateways/"+name+"/history", "").is(200).has(`"revision"`)
		w.ask("PATCH", "/api/v1/gateways/"+name+"/weights", `{"routes":{"a":"100%"}}`).is(202)
		w.ask("DELETE", "/api/v1/gateways/"+name, "").is(202)
		w.ask("GET", "/api/v1/gateways/"+name, "").is(404)
	}
	// A name that ends like an action is told from it by its escaped slash.
	w.ask("PUT", "/api/v1/gateways/a%2Fhistory", "name: a/history\n").is(202)
	w.ask("GET", "/api/v1/gateways/a%2Fhistory", "").is(200).has(`"name":"a/history"`)
	w.ask("GET", "/api/v1/gateways/a/history", "").is(404)
}

func TestNamespacesAreApart(t *testing.T) {
	w := start(t, nil)
	w.ask("PUT", "/acme/prod/api/v1/gateways/shop", "name: shop\nroutes: {a: {}}\n").is(202)
	w.ask("GET", "/acme/prod/api/v1/gateways/shop", "").is(200)
	w.ask("GET", "/api/v1/gateways/shop", "").is(404)
	w.ask("GET", "/default/default/api/v1/gateways/shop", "").is(404)
	w.ask("GET", "/Acme/prod/api/v1/gateways", "").is(400)
	w.ask("GET", "/acme/api/v1/gateways", "").is(404)
}

func TestListsComeInPages(t *testing.T) {
	w := start(t, nil)
	var b strings.Builder
	for i := range 65 {
		fmt.Fprintf(&b, "---\nname: g%02d\nroutes: {a: {}}\n", i)
	}
	w.ask("PUT", "/api/v1/", b.String()).is(202)
	for _, tt := range []struct {
		query string
		n     int
		first string
		links [4]int // first, prev, next, last
	}{
		{"", 30, "g00", [4]int{1, 1, 2, 3}},
		{"?page=2", 30, "g30", [4]int{1, 1, 3, 3}},
		{"?page=3&unknown=1", 5, "g60", [4]int{1, 2, 3, 3}},
		{"?page=4", 0, "", [4]int{1, 3, 3, 3}},
		{"?per_page=100", 30, "g00", [4]int{1, 1, 2, 3}},
		{"?per_page=7&page=2", 7, "g07", [4]int{1, 1, 3, 10}},
		{"?per_page=-1&page=x", 30, "g00", [4]int{1, 1, 2, 3}},
	} {
		t.Run("gateways"+tt.query, func(t *testing.T) {
			w.t = t
			a := w.ask("GET", "/api/v1/gateways"+tt.query, "").is(200).tell("X-Total-Count", "65")
			var list []struct{ Name string }
			a.json(&list)
			if len(list) != tt.n || tt.n > 0 && list[0].Name != tt.first {
				t.Errorf("%d gateways from %+v on, want %d from %s on", len(list), list, tt.n, tt.first)
			}
			for i, rel := range []string{"first", "prev", "next", "last"} {
				found := false
				for link := range strings.SplitSeq(a.header.Get("Link"), ", ") {
					found = found || strings.Contains(link, fmt.Sprintf("page=%d&", tt.links[i])) && strings.HasSuffix(link, fmt.Sprintf("rel=%q", rel))
				}
				if !found {
					t.Errorf("Link = %s, want page %d as %s", a.header.Get("Link"), tt.links[i], rel)
				}
			}
		})
	}
}

func TestSeveralAreWrittenByOneChangeOrNotAtAll(t *testing.T) {
	w := start(t, nil)
	type result struct {
		Kind, Name, Result string
		Revision           uint64
		Artifact           map[string]any
	}
	write := func(method, body string, status int) []result {
		t.Helper()
		var list []result
		a := w.ask(method, "/api/v1/", body).is(status)
		if status == 202 {
			a.json(&list)
		}
		return list
	}
	const both = "kind: conditions\n" + beta + "---\n" + shop
	got := write("PUT", both, 202)
	if len(got) != 2 || got[0].Kind != "conditions" || got[0].Result != "created" || got[1].Result != "created" ||
		got[0].Revision != 1 || got[1].Revision != 1 || got[1].Artifact["lookup_name"] == nil {
		t.Errorf("PUT = %+v, want both created by change 1", got)
	}
	if text := w.text("shop"); text != shop {
		t.Errorf("stored is %q, want it as it was sent", text)
	}
	got = write("POST", "kind: conditions\n"+beta+"---\n"+strings.Replace(shop, "90%", "90% ", 1), 202)
	if got[0].Result != "unchanged" || got[0].Revision != 1 || got[1].Result != "configured" || got[1].Revision != 2 {
		t.Errorf("POST = %+v, want the condition unchanged and the gateway configured", got)
	}
	write("PUT", "name: fine\nroutes: {a: {}}\n---\nname: broken\nstiky: route\n", 400)
	w.ask("GET", "/api/v1/gateways/fine", "").is(404)
	got = write("PUT", `[{"name": "one", "routes": {"z": {"weight": "50%"}, "a": {"weight": "50%"}}}, {"kind": "condition", "name": "two", "condition": "has cookie x"}]`, 202)
	if len(got) != 2 || got[0].Name != "one" || got[1].Kind != "conditions" {
		t.Errorf("PUT of a list = %+v, want both", got)
	}
	w.ask("GET", "/api/v1/gateways/one", "").is(200).has(`"routes":{"z":{`)
	got = write("DELETE", "name: shop\n---\nkind: conditions\nname: beta\n---\nname: missing\n", 202)
	if len(got) != 3 || got[0].Result != "deleted" || got[1].Result != "deleted" || got[2].Result != "unchanged" {
		t.Errorf("DELETE = %+v, want two deleted and one that was not there", got)
	}
	write("PUT", "", 400)
	write("PUT", "name: "+strings.Repeat("x", 300)+"\n", 400)
	w.ask("PUT", "/api/v1/", shop, "If-Match", `"1"`).is(400)
}

func TestWarningsOfGoodWritesAreTold(t *testing.T) {
	w := start(t, nil)
	a := w.ask("PUT", "/api/v1/gateways/g", "name: g\nsticky: route\nsticky: route\n").is(202)
	if got := a.header.Get("Sluice-Warning"); !strings.HasPrefix(got, "3:1: warning: ") || !strings.Contains(got, "sticky") {
		t.Errorf("Sluice-Warning = %q, want the place of the second key", got)
	}
	w.ask("PUT", "/api/v1/gateways/g", "name: g\nsticky: route\n").is(202).tell("Sluice-Warning", "")
	all := w.ask("PUT", "/api/v1/gateways/g", "name: g\n"+strings.Repeat("sticky: route\n", 60)).is(202).header.Values("Sluice-Warning")
	if size := len(strings.Join(all, "")); size > 3000 || !strings.HasSuffix(all[len(all)-1], "that files alone can tell") {
		t.Errorf("%d bytes of warnings, the last is %q, want few that tell of more", size, all[len(all)-1])
	}
}

// Weights that many change at once, without saying of which version, all
// count: none is lost, and none is refused.
func TestManyMoveTrafficAtOnce(t *testing.T) {
	w := start(t, nil)
	w.put("gateways", "g", "name: g\nroutes: {a: {weight: 100%}, b: {weight: 0%}}\n")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a := w.ask("PATCH", "/api/v1/gateways/g/weights", fmt.Sprintf(`{"routes": {"a": "%d%%", "b": "%d%%"}}`, 99-i, 1+i))
			if a.status != http.StatusAccepted && a.status != http.StatusServiceUnavailable {
				t.Errorf("answered %d %s, want 202", a.status, a.body)
			}
		})
	}
	wg.Wait()
	var all []any
	w.ask("GET", "/api/v1/gateways/g/history", "").is(200).json(&all)
	if len(all) < 2 {
		t.Errorf("%d versions, want those that were written", len(all))
	}
}

func TestTooLargeBodies(t *testing.T) {
	w := start(t, nil)
	large := "name: c\ncondition: has cookie x\nmetadata: {a: " + strings.Repeat("x", 1<<20) + "}\n"
	w.ask("PUT", "/api/v1/conditions/c", large).is(413).has("1048576")
	w.ask("POST", "/api/v1/conditions", large).is(413)
	w.ask("PATCH", "/api/v1/gateways/g/weights", large).is(413)
	w.ask("PUT", "/api/v1/", strings.Repeat("#", 16<<20+1)).is(413) // more that is not read might reset the connection
	w.ask("PUT", "/api/v1/", strings.Repeat("---\nname: x\n", 1001)).is(413).has("1000")
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "---\n%sname: g%d\n", strings.Repeat("# "+strings.Repeat("x", 997)+"\n", 1000), i)
	}
	w.ask("PUT", "/api/v1/", b.String()).is(202)
	w.ask("PUT", "/api/v1/", strings.Repeat("--- x\n", 1<<20)).is(400).has(`"at":"1:5"`)
}

func TestNothingIsStoredWhenOnlyValidating(t *testing.T) {
	w := start(t, nil)
	w.ask("PUT", "/api/v1/gateways/shop?validate_only=true", "name: shop\nport: 8080\n").is(202).has(`"port":"8080"`).tell("Sluice-Change", "")
	w.ask("GET", "/api/v1/gateways/shop", "").is(404)
	w.ask("PUT", "/api/v1/gateways/shop?validate_only=true", "name: shop\nport: 808000\n").is(400)
	w.put("gateways", "shop", "name: shop\nport: 8080\n")
	w.ask("DELETE", "/api/v1/gateways/shop?validate_only=true", "").is(202)
	w.ask("PUT", "/api/v1/?validate_only=true", "name: shop\nport: 8081\n").is(202).has(`"configured"`).has(`"port":"8081"`)
	w.ask("GET", "/api/v1/gateways/shop", "").is(200).has(`"port":"8080"`)
}

func TestBodiesOfOtherTypesAreRefused(t *testing.T) {
	w := start(t, nil)
	for contentType, status := range map[string]int{
		"": 200, "application/json": 200, "application/x-yaml; charset=utf-8": 200, "text/yaml": 200,
		"application/x-www-form-urlencoded": 400, "text/plain": 400, "nonsense": 400,
	} {
		var headers []string
		if contentType != "" {
			headers = []string{"Content-Type", contentType}
		}
		if a := w.ask("PUT", "/api/v1/conditions/beta", beta, headers...); a.status != status {
			t.Errorf("PUT with Content-Type %q = %d, want %d", contentType, a.status, status)
		}
	}
}

func TestVersionsGuardWrites(t *testing.T) {
	w := start(t, nil)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", `"1"`).is(412)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-None-Match", "*").is(200).tell("ETag", `"1"`).tell("Sluice-Change", "1")
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-None-Match", "*").is(412).tell("ETag", `"1"`).
		has(`"revision":1`).has(`"current":{"name":"beta"`)
	w.ask("PUT", "/api/v1/conditions/beta", beta+"\n", "If-Match", `"1"`).is(200).tell("ETag", `"2"`)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", `"1"`).is(412).tell("ETag", `"2"`)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", `"1", "2"`).is(200).tell("ETag", `"3"`)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", `"3"`).is(200).tell("ETag", `"3"`).tell("Sluice-Change", "")
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", "abc").is(400)
	w.ask("GET", "/api/v1/conditions/beta", "", "If-None-Match", `"3"`).is(304).tell("ETag", `"3"`)
	w.ask("GET", "/api/v1/conditions/beta", "", "If-None-Match", `"2"`).is(200)
	w.ask("DELETE", "/api/v1/conditions/beta", "", "If-Match", `"2"`).is(412)
	tag := w.ask("GET", "/api/v1/conditions/beta", "").is(200).header.Get("ETag")
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", tag).is(200)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "If-Match", `"f`+tag[1:]).is(412) // of another life of the store
	w.ask("DELETE", "/api/v1/conditions/beta", "", "If-Match", "*").is(204).tell("Sluice-Change", "4")
	w.ask("DELETE", "/api/v1/conditions/beta", "", "If-Match", "*").is(412)
}

// Of two who write for the same version one is told what the other did.
func TestTwoWriters(t *testing.T) {
	w := start(t, nil)
	w.put("conditions", "beta", beta)
	for round := range 10 {
		tag := w.ask("GET", "/api/v1/conditions/beta", "").is(200).header.Get("ETag")
		var wg sync.WaitGroup
		statuses := make([]int, 4)
		for i := range statuses {
			wg.Go(func() {
				text := fmt.Sprintf("%s# %d %d\n", beta, round, i)
				statuses[i] = w.ask("PUT", "/api/v1/conditions/beta", text, "If-Match", tag).status
			})
		}
		wg.Wait()
		won := 0
		for _, s := range statuses {
			if s == http.StatusOK {
				won++
			} else if s != http.StatusPreconditionFailed {
				t.Errorf("answered %d, want 200 or 412", s)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d writers won, want 1", won, len(statuses))
		}
	}
}

func TestHistoryAndRollback(t *testing.T) {
	w := start(t, nil)
	w.ask("GET", "/api/v1/gateways/shop/history", "").is(404)
	w.put("gateways", "shop", "# first\nname: shop\n")
	w.ask("POST", "/api/v1/gateways/shop/rollback", "").is(400).has("no version before")
	w.ask("PUT", "/api/v1/gateways/shop", "name: shop\nsticky: route\n", "Sluice-Author", "ann").is(202)
	var list []struct {
		Revision     uint64
		Author, Text string
		Deleted      bool
	}
	w.ask("GET", "/api/v1/gateways/shop/history", "").is(200).json(&list)
	if len(list) != 2 || list[0].Revision != 2 || list[0].Author != "local: ann" || list[1].Text != "# first\nname: shop\n" {
		t.Errorf("history = %+v, want both versions, the newest first", list)
	}
	w.ask("POST", "/api/v1/gateways/shop/rollback", "").is(202).tell("Sluice-Change", "3").has(`"sticky":null`)
	if text := w.text("shop"); text != "# first\nname: shop\n" {
		t.Errorf("stored is %q, want the first text", text)
	}
	w.ask("POST", "/api/v1/gateways/shop/rollback?to=2", "", "If-Match", `"1"`).is(412)
	w.ask("POST", "/api/v1/gateways/shop/rollback?to=2", "").is(202).has(`"sticky":"route"`)
	w.ask("POST", "/api/v1/gateways/shop/rollback?to=77", "").is(404)
	w.ask("POST", "/api/v1/gateways/shop/rollback?to=x", "").is(400)
	w.ask("DELETE", "/api/v1/gateways/shop", "").is(202)
	w.ask("POST", "/api/v1/gateways/shop/rollback?to=5", "").is(400).has("delete it")
	w.ask("POST", "/api/v1/gateways/shop/rollback", "").is(202).tell("Sluice-Change", "6")
	w.ask("GET", "/api/v1/gateways/shop", "").is(200).has(`"sticky":"route"`)
}

func TestWritesWaitUntilTheyAreServed(t *testing.T) {
	w := start(t, nil)
	w.ask("PUT", "/api/v1/gateways/shop?wait=10s", "name: shop\n").is(202).tell("Sluice-Converged", "false")
	w.proxies.serve()
	w.ask("PUT", "/api/v1/gateways/shop?wait=10", "name: shop\nsticky: route\n").is(202).tell("Sluice-Converged", "true").has(`"deployed":true`)
	w.ask("PUT", "/api/v1/gateways/shop?wait=1s", "name: shop\nsticky: route\n").is(202).tell("Sluice-Converged", "true").tell("Sluice-Change", "")
	w.ask("PUT", "/api/v1/gateways/shop?wait=soon", "name: shop\n").is(400)
	w.ask("PUT", "/api/v1/gateways/shop?wait=-1s", "name: shop\n").is(400)
	w.ask("PUT", "/api/v1/?wait=1s", "name: shop\n").is(202).tell("Sluice-Converged", "true")
	w.ask("DELETE", "/api/v1/gateways/shop?wait=1s", "").is(202).tell("Sluice-Converged", "true")
	w.ask("GET", "/api/v1/changes/1?wait=1s", "").is(200).has(`"state":"converged"`).has(`"version":"a.1"`)
}

func TestAuditNamesWhoWroteWhat(t *testing.T) {
	w := start(t, nil)
	w.ask("PUT", "/api/v1/conditions/beta", beta, "Sluice-Author", "ann").is(200)
	w.ask("DELETE", "/api/v1/conditions/beta", "").is(204)
	log := w.log.String()
	for _, want := range []string{
		`msg="artifact written" author="local: ann" namespace=default/default kind=conditions name=beta result=created change=1`,
		`author=local namespace=default/default kind=conditions name=beta result=deleted change=2`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	w.ask("PUT", "/api/v1/conditions/beta", beta, "Sluice-Author", "a\tb").is(400)
	a, err := w.store.History(t.Context(), store.Key{Namespace: "default/default", Kind: "conditions", Name: "beta"})
	if err != nil || a[0].Author != "local" || a[1].Author != "local: ann" {
		t.Errorf("History() = %+v, %v, want both authors", a, err)
	}
}
