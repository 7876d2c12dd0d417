// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// noStore is a store that nothing is asked of but its version.
type noStore struct{ store.Store }

func (noStore) Version(context.Context) (routing.Version, error) { return routing.Version{}, nil }

// noPlans has none.
type noPlans struct{}

func (noPlans) Last(string) (planner.Plan, bool)                  { return planner.Plan{}, false }
func (noPlans) Status(string) planner.Status                      { return planner.Status{} }
func (noPlans) Check(string, []discovery.Update) []*routing.Fault { return nil }

// fullStore is a store on a disk without room, which fails writes as told.
type fullStore struct {
	store.Store
	err error
}

func (f *fullStore) Apply(context.Context, string, ...store.Change) (store.Commit, error) {
	return store.Commit{}, f.err
}

func TestReadsGoOnWhenNothingCanBeWritten(t *testing.T) {
	full := &fullStore{}
	w := start(t, func(o *api.Options) {
		if _, err := o.Store.Apply(t.Context(), "ann", store.Change{
			Key: store.Key{Namespace: "default/default", Kind: "conditions", Name: "beta"}, Text: beta, Expect: store.Any,
		}); err != nil {
			t.Fatal(err)
		}
		full.Store = o.Store
		o.Store = full
	})
	for err, status := range map[error]int{store.ErrFull: 507, store.ErrReadOnly: 503, store.ErrTooLarge: 413, store.ErrClosed: 503} {
		full.err = err
		w.ask("PUT", "/api/v1/conditions/beta", beta+"#\n").is(status).has(`"message"`)
		w.ask("GET", "/api/v1/conditions/beta", "").is(200).has("has cookie beta")
	}
}

func TestWritesWaitUntilEverythingIsKnown(t *testing.T) {
	ready := false
	w := start(t, func(o *api.Options) {
		o.Ready = func() []api.Readiness {
			return []api.Readiness{{Name: "sources", OK: ready, Detail: "not all have told what they have"}}
		}
	})
	w.ask("GET", "/livez", "").is(200).has("ok")
	w.ask("GET", "/readyz", "").is(503).has("[-] sources: not all have told what they have\nnot ready\n")
	w.ask("PUT", "/api/v1/conditions/beta", beta).is(503).tell("Retry-After", "1").has("sources")
	w.ask("GET", "/api/v1/conditions", "").is(200)
	ready = true
	w.ask("GET", "/readyz", "").is(200).has("[+] sources")
	w.ask("PUT", "/api/v1/conditions/beta", beta).is(200)
}

// A fault of ours is answered, told in the log, and ends nothing else.
func TestPanicsAreAnswered(t *testing.T) {
	w := start(t, func(o *api.Options) { o.Confirm = func() int { panic("on purpose") } })
	a := w.ask("POST", "/api/v1/confirm", "").is(500).has("Internal server error")
	id := regexp.MustCompile(`incident \S+-1`).FindString(a.body)
	if log := w.log.String(); id == "" || !strings.Contains(log, id) || !strings.Contains(log, "on purpose") || strings.Contains(a.body, "on purpose") {
		t.Errorf("answered %s, and the log says\n%s\nwant an incident in both, and why in the log", a.body, log)
	}
	w.ask("GET", "/livez", "").is(200)
}

func TestPathsThatLeadNowhere(t *testing.T) {
	w := start(t, nil)
	for _, path := range []string{"/", "/api", "/api/v2/gateways", "/gateways", "/api/v1x", "/a/b/c/api/v1/gateways"} {
		w.ask("GET", path, "").is(404).has(`"message"`)
	}
	w.ask("GET", "/api/v1", "").is(405).tell("Allow", "PUT, POST, DELETE")
	w.ask("PATCH", "/api/v1/gateways/shop", "").is(405).tell("Allow", "GET, PUT, DELETE")
	w.ask("GET", "/api/v1/gateways/shop/rollback", "").is(404) // of this name there is none
	w.ask("HEAD", "/api/v1/gateways", "").is(200).tell("X-Total-Count", "0").tell("Cache-Control", "no-store")
}

func TestExplain(t *testing.T) {
	w := start(t, nil)
	w.ask("POST", "/acme/prod/api/v1/explain", `{"url": "http://shop.example:8080/"}`).is(404)
	w.put("gateways", "shop", "name: shop\nport: 8080\nroutes: {\"[10.0.0.1:80]\": {weight: 100%}}\n")
	w.ask("POST", "/api/v1/explain", `{"url": "http://shop.example:8080/"}`).is(200).has(`"outcome"`).has("10.0.0.1")
	a := w.ask("POST", "/api/v1/explain", `{"url": "http://shop.example:8080/"}`, "Accept", "text/plain").is(200).has("10.0.0.1")
	if strings.HasPrefix(a.body, "{") {
		t.Errorf("answered %s, want text", a.body)
	}
	w.ask("POST", "/api/v1/explain", `{"url": "ftp://x"}`).is(400).has(`"field":"url"`)
	w.ask("POST", "/api/v1/explain", `{"urll": "http://x"}`).is(400).has(`"field":"body"`)
	w.ask("POST", "/api/v1/explain", `{"url": "http://x"} 1`).is(400)
}

func TestStatusProxiesAndChanges(t *testing.T) {
	w := start(t, nil)
	w.put("gateways", "shop", shopAlone)
	w.ask("PUT", "/acme/prod/api/v1/gateways/other", "name: other\n").is(202)
	w.ask("DELETE", "/api/v1/gateways/shop", "").is(202)
	w.put("gateways", "shop", shopAlone)
	w.ask("GET", "/api/v1/proxies", "").is(200).has("[]")
	w.proxies.serve()
	var status struct {
		Namespace, Version string
		Listed             bool
		Proxies            int
		Gateways           []struct {
			Name, State, Port string
			Served, Proxies   int
			Routes            []struct{ Path, Weight string }
		}
	}
	w.ask("GET", "/api/v1/status", "").is(200).json(&status)
	if !status.Listed || status.Proxies != 1 || len(status.Gateways) != 1 || status.Gateways[0].Port != "8080/http" ||
		status.Gateways[0].Served != 1 || status.Gateways[0].Routes[0].Weight != "90%" || status.Gateways[0].State != "good" {
		t.Errorf("status = %+v, want the gateway served by one proxy", status)
	}
	w.ask("GET", "/api/v1/proxies", "").is(200).has(`"node":"edge-1"`).has(`"version":"a.3"`).has(`"reason":"port 80 is taken (and 1 more)"`)
	if a := w.ask("GET", "/api/v1/proxies", ""); strings.Contains(a.body, "edge-2") {
		t.Errorf("proxies = %s, want those of the namespace", a.body)
	}
	var changes []struct {
		ID                 uint64
		Author, State      string
		Artifacts, Deleted []string
	}
	w.ask("GET", "/api/v1/changes", "").is(200).tell("X-Total-Count", "3").json(&changes)
	if len(changes) != 3 || changes[0].ID != 4 || changes[1].Deleted[0] != "gateways/shop" || changes[2].Artifacts[0] != "gateways/shop" || changes[0].State != "converged" {
		t.Errorf("changes = %+v, want those of the namespace, the newest first", changes)
	}
	w.ask("GET", "/api/v1/changes/4", "").is(200).has(`"served":1`)
	w.ask("GET", "/acme/prod/api/v1/changes/4", "").is(404)
	for _, id := range []string{"99", "0", "-1", "x"} {
		w.ask("GET", "/api/v1/changes/"+id, "").is(404)
	}
	w.ask("GET", "/acme/prod/api/v1/status", "").is(200).has(`"name":"other"`)
	w.ask("GET", "/nobody/here/api/v1/status", "").is(200).has(`"gateways":[]`)
}

const shopAlone = "name: shop\nport: 8080\nroutes: {a: {weight: 90%}, b: {weight: 10%}}\n"

func TestBackups(t *testing.T) {
	w := start(t, nil)
	w.put("conditions", "beta", beta)
	a := w.ask("GET", "/api/v1/backup", "").is(200).tell("Content-Type", "application/octet-stream")
	dir := filepath.Join(t.TempDir(), "restored")
	if err := store.Restore(dir, strings.NewReader(a.body)); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Get(t.Context(), store.Key{Namespace: "default/default", Kind: "conditions", Name: "beta"}); err != nil || got.Text != beta {
		t.Errorf("Get() of the restored store = %+v, %v, want the condition", got, err)
	}
}

func TestInfo(t *testing.T) {
	w := start(t, nil)
	w.ask("GET", "/api/v1/info", "").is(200).has(`"version":"test"`).has(`"author":"local"`).has(`"rank":"admin"`).has(`"running_since":"`)
	w.ask("GET", "/api/v1/info", "", "Accept", "application/x-yaml").is(200).has("version: test\n")
}

// The description names all that can be asked, and nothing else.
func TestDescriptionNamesEveryRoute(t *testing.T) {
	w := start(t, func(o *api.Options) {
		o.Confirm = func() int { return 0 }
		o.Metrics = http.NotFoundHandler()
	})
	var described struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	w.ask("GET", "/api/v1/openapi.json", "").is(200).json(&described)
	if !strings.HasPrefix(described.OpenAPI, "3.1") {
		t.Errorf("openapi = %q, want 3.1", described.OpenAPI)
	}
	var want, got []string
	for _, r := range w.api.Routes() {
		want = append(want, r.Method+" "+strings.ReplaceAll(r.Path, "...}", "}"))
	}
	for path, methods := range described.Paths {
		for method, text := range methods {
			if method == "parameters" {
				continue
			}
			got = append(got, strings.ToUpper(method)+" "+path)
			var m struct {
				Summary   string
				Responses map[string]any
			}
			if err := json.Unmarshal(text, &m); err != nil || m.Summary == "" || len(m.Responses) == 0 {
				t.Errorf("%s %s is described without a summary or answers", method, path)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	for _, r := range want {
		if !slices.Contains(got, r) {
			t.Errorf("%s is not described", r)
		}
	}
	for _, r := range got {
		if !slices.Contains(want, r) {
			t.Errorf("%s is described and cannot be asked", r)
		}
	}
	var indented bytes.Buffer
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&indented, text, "", "  "); err != nil || indented.String() != string(text) {
		t.Errorf("openapi.json is not indented by two blanks: %v", err)
	}
}

// FuzzRequests sends requests of all kinds, which are never our own fault.
func FuzzRequests(f *testing.F) {
	for _, text := range texts {
		f.Add(uint8(0), "g", text, "")
	}
	f.Add(uint8(1), "", stored, "wait=1ms")
	f.Add(uint8(2), "", "name: g\n---\n- name: x\n- kind: conditions\n  name: y\n", "validate_only=true")
	f.Add(uint8(3), "g", `{"routes": {"a": "50%"}}`, "")
	f.Add(uint8(4), "a%2Fb", "", "to=1")
	f.Add(uint8(5), "g/history", "", "page=2&per_page=0")
	f.Add(uint8(6), "g", `{"url": "http://x/"}`, "")
	w := start(f, nil)
	methods := []string{"PUT /gateways/", "PUT /", "DELETE /", "PATCH /gateways/%s/weights", "POST /gateways/%s/rollback", "GET /gateways/", "POST /explain", "POST /conditions", "PUT /conditions/"}
	f.Fuzz(func(t *testing.T, kind uint8, name, body, query string) {
		w.t = t
		method, path, _ := strings.Cut(methods[int(kind)%len(methods)], " ")
		switch {
		case strings.Contains(path, "%s"):
			path = strings.Replace(path, "%s", name, 1)
		case strings.HasSuffix(path, "s/"):
			path += name
		}
		r, err := http.NewRequestWithContext(t.Context(), method, w.url+"/api/v1"+path+"?"+query, strings.NewReader(body))
		if err != nil {
			return // no such request can be made
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode >= 500 {
			t.Errorf("%s %s %q = %d: %s", method, path, body, resp.StatusCode, w.log.String())
		}
	})
}

// restarted are proxies of a control plane that was started anew: nothing is
// known of changes before.
type restarted struct {
	proxies
	list func() []stream.Proxy
}

func (r *restarted) Proxies() []stream.Proxy { return r.list() }

func (*restarted) Convergence(uint64) (stream.Convergence, bool) { return stream.Convergence{}, false }

func (*restarted) Wait(context.Context, uint64) (stream.Convergence, error) {
	return stream.Convergence{}, stream.ErrForgotten
}

// A change of a former process is in the newest table, so who serves that
// serves it.
func TestChangesOfAFormerProcess(t *testing.T) {
	at := routing.Version{Epoch: 1, Revision: 1}
	good := stream.Proxy{Node: "a", Namespaces: []string{"default/default"}, Connected: true, Version: at}
	behind := good
	behind.Node, behind.Behind = "b", time.Unix(1, 0)
	gone := behind
	gone.Connected = false
	other := behind
	other.Namespaces = []string{"other/place"}
	for _, tt := range []struct {
		name    string
		proxies []stream.Proxy
		then    []stream.Proxy // from the third look on
		has     string
		served  string
	}{
		{"no proxy", []stream.Proxy{gone, other}, nil, `"state":"no_proxies"`, "false"},
		{"all serve it", []stream.Proxy{good, gone, other}, nil, `"state":"converged"`, "true"},
		{"one does not", []stream.Proxy{good, behind}, nil, `"laggards":[{"node":"b"`, "false"},
		{"one comes up while it is waited for", []stream.Proxy{good, behind}, []stream.Proxy{good}, `"state":"converged"`, "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var looks atomic.Int32
			r := &restarted{list: func() []stream.Proxy {
				if looks.Add(1) > 2 && tt.then != nil {
					return tt.then
				}
				return tt.proxies
			}}
			w := start(t, func(o *api.Options) {
				o.Proxies = r
				if _, err := o.Store.Apply(t.Context(), "ann", store.Change{
					Key: store.Key{Namespace: "default/default", Kind: "conditions", Name: "beta"}, Text: beta, Expect: store.Any,
				}); err != nil {
					t.Fatal(err)
				}
			})
			wait := "300ms"
			if tt.then != nil {
				wait = "1m"
			}
			w.ask("GET", "/api/v1/changes/1?wait="+wait, "").is(200).has(tt.has)
			looks.Store(0)
			w.ask("PUT", "/api/v1/conditions/beta?wait="+wait, beta).is(200).tell("Sluice-Converged", tt.served)
		})
	}
}
