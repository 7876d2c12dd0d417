// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// world is an API over a real store and planner, and a client of it.
type world struct {
	t       testing.TB
	store   store.Store
	planned planned
	proxies *proxies
	api     *api.API
	log     *logs
	url     string
	header  http.Header // of all requests
	hasty   bool        // requests do not wait until what they wrote is planned
}

// start serves an API until the test ends; change makes other options, and is
// says what runs.
func start(tb testing.TB, change func(*api.Options), is ...*routing.Instance) *world {
	tb.Helper()
	s, err := store.Open(tb.TempDir(), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	w := &world{t: tb, store: s, proxies: &proxies{}, log: &logs{}, header: make(http.Header)}
	p := planner.New(planner.Options{Interval: time.Millisecond})
	o := api.Options{Store: s, Plans: p, Proxies: w.proxies, Log: slog.New(slog.NewTextHandler(w.log, nil)), Build: "test", Node: "here"}
	if change != nil {
		change(&o)
	}
	if w.api, err = api.New(o); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Run(ctx, discovery.Join(artifacts.Source(s, artifacts.Options{}), instances(is)), func(plan planner.Plan) {
			w.api.Published(plan)
			w.planned.publish(plan)
		})
	}()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	w.planned.await(tb, 0)
	server := httptest.NewServer(w.api.Handler())
	tb.Cleanup(server.Close)
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

// instances is a source that tells of what runs, once.
type instances []*routing.Instance

func (is instances) Run(ctx context.Context, sink func(discovery.Batch)) error {
	sink(discovery.Batch{Updates: []discovery.Update{{Key: "instances", Instances: is}}, Listed: true})
	<-ctx.Done()
	return nil
}

// planned is up to which change plans have come.
type planned struct {
	mu      sync.Mutex // guards the fields below
	newest  uint64
	any     bool
	changed chan struct{} // closed when one of them changes
}

func (p *planned) publish(plan planner.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.any = true
	for _, c := range plan.Changes {
		p.newest = max(p.newest, c.ID)
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// await waits until a plan has a change, or until there is one for change 0.
func (p *planned) await(tb testing.TB, change uint64) {
	tb.Helper()
	limit := time.After(time.Minute)
	for {
		p.mu.Lock()
		if p.any && p.newest >= change {
			p.mu.Unlock()
			return
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			tb.Fatalf("change %d is in no plan after a minute", change)
		}
	}
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
	maps.Copy(r.Header, w.header)
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
	if change, err := strconv.ParseUint(resp.Header.Get("Sluice-Change"), 10, 64); err == nil && !w.hasty {
		w.planned.await(w.t, change)
	}
	return &answer{w.t, resp.StatusCode, resp.Header, string(b)}
}

// put writes an artifact and fails the test if that is refused.
func (w *world) put(kind, name, text string) {
	w.t.Helper()
	a := w.ask("PUT", "/api/v1/"+kind+"/"+name, text)
	if a.status >= 300 {
		w.t.Fatalf("PUT %s/%s = %d %s", kind, name, a.status, a.body)
	}
}

// text returns the stored text of a gateway.
func (w *world) text(name string) string {
	w.t.Helper()
	a, err := w.store.Get(w.t.Context(), store.Key{Namespace: "default/default", Kind: "gateways", Name: name})
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
	got := a.header.Get(name)
	if _, revision, ok := strings.Cut(got, "."); ok && name == "ETag" {
		got = `"` + revision // the epoch is another one each time
	}
	if got != want {
		a.t.Errorf("%s = %q, want %q", name, got, want)
	}
	return a
}
