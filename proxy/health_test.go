// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// The moods of an origin.
const (
	well   int32 = iota
	sick         // checks are answered 500
	busy         // requests are answered 503
	resets       // requests are not answered
	pauses       // requests are answered once the origin is well again
)

// moody is an origin of changing moods; each answer is its name.
type moody struct {
	*httptest.Server

	name   string
	mood   atomic.Int32
	served atomic.Int64 // requests, not checks
	open   atomic.Int64 // connections
	begun  chan struct{}
	better chan struct{}
}

func newMoody(t *testing.T, name string) *moody {
	t.Helper()
	m := &moody{name: name, begun: make(chan struct{}, 1000), better: make(chan struct{})}
	m.Server = httptest.NewUnstartedServer(m)
	m.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			m.open.Add(1)
		case http.StateClosed:
			m.open.Add(-1)
		default:
		}
	}
	m.Start()
	t.Cleanup(m.Close)
	return m
}

func (m *moody) addr() string { return strings.TrimPrefix(m.URL, "http://") }

// ServeHTTP implements http.Handler.
func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mood := m.mood.Load()
	if r.URL.Path == "/up" {
		if mood == sick {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return
	}
	m.served.Add(1)
	m.begun <- struct{}{}
	switch mood {
	case busy:
		w.WriteHeader(http.StatusServiceUnavailable)
	case resets:
		panic(http.ErrAbortHandler)
	case pauses:
		select {
		case <-m.better:
		case <-r.Context().Done():
		}
	}
	_, _ = io.WriteString(w, m.name)
}

// quick is a check by HTTP that need not be waited for.
func quick() routing.Part[routing.Health] {
	h := routing.DefaultHealth(routing.HealthHTTP)
	h.Path, h.Every = "/up", 20*time.Millisecond
	return routing.PartOf(h)
}

// lead has the gateway of a port lead to some routes.
func (b *bed) lead(port int, shape func(*routing.Gateway), routes ...*routing.Route) {
	b.t.Helper()
	g := routingtest.Gateway("g", port, routes...)
	if shape != nil {
		shape(g)
	}
	b.revision++
	snapshot, faults := routing.Compile(b.snapshot, routingtest.Table(b.revision, g), routing.CompileOptions{})
	if len(faults) > 0 {
		b.t.Fatal(faults)
	}
	b.snapshot = snapshot
	b.server.Publish(snapshot)
}

// route is a route of a weight to instances.
func route(path string, weight routing.Weight, addrs ...string) *routing.Route {
	r := routingtest.Route(path, weight)
	r.Instances = instancesAt(addrs...)
	return r
}

// states tells how the instances of a route stand, such as "healthy ejected".
func (b *bed) states(route int) string {
	var all []string
	for _, s := range b.server.Status()[0].Routes[route].Health {
		all = append(all, s.State)
	}
	return strings.Join(all, " ")
}

// tell counts the answers to n requests, by status and content.
func (b *bed) tell(port, n int) map[string]int {
	b.t.Helper()
	got := make(map[string]int)
	for range n {
		resp, err := http.DefaultClient.Do(request(b.t, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), http.NoBody))
		if err != nil {
			b.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			text = []byte(strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Sluice-Reason"))))
		}
		got[string(text)]++
	}
	return got
}

func (b *bed) expect(port int, want map[string]int) {
	b.t.Helper()
	n := 0
	for _, each := range want {
		n += each
	}
	if got := b.tell(port, n); fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("answers %v, want %v", got, want)
	}
}

// bothHealthy is how two instances stand.
const bothHealthy = "healthy" + " healthy"

func TestUnhealthyInstancesGetNothing(t *testing.T) {
	one, two := newMoody(t, "one"), newMoody(t, "two")
	b, p := start(t, nil), freeport.One(t)
	r := route("r", routing.FullWeight, one.addr(), two.addr())
	r.Health = quick()
	b.lead(p, nil, r)
	eventually(t, "both are healthy", func() bool { return b.states(0) == bothHealthy })
	b.expect(p, map[string]int{"one": 10, "two": 10})
	one.mood.Store(sick)
	eventually(t, "one is unhealthy", func() bool { return b.states(0) == "unhealthy healthy" })
	b.expect(p, map[string]int{"two": 20})

	if got, want := b.server.InstanceStates("g", "r"), b.server.Status()[0].Routes[0].Health; !slices.Equal(got, want) {
		t.Errorf("InstanceStates = %+v, want %+v as in Status", got, want)
	}
	for gateway, route := range map[string]string{"g": "none", "none": "r"} {
		if got := b.server.InstanceStates(gateway, route); got != nil {
			t.Errorf("InstanceStates(%q, %q) = %+v, want none", gateway, route, got)
		}
	}
	if s := b.server.Status()[0].Routes[0].Health[0]; s.Why != "it answers 500" || s.Since.IsZero() || s.Address != one.addr() {
		t.Errorf("the status tells %+v", s)
	}
	told := b.registry.Gateway("g").Route("r").ReadInstances()
	if told.Checks[0] < 2 || told.Checks[1] < uint64(r.Health.Value().Fall) {
		t.Errorf("the metrics tell of %d checks that passed and %d that failed", told.Checks[0], told.Checks[1])
	}
	told.Checks = [2]uint64{}
	if want := (metrics.Instances{Watched: true, States: [...]int{1, 1, 0, 0}, Checked: true}); told != want {
		t.Errorf("the metrics tell %+v, want %+v", told, want)
	}
	e, err := b.server.Explain(routing.ExplainRequest{Method: "GET", URL: fmt.Sprintf("http://127.0.0.1:%d/", p)})
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(strings.Fields(e.Format()), " "); !strings.Contains(text, one.addr()+" is unhealthy since ") || !strings.Contains(text, ": it answers 500.") {
		t.Errorf("the explanation does not tell of it:\n%s", e.Format())
	}
	if text := e.Format(); !strings.Contains(text, "\nIt goes to "+two.addr()+".\n") {
		t.Errorf("the explanation leads to what gets nothing:\n%s", text)
	}

	one.mood.Store(well)
	eventually(t, "it is back", func() bool { return b.states(0) == bothHealthy })
	b.expect(p, map[string]int{"one": 10, "two": 10})
}

func TestFailingInstancesAreEjected(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mood  int32
		shape func(*routing.Ejection)
		most  int // failures that clients may see
	}{
		{"by connections that end before the answer", resets, nil, 5},
		{"by statuses that were named", busy, func(e *routing.Ejection) { e.Statuses[503/64] |= 1 << (503 % 64) }, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one, two := newMoody(t, "one"), newMoody(t, "two")
			b, p := start(t, nil), freeport.One(t)
			r := route("r", routing.FullWeight, one.addr(), two.addr())
			e := routing.DefaultEjection()
			if tt.shape != nil {
				tt.shape(&e)
			}
			r.Ejection = routing.PartOf(e)
			b.lead(p, nil, r)
			one.mood.Store(tt.mood)
			got := b.tell(p, 10)
			if failed := 10 - got["two"]; failed > tt.most {
				t.Errorf("%d of 10 requests failed: %v", failed, got)
			}
			eventually(t, "it is ejected", func() bool {
				b.tell(p, 1)
				return b.states(0) == "ejected unknown"
			})
			before := one.served.Load()
			b.expect(p, map[string]int{"two": 30})
			if n := one.served.Load() - before; n != 0 {
				t.Errorf("%d requests went to the ejected instance", n)
			}
		})
	}
}

// Answers that nobody named are none of the proxy's business.
func TestAnswersOfAnyStatusEjectNobody(t *testing.T) {
	one, two := newMoody(t, "one"), newMoody(t, "two")
	b, p := start(t, nil), freeport.One(t)
	b.lead(p, nil, route("r", routing.FullWeight, one.addr(), two.addr()))
	one.mood.Store(busy)
	b.expect(p, map[string]int{"503": 20, "two": 20})
}

func TestRoutesThatFailGiveTheirShareAway(t *testing.T) {
	one, two := newMoody(t, "one"), newMoody(t, "two")
	for _, tt := range []struct {
		mode routing.UnavailableMode
		want map[string]int
	}{
		{routing.UnavailableRedistribute, map[string]int{"two": 20}},
		{routing.UnavailableError, map[string]int{"one": 10, "two": 10}}, // all that there is
	} {
		b, p := start(t, nil), freeport.One(t)
		lead := func() {
			a, c := route("a", 5000, one.addr()), route("c", 5000, two.addr())
			b.lead(p, func(g *routing.Gateway) { g.Unavailable, g.Health = tt.mode, quick() }, a, c)
		}
		lead()
		one.mood.Store(sick)
		panics := func() (a, c bool) {
			st := b.server.Status()[0].Routes
			return st[0].Panic, st[1].Panic
		}
		eventually(t, "one fails", func() bool { a, c := panics(); return a && !c && b.states(1) == "healthy" })
		b.expect(p, tt.want)
		two.mood.Store(sick)
		eventually(t, "the other one fails, too", func() bool { a, c := panics(); return a && c })
		b.expect(p, map[string]int{"one": 10, "two": 10})
		one.mood.Store(well)
		two.mood.Store(well)
	}
}

func TestStickyClientsLeaveUnhealthyInstances(t *testing.T) {
	one, two := newMoody(t, "one"), newMoody(t, "two")
	b, p := start(t, nil), freeport.One(t)
	r := route("r", routing.FullWeight, one.addr(), two.addr())
	r.Health = quick()
	b.lead(p, func(g *routing.Gateway) { g.Sticky = "instance" }, r)
	var cookies []*http.Cookie
	ask := func() (served string) {
		req := request(t, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", p), http.NoBody)
		for _, c := range cookies {
			req.AddCookie(c)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		for _, set := range resp.Cookies() {
			cookies = slices.DeleteFunc(cookies, func(c *http.Cookie) bool { return c.Name == set.Name })
			cookies = append(cookies, set)
		}
		return string(text)
	}
	home := map[string]*moody{"one": one, "two": two}[ask()]
	for range 5 {
		if got := ask(); got != home.name {
			t.Fatalf("a client of %s is served by %s", home.name, got)
		}
	}
	home.mood.Store(sick)
	eventually(t, "it is unhealthy", func() bool { return strings.Contains(b.states(0), "unhealthy") })
	away := ask()
	if away == home.name || away == "" {
		t.Errorf("a client of an unhealthy instance is served by %q", away)
	}
	home.mood.Store(well)
	eventually(t, "it is back", func() bool { return b.states(0) == bothHealthy })
	if got := ask(); got != away {
		t.Errorf("the client is served by %s, want it to stay where it went", got)
	}
}

func TestInstancesOfTCPAreEjected(t *testing.T) {
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(nc, "hello")
			_ = nc.Close()
		}
	}()
	b, p := start(t, nil), freeport.One(t)
	// Nobody listens on port 1, and no test is given it.
	r := route("r", routing.FullWeight, "127.0.0.1:1", ln.Addr().String())
	r.Balance = "roundrobin"
	b.lead(p, func(g *routing.Gateway) { g.Port.Type = routing.TCP }, r)
	for range 10 {
		nc := dial(t, fmt.Sprintf("127.0.0.1:%d", p))
		if text, err := io.ReadAll(nc); string(text) != "hello" {
			t.Fatalf("read %q, %v", text, err)
		}
	}
	eventually(t, "it is ejected", func() bool { return b.states(0) == "ejected unknown" })
	told := b.registry.Gateway("g").Route("r").ReadInstances()
	if want := [...]uint64{0, 1, 0}; told.Ejections != want {
		t.Errorf("ejections %v, want %v", told.Ejections, want)
	}
}

func TestWhatIsGoneFinishes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		gone  func(r *routing.Route) // of the first instance
		limit time.Duration
		want  string
	}{
		{"an instance that is removed", func(r *routing.Route) { r.Instances = r.Instances[1:] }, time.Hour, "200 one"},
		{"an instance that is not ready", func(r *routing.Route) {
			unready := *r.Instances[0]
			unready.Ready = false
			r.Instances[0] = &unready
		}, time.Hour, "200 one"},
		{"what takes too long is cut", func(r *routing.Route) { r.Instances = r.Instances[1:] }, 100 * time.Millisecond, "504 response_timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one, two := newMoody(t, "one"), newMoody(t, "two")
			b, p := start(t, func(o *proxy.Options) { o.HardStop = tt.limit }), freeport.One(t)
			lead := func(shape func(*routing.Route)) {
				r := route("r", routing.FullWeight, one.addr(), two.addr())
				r.Balance = "first"
				if shape != nil {
					shape(r)
				}
				b.lead(p, nil, r)
			}
			lead(nil)
			b.expect(p, map[string]int{"one": 3})
			one.mood.Store(pauses)
			answer := make(chan string, 1)
			go func() {
				resp, err := http.DefaultClient.Do(request(t, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/", p), http.NoBody))
				if err != nil {
					answer <- err.Error()
					return
				}
				defer resp.Body.Close()
				text, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != http.StatusOK {
					text = []byte(resp.Header.Get("Sluice-Reason"))
				}
				answer <- fmt.Sprint(resp.StatusCode, " ", string(text))
			}()
			for range 4 { // the three before, and this one
				<-one.begun
			}
			lead(tt.gone)
			b.expect(p, map[string]int{"two": 10})
			if tt.limit == time.Hour {
				close(one.better)
			}
			if got := <-answer; got != tt.want {
				t.Errorf("what was under way: %s, want %s", got, tt.want)
			}
			if n := one.served.Load(); n != 4 {
				t.Errorf("%d requests went there, want the 4 of before", n)
			}
			eventually(t, "its connections are closed", func() bool { return one.open.Load() == 0 })
		})
	}
}
