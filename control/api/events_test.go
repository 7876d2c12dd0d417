// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// idlePlans has one gateway, shop, with the routes a and b.
type idlePlans struct{}

func (idlePlans) Last(namespace string) (planner.Plan, bool) {
	return planner.Plan{Namespace: namespace, Table: &routing.Table{Gateways: []*routing.Gateway{
		{Name: "shop", Routes: []*routing.Route{{Path: "a"}, {Path: "b"}}},
		{Name: "team/idle"},
	}}}, namespace == store.DefaultNamespace
}
func (idlePlans) Status(string) planner.Status                      { return planner.Status{} }
func (idlePlans) Check(string, []discovery.Update) []*routing.Fault { return nil }

// noProxies knows of none.
type noProxies struct{}

func (noProxies) Proxies() []stream.Proxy                       { return nil }
func (noProxies) Deployed(string, string) stream.Deployment     { return stream.Deployment{} }
func (noProxies) Convergence(uint64) (stream.Convergence, bool) { return stream.Convergence{}, false }

func (noProxies) Wait(context.Context, uint64) (stream.Convergence, error) {
	return stream.Convergence{}, stream.ErrForgotten
}

// telling is an API over a store and a book.
type telling struct {
	t        *testing.T
	store    store.Store
	book     *book.Book
	registry *metrics.Registry
	server   *httptest.Server
	now      time.Time
}

func newTelling(t *testing.T, shape func(*api.Options)) *telling {
	t.Helper()
	b := &telling{t: t, registry: metrics.New(metrics.Options{Shards: 1}), now: time.Unix(1_700_000_000, 0)}
	var err error
	if b.store, err = store.Open(t.TempDir(), store.Options{KeepEvents: 1000}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	b.book = book.New(book.Options{Now: func() time.Time { return b.now }})
	o := api.Options{Store: b.store, Plans: idlePlans{}, Proxies: noProxies{}, Book: b.book, Registry: b.registry}
	if shape != nil {
		shape(&o)
	}
	a, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.server = httptest.NewServer(a.Handler())
	t.Cleanup(b.server.Close)
	return b
}

// ask returns status, body and head of an answer.
func (b *telling) ask(method, path, body string) (int, string, http.Header) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text)), resp.Header
}

// count has a proxy tell of requests of the gateway shop and its route a.
func (b *telling) count(ok, failed float64) {
	c := &controlpb.Counters{Start: timestamppb.New(b.now), At: timestamppb.New(b.now)}
	for code, n := range map[string]float64{"2xx": ok, "5xx": failed} {
		labels := []*controlpb.Label{{Name: "gateway", Value: "shop"}, {Name: "code", Value: code}}
		c.Series = append(c.Series,
			&controlpb.Series{Name: metrics.GatewayRequests.Name, Labels: labels, Value: n},
			&controlpb.Series{Name: metrics.Requests.Name, Labels: append(labels[:2:2], &controlpb.Label{Name: "route", Value: "a"}), Value: n})
	}
	b.book.Counters("p", func(string) string { return store.DefaultNamespace }, c)
}

func TestMetricsAndHealthAreNumbers(t *testing.T) {
	b := newTelling(t, nil)
	b.count(9, 1)
	b.now = b.now.Add(4 * time.Second)
	for _, tt := range []struct {
		path   string
		status int
		want   string
	}{
		{"/metrics/gateways/shop/rate", 200, "2.5"},
		{"/metrics/gateways/shop/routes/a/rate?window=10", 200, "2.5"},
		{"/metrics/gateways/shop/responseTime", 200, "0.0"},
		{"/metrics/gateways/shop/errorRatio?window=1m", 200, "0.1"},
		{"/metrics/gateways/shop/routes/b/rate", 200, "0.0"},
		{"/metrics/gateways/team%2Fidle/rate", 200, "0.0"},
		{"/metrics/gateways/team/idle/rate?window=x", 200, "0.0"},
		{"/metrics/gateways/none/rate", 404, ""},
		{"/metrics/gateways/shop/routes/none/rate", 404, ""},
		{"/metrics/gateways/shop/nonsense", 404, ""},
		{"/health/gateways/shop", 200, "0.0"},
		{"/health/gateways/shop/routes/a", 200, "0.0"},
		{"/health/gateways/shop/routes/b", 200, "1.0"},
		{"/health/gateways/team/idle", 200, "1.0"},
		{"/health/gateways/none", 404, ""},
	} {
		status, body, _ := b.ask(http.MethodGet, "/api/v1"+tt.path, "")
		if status != tt.status || tt.want != "" && body != tt.want {
			t.Errorf("GET %s = %d %s, want %d %s", tt.path, status, body, tt.status, tt.want)
		}
	}
	if status, _, _ := b.ask(http.MethodGet, "/acme/test/api/v1/metrics/gateways/shop/rate", ""); status != http.StatusNotFound {
		t.Errorf("another namespace answers %d", status)
	}
	b.now = b.now.Add(10 * time.Minute)
	if _, body, _ := b.ask(http.MethodGet, "/api/v1/health/gateways/shop", ""); body != "1.0" {
		t.Errorf("health after ten quiet minutes = %s", body)
	}
}

func TestFiguresOfAGateway(t *testing.T) {
	b := newTelling(t, nil)
	b.count(9, 1)
	b.book.Health("p", func(string) string { return store.DefaultNamespace }, &controlpb.Health{Changed: []*controlpb.InstanceState{
		{Gateway: "shop", Route: "a", Address: "10.0.0.1:80", State: "unhealthy", Why: "it answers 500"},
	}})
	_, body, _ := b.ask(http.MethodGet, "/api/v1/gateways/shop/figures?window=10s", "")
	var got struct {
		Gateway string
		Window  float64           `json:"window_seconds"`
		Total   int               `json:"requests_total"`
		Codes   map[string]uint64 `json:"codes"`
		Routes  []struct {
			Route string  `json:"route"`
			Ratio float64 `json:"error_ratio"`
		} `json:"routes"`
		Ill []book.Ill `json:"ill_instances"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if got.Gateway != "shop" || got.Window != 10 || got.Total != 10 || got.Codes["5xx"] != 1 || len(got.Routes) != 1 || got.Routes[0].Ratio != 0.1 ||
		len(got.Ill) != 1 || got.Ill[0].Why != "it answers 500" {
		t.Errorf("figures are %s", body)
	}
	status, body, _ := b.ask(http.MethodGet, "/api/v1/gateways/team/idle/figures", "")
	if status != http.StatusOK || !strings.Contains(body, `"routes":[]`) || !strings.Contains(body, `"ill_instances":[]`) {
		t.Errorf("figures of an idle gateway are %d %s", status, body)
	}
	if status, _, _ := b.ask(http.MethodGet, "/api/v1/gateways/none/figures", ""); status != http.StatusNotFound {
		t.Errorf("figures of no gateway are answered %d", status)
	}
}

func TestEventsAreSentAndRead(t *testing.T) {
	b := newTelling(t, nil)
	for _, tt := range []struct {
		name, body string
		status     int
		want       string // part of the answer
	}{
		{"a whole event", `{"tags": ["workflows:canary", "moved"], "value": {"to": 35, "values": 7}, "type": "canary", "timestamp": "2124-05-01T12:00:00+02:00"}`, 201, `"tags":["workflows","workflows:canary","moved"],"value":{"to":35,"values":7},"type":"canary","timestamp":"2124-05-01T10:00:00Z","version":"1.0","digest":null`},
		{"one tag", `{"tags": "a"}`, 201, `"tags":["a"],"value":null,"type":"event"`},
		{"YAML", "tags: [n]\nvalue: 4.5\n", 201, `"value":4.5`},
		{"a null timestamp", `{"tags": "n", "value": 1.5, "timestamp": null}`, 201, `"value":1.5`},
		{"no tags", `{"value": 1}`, 400, "Can't find any value for path: 'tags'"},
		{"an empty list of tags", `{"tags": []}`, 400, "No tag"},
		{"a type with a space", `{"tags": "a", "type": "a b"}`, 400, "type"},
		{"a time without a zone", `{"tags": "a", "timestamp": "2024-05-01T10:00:00"}`, 400, "ISO 8601"},
		{"no document", `{"tags": [`, 400, "no YAML or JSON"},
		{"a value too large", `{"tags": "a", "value": "` + strings.Repeat("x", store.MaxEventData) + `"}`, 413, "8192"},
		{"a tag too long", `{"tags": "` + strings.Repeat("x", 300) + `"}`, 400, "tags"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			status, body, _ := b.ask(http.MethodPost, "/api/v1/events", tt.body)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("POST = %d %.300s, want %d with %s", status, body, tt.status, tt.want)
			}
		})
	}
	b.t = t
	query := func(path, body string) string {
		t.Helper()
		status, text, _ := b.ask(http.MethodGet, "/api/v1/events"+path, body)
		if status != http.StatusOK {
			return strconv.Itoa(status) + " " + text
		}
		var list []struct{ ID uint64 }
		if json.Unmarshal([]byte(text), &list) != nil {
			return text
		}
		var ids []uint64
		for _, e := range list {
			ids = append(ids, e.ID)
		}
		return fmt.Sprint(ids)
	}
	for _, tt := range []struct{ name, path, body, want string }{
		{"all, newest first", "", "", "[4 3 2 1]"},
		{"by tag", "?tag=n", "", "[4 3]"},
		{"by tags", "?tag=workflows&tag=moved", "", "[1]"},
		{"by type", "?type=canary", "", "[1]"},
		{"by what none has", "?tag=n&type=canary", "", "[]"},
		{"a page", "?per_page=2&page=2", "", "[2 1]"},
		{"a page beyond the end", "?page=9", "", "[]"},
		{"a document", "", `{"tags": ["n"], "type": "event"}`, "[4 3]"},
		{"since", "", `{"timestamp": {"gt": "2124-01-01T00:00:00Z"}}`, "[1]"},
		{"until", "", `{"timestamp": {"lte": "2124-05-01T10:00:00Z", "gte": "2124-05-01T10:00:00Z"}}`, "[1]"},
		{"count", "", `{"tags": "n", "aggregator": {"type": "count"}}`, `{"value":2}`},
		{"sum", "", `{"tags": "n", "aggregator": {"type": "sum", "field": "value"}}`, `{"value":6}`},
		{"average", "", `{"tags": "n", "aggregator": {"type": "average"}}`, `{"value":3}`},
		{"min", "", `{"tags": "n", "aggregator": {"type": "min"}}`, `{"value":1.5}`},
		{"max of a field", "", `{"aggregator": {"type": "max", "field": "value.to"}}`, `{"value":35}`},
		{"of a field whose name begins like value", "", `{"aggregator": {"type": "max", "field": "value.values"}}`, `{"value":7}`},
		{"also where value is left out", "", `{"aggregator": {"type": "max", "field": "values"}}`, `{"value":7}`},
		{"of nothing", "", `{"tags": "none", "aggregator": {"type": "max"}}`, `{"value":0}`},
	} {
		if got := query(tt.path, tt.body); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for name, body := range map[string]string{
		"both bounds":      `{"timestamp": {"lt": "2124-01-01T00:00:00Z", "lte": "2124-01-01T00:00:00Z"}}`,
		"no bound":         `{"timestamp": {"at": "2124-01-01T00:00:00Z"}}`,
		"no time":          `{"timestamp": {"lt": "now"}}`,
		"other aggregates": `{"aggregator": {"type": "median"}}`,
	} {
		if got := query("", body); !strings.HasPrefix(got, "400 ") {
			t.Errorf("%s: %s, want 400", name, got)
		}
	}
	if _, _, head := b.ask(http.MethodGet, "/api/v1/events?per_page=3", ""); head.Get("X-Total-Count") != "4" || !strings.Contains(head.Get("Link"), "page=2") {
		t.Errorf("the head of a page has %q and %q", head.Get("X-Total-Count"), head.Get("Link"))
	}
	if _, body, _ := b.ask(http.MethodGet, "/acme/test/api/v1/events", ""); body != "[]" {
		t.Errorf("another namespace has the events %s", body)
	}
}

// reader reads a stream of events.
type reader struct {
	t    *testing.T
	body *bufio.Reader
	stop context.CancelFunc
}

// follow begins a stream, after an event unless that is empty.
func (b *telling) follow(path, after string) *reader {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.t.Context(), time.Minute)
	b.t.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL+path, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("the stream is answered %d %v", resp.StatusCode, resp.Header)
	}
	rd := &reader{b.t, bufio.NewReader(resp.Body), stop}
	if got := rd.next(); got != ":" {
		b.t.Fatalf("the stream begins with %q", got)
	}
	return rd
}

// next returns the next piece of the stream.
func (r *reader) next() string {
	r.t.Helper()
	var lines []string
	for {
		line, err := r.body.ReadString('\n')
		if err != nil {
			r.t.Fatal(err)
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return strings.Join(lines, "\n")
		}
		lines = append(lines, line)
	}
}

func (b *telling) append(tags ...string) {
	b.t.Helper()
	if _, err := b.store.AppendEvents(b.t.Context(), store.Event{Namespace: store.DefaultNamespace, Type: "event", Tags: tags, Data: "1"}); err != nil {
		b.t.Fatal(err)
	}
}

func TestStreamTellsEventsAsTheyCome(t *testing.T) {
	b := newTelling(t, nil)
	b.append("old", "wanted")
	all, some := b.follow("/api/v1/events/stream", ""), b.follow("/api/v1/events/stream?tag=wanted&type=event", "")
	b.append("new")
	b.append("new", "wanted")
	first := all.next()
	if !strings.HasPrefix(first, "id: 2\nevent: event\ndata: {\"id\":2,\"tags\":[\"new\"],\"value\":1,") {
		t.Errorf("the stream tells %q", first)
	}
	if got := some.next(); !strings.HasPrefix(got, "id: 3\n") {
		t.Errorf("the stream of what is wanted tells %q", got)
	}
	if got := b.registry.ControlEventStreams().Value(); got != 2 {
		t.Errorf("%v streams are open, want 2", got)
	}
	// Who comes back misses nothing, and gets nothing twice.
	again := b.follow("/api/v1/events/stream", "1")
	for _, want := range []string{"id: 2\n", "id: 3\n"} {
		if got := again.next(); !strings.HasPrefix(got, want) {
			t.Errorf("the stream goes on with %q, want %q", got, want)
		}
	}
	for _, r := range []*reader{all, some, again} {
		r.stop()
	}
	closed := func(n int64) {
		eventually(t, "the streams end", func() bool {
			return b.registry.ControlEventStreams().Value() == 0 && b.registry.ControlEventStreamsEnded("closed").Value() == n
		})
	}
	closed(3)
	// What is no more is left out.
	var list []store.Event
	for range 1500 {
		list = append(list, store.Event{Namespace: store.DefaultNamespace, Type: "event"})
	}
	if _, err := b.store.AppendEvents(t.Context(), list...); err != nil {
		t.Fatal(err)
	}
	late := b.follow("/api/v1/events/stream", "1")
	if got := late.next(); !strings.HasPrefix(got, "id: 504\n") {
		t.Errorf("the stream goes on with %q, want the oldest that is kept", got)
	}
	late.stop()
	closed(4)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("within a minute it is not so that %s", what)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	b := newTelling(t, func(o *api.Options) { o.MaxStreams = 1 })
	first := b.follow("/api/v1/events/stream", "")
	status, body, head := b.ask(http.MethodGet, "/api/v1/events/stream", "")
	if status != http.StatusServiceUnavailable || head.Get("Retry-After") == "" {
		t.Errorf("a second stream is answered %d %s", status, body)
	}
	if got := b.registry.ControlEventStreamsEnded("full").Value(); got != 1 {
		t.Errorf("%d streams were not begun, want 1", got)
	}
	first.stop()
	eventually(t, "there is room", func() bool { return b.registry.ControlEventStreams().Value() == 0 })
	b.follow("/api/v1/events/stream", "").stop()
}

// A reader that reads nothing is ended, whatever there is to tell, and holds up
// nobody.
func TestASlowReaderIsEnded(t *testing.T) {
	b := newTelling(t, func(o *api.Options) { o.StreamTimeout = 50 * time.Millisecond })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4096) // so that little is under way
	}
	if _, err := io.WriteString(conn, "GET /api/v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is open", func() bool { return b.registry.ControlEventStreams().Value() == 1 })
	big := store.Event{Namespace: store.DefaultNamespace, Type: "event", Data: `"` + strings.Repeat("x", store.MaxEventData-2) + `"`}
	eventually(t, "the reader is found to be slow", func() bool {
		if _, err := b.store.AppendEvents(t.Context(), slices.Repeat([]store.Event{big}, 500)...); err != nil {
			t.Fatal(err)
		}
		return b.registry.ControlEventStreamsEnded("slow").Value() == 1
	})
}

// Whatever is sent as an event or a query is answered, and not as our fault.
func FuzzEventBodies(f *testing.F) {
	f.Add(`{"tags": ["a:b"], "value": {"x": 1}, "type": "t", "timestamp": "2024-05-01T10:00:00Z"}`)
	f.Add("tags: &a [x]\nvalue: [*a, !!binary aGk=, .nan, {1: 2}]\ntimestamp: 2024-05-01\n")
	f.Add(`{"timestamp": {"gt": "2024-05-01T10:00:00Z"}, "aggregator": {"type": "max", "field": "value.a"}}`)
	s, err := store.Open(f.TempDir(), store.Options{KeepEvents: 100})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	a, err := api.New(api.Options{Store: s, Plans: idlePlans{}, Proxies: noProxies{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090})
			r := httptest.NewRequestWithContext(ctx, method, "http://127.0.0.1/api/v1/events", strings.NewReader(body))
			r.RemoteAddr = "127.0.0.1:1"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			a.Handler().ServeHTTP(w, r)
			if w.Code == http.StatusForbidden || w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %q = %d %s", method, body, w.Code, w.Body)
			}
		}
	})
}
