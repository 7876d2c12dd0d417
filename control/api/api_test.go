// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// world is an API over a real store, and a client of it.
type world struct {
	t       testing.TB
	store   store.Store
	plans   *plans
	proxies *proxies
	api     *api.API
	log     *logs
	url     string
	header  http.Header // of all requests
}

// start serves an API until the test ends; change makes other options.
func start(t testing.TB, change func(*api.Options)) *world {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, store: s, plans: &plans{store: s}, proxies: &proxies{}, log: &logs{}, header: make(http.Header)}
	o := api.Options{Store: s, Plans: w.plans, Proxies: w.proxies, Log: slog.New(slog.NewTextHandler(w.log, nil)), Build: "test", Node: "here"}
	if change != nil {
		change(&o)
	}
	if w.api, err = api.New(o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.api.Handler())
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// logs is a log that is read while it is written.
type logs struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// plans plans what the store holds whenever it is asked.
type plans struct {
	store store.Store
	found []*routing.Instance

	mu     sync.Mutex // guards the fields below
	before map[string]*routing.Selection
}

func (p *plans) documents(ns string, updates []discovery.Update) ([]*routing.Document, error) {
	all, err := p.store.List(context.Background(), ns, "")
	if err != nil {
		return nil, err
	}
	by := make(map[string]discovery.Update)
	for _, a := range all.Artifacts {
		u := artifacts.Update(a.Key, a.Text)
		by[u.Key] = u
	}
	for _, u := range updates {
		by[u.Key] = u
	}
	var keys []string
	for key := range by {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var docs []*routing.Document
	for _, key := range keys {
		docs = append(docs, by[key].Documents...)
	}
	return docs, nil
}

func (p *plans) plan(ns string, updates []discovery.Update) (planner.Plan, bool) {
	docs, err := p.documents(ns, updates)
	if err != nil {
		return planner.Plan{}, false
	}
	table, faults := routing.Resolve(docs)
	p.mu.Lock()
	if p.before == nil {
		p.before = make(map[string]*routing.Selection)
	}
	table, next, more := routing.Select(p.before[ns], table, routing.NewInstances(p.found), time.Unix(0, 0), routing.SelectOptions{})
	if updates == nil {
		p.before[ns] = next
	}
	p.mu.Unlock()
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	snapshot, last := routing.Compile(nil, table, routing.CompileOptions{})
	return planner.Plan{Namespace: ns, Table: table, Snapshot: snapshot, Faults: slices.Concat(faults, more, last)}, true
}

func (p *plans) Last(ns string) (planner.Plan, bool) { return p.plan(ns, nil) }

func (p *plans) Status(ns string) planner.Status {
	plan, _ := p.plan(ns, nil)
	s := planner.Status{Version: plan.Table.Version.String(), Listed: true}
	for _, g := range plan.Table.Gateways {
		s.Gateways = append(s.Gateways, planner.Gateway{Name: g.Name, State: planner.Good, At: g.At.String()})
	}
	return s
}

func (p *plans) Check(ns string, updates []discovery.Update) []*routing.Fault {
	before, _ := p.plan(ns, nil)
	after, _ := p.plan(ns, updates)
	var faults []*routing.Fault
	for _, f := range after.Faults {
		if !slices.ContainsFunc(before.Faults, func(b *routing.Fault) bool { return *b == *f }) {
			faults = append(faults, f)
		}
	}
	return faults
}

// proxies is what the API hears of proxies: one, which serves everything, if
// serving is set; none otherwise.
type proxies struct {
	mu      sync.Mutex // guards serving
	serving bool
}

func (p *proxies) serve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving = true
}

func (p *proxies) on() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serving
}

func (p *proxies) Proxies() []stream.Proxy {
	if !p.on() {
		return nil
	}
	return []stream.Proxy{
		{
			Node: "edge-1", Namespaces: []string{"default/default", "acme/prod"}, Connected: true, Address: "127.0.0.1:9",
			Version:  routing.Version{Epoch: 10, Revision: 3},
			Refusals: []stream.Refusal{{Gateway: "shop", Node: "edge-1", Reasons: []stream.Reason{{Problem: "port 80 is taken"}}, More: 1}},
		},
		{Node: "edge-2", Namespaces: []string{"other/place"}, Connected: true},
	}
}

func (p *proxies) Deployed(ns, gateway string) stream.Deployment {
	d := stream.Deployment{Namespace: ns, Gateway: gateway, Known: true}
	if p.on() {
		d.Proxies, d.Served = 1, 1
	}
	return d
}

func (p *proxies) Convergence(change uint64) (stream.Convergence, bool) {
	c := stream.Convergence{Change: change, State: stream.NoProxies, Namespace: "default/default"}
	if p.on() {
		c.State, c.Proxies, c.Served, c.Version = stream.Converged, 1, 1, routing.Version{Epoch: 10, Revision: change}
	}
	return c, change < 1000
}

func (p *proxies) Wait(_ context.Context, change uint64) (stream.Convergence, error) {
	c, ok := p.Convergence(change)
	if !ok {
		return c, stream.ErrForgotten
	}
	return c, nil
}

// answer is an answer, read.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// ask makes a request; headers are pairs of names and values.
func (w *world) ask(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, values := range w.header {
		r.Header[name] = values
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return &answer{w.t, resp.StatusCode, resp.Header, string(b)}
}

// put writes an artifact and fails the test if that is refused.
func (w *world) put(kind, name, text string) *answer {
	w.t.Helper()
	a := w.ask("PUT", "/api/v1/"+kind+"/"+name, text)
	if a.status >= 300 {
		w.t.Fatalf("PUT %s/%s = %d %s", kind, name, a.status, a.body)
	}
	return a
}

// text returns the stored text of an artifact.
func (w *world) text(kind, name string) string {
	w.t.Helper()
	a, err := w.store.Get(w.t.Context(), store.Key{Namespace: "default/default", Kind: kind, Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Text
}

// is fails the test unless the answer has a status.
func (a *answer) is(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("answered %d %s, want %d", a.status, a.body, status)
	}
	return a
}

// has fails the test unless the body contains a text.
func (a *answer) has(text string) *answer {
	a.t.Helper()
	if !strings.Contains(a.body, text) {
		a.t.Errorf("the answer %s has no %s", a.body, text)
	}
	return a
}

// json decodes the body.
func (a *answer) json(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%s: %v", a.body, err)
	}
}

// tell fails the test unless a field of the header has a value.
func (a *answer) tell(name, want string) *answer {
	a.t.Helper()
	if got := a.header.Get(name); got != want {
		a.t.Errorf("%s = %q, want %q", name, got, want)
	}
	return a
}
