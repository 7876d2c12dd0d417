// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// bed is a running proxy.
type bed struct {
	t        *testing.T
	server   *proxy.Server
	registry *metrics.Registry
	snapshot *routing.Snapshot
	revision uint64
	end      func() error
}

// start runs a proxy that serves nothing yet.
func start(t *testing.T, shape func(*proxy.Options)) *bed {
	t.Helper()
	registry := metrics.New(metrics.Options{Reasons: live.Reasons()})
	o := proxy.Options{GatewayAddress: "127.0.0.1", Metrics: registry, Drain: -1, RetryBind: 10 * time.Millisecond}
	if shape != nil {
		shape(&o)
	}
	b := &bed{t: t, server: proxy.New(o), registry: registry}
	t.Cleanup(func() {
		for _, v := range registry.Values() {
			if v.Family.Name == "sluice_panics_total" && v.Value != 0 {
				t.Errorf("%v panics while serving", v.Value)
			}
		}
		b.balanced()
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Run(ctx) }()
	b.end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := b.end(); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return b
}

// balanced holds, once the proxy has ended, that all that began at a gateway
// ended there, and that the connections know of as many exchanges.
func (b *bed) balanced() {
	b.t.Helper()
	ended := int64(0)
	for _, g := range b.registry.Gateways() {
		var now metrics.Totals
		g.Read(&now)
		for _, n := range now.Requests {
			ended += int64(n)
		}
		if now.InFlight != 0 {
			b.t.Errorf("gateway %s: %d exchanges have no end", g.Name(), int64(now.InFlight))
		}
	}
	if over := b.registry.Books().Total(); over != ended || b.registry.Unaccounted() != 0 {
		b.t.Errorf("connections carried %d exchanges, gateways counted %d; %d are unaccounted", over, ended, b.registry.Unaccounted())
	}
}

// apply makes the proxy serve a text of gateways.
func (b *bed) apply(text string) {
	b.t.Helper()
	b.applyTo(text, nil)
}

// applyTo makes the proxy serve a text of gateways, whose first route leads to
// instances if there are some.
func (b *bed) applyTo(text string, addresses []string) {
	b.t.Helper()
	docs, faults := routing.Read("test.yaml", []byte(text))
	table, more := routing.Resolve(docs)
	if len(addresses) > 0 {
		table.Gateways[0].Routes[0].Instances = instancesAt(addresses...)
	}
	b.revision++
	table.Version = routing.Version{Epoch: 1, Revision: b.revision}
	snapshot, last := routing.Compile(b.snapshot, table, routing.CompileOptions{Seed: 1})
	for _, f := range slices.Concat(faults, more, last) {
		if f.Severity == routing.Refused {
			b.t.Fatalf("fault: %v", f)
		}
	}
	b.snapshot = snapshot
	b.server.Publish(snapshot)
}

// listen opens a listener that ends with the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// dial opens a connection to the host of a URL. It ends with the test, and
// nothing on it waits for longer than a minute.
func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	return nc
}

// request makes a request that ends with the test.
func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// origin starts an HTTP server and returns its address.
func origin(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// named answers every request with a name.
func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }
}

// client returns an HTTP client whose connections end with the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, c *http.Client, url string) answer {
	t.Helper()
	r, err := c.Do(request(t, http.MethodGet, url, http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{r.StatusCode, r.Header, string(body)}
}

func TestSplit(t *testing.T) {
	a, b := origin(t, named("a")), origin(t, named("b"))
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf("name: g\nport: %d\nroutes:\n  \"[%s]\": {weight: 90%%}\n  \"[%s]\": {weight: 10%%}\n", p, a, b))
	counts := map[string]int{}
	c := client(t)
	for range 1000 {
		counts[get(t, c, fmt.Sprintf("http://127.0.0.1:%d/", p)).body]++
	}
	if counts["a"] != 900 || counts["b"] != 100 {
		t.Errorf("counts = %v, want 900 of a and 100 of b", counts)
	}
}

// relay starts a proxy with one gateway that leads to h and returns the
// gateway's base URL.
func relay(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	return through(t, origin(t, h), nil)
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Framing", strconv.FormatInt(r.ContentLength, 10))
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body)
}

func TestBodies(t *testing.T) {
	url := relay(t, echo)
	c := client(t)
	for _, size := range []int{0, 1, 100, 4 << 10, 16 << 10, 16<<10 + 1, 100 << 10, 3 << 20} {
		payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, chunked %v", size, chunked), func(t *testing.T) {
				var body io.Reader = bytes.NewReader(payload)
				if chunked {
					body = struct{ io.Reader }{body}
				}
				for range 3 { // over the same connection
					r, err := c.Do(request(t, http.MethodPost, url, body))
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(r.Body)
					_ = r.Body.Close()
					if err != nil || !bytes.Equal(got, payload) {
						t.Fatalf("got %d bytes, %v; want the %d that were sent", len(got), err, len(payload))
					}
					body = bytes.NewReader(payload)
					if chunked {
						body = struct{ io.Reader }{body}
					}
				}
			})
		}
	}
}

func TestForwardedFields(t *testing.T) {
	got := make(chan http.Header, 1)
	url := relay(t, func(_ http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		got <- h
	})
	req := request(t, http.MethodGet, url+"/a?b=c", http.NoBody)
	req.Host = "shop.example"
	for k, v := range map[string]string{
		"X-Forwarded-For": "1.2.3.4", "X_Forwarded_For": "1.2.3.4", "Forwarded": "for=1.2.3.4", "Proxy": "evil",
		"X-Request-Id": "mine", "Connection": "X-Named", "X-Named": "1", "Keep-Alive": "1", "X-Kept": "yes", "Sluice-Route": "x",
	} {
		req.Header.Set(k, v)
	}
	r, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	h := <-got
	for name, want := range map[string]string{
		"Host": "shop.example", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example",
		"X-Forwarded-Port": url[strings.LastIndex(url, ":")+1:], "X-Kept": "yes",
	} {
		if v := h.Values(name); len(v) != 1 || v[0] != want {
			t.Errorf("%s = %q, want %q", name, v, want)
		}
	}
	for _, name := range []string{"X_Forwarded_For", "Forwarded", "Proxy", "X-Named", "Keep-Alive", "Connection", "Sluice-Route"} {
		if v := h.Values(name); len(v) != 0 {
			t.Errorf("%s = %q, want it dropped", name, v)
		}
	}
	if id := h.Get("X-Request-Id"); len(id) != 36 || id[14] != '7' {
		t.Errorf("X-Request-Id = %q, want a UUID version 7 of ours", id)
	}
}

func TestFailures(t *testing.T) {
	dead := freeport.One(t)
	for _, tt := range []struct {
		name, routes string
		status       int
		reason       string
	}{
		{"an instance that refuses is a 502", fmt.Sprintf(`{"[127.0.0.1:%d]": {}}`, dead), 502, "connect_refused"},
		{"a gateway without routes is a 503", `{}`, 503, "no_route"},
		{"a route to a gateway that does not exist is a 503", `{other: {}}`, 503, "no_ready_instance"},
		{"all weights 0 is a 503", fmt.Sprintf(`{"[127.0.0.1:%d]": {weight: 0%%}}`, dead), 503, "no_route"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, nil)
			bed.apply(fmt.Sprintf("name: g\nport: %d\nroutes: %s\n", p, tt.routes))
			got := get(t, client(t), fmt.Sprintf("http://127.0.0.1:%d/", p))
			if reason := got.header.Get("Sluice-Reason"); got.status != tt.status || reason != tt.reason {
				t.Errorf("status %d, reason %q; want %d, %q", got.status, reason, tt.status, tt.reason)
			}
			if !strings.HasPrefix(got.body, tt.reason+": ") {
				t.Errorf("body = %q, want it to begin with the reason", got.body)
			}
		})
	}
}

// raw sends bytes over a fresh connection and returns all that comes back.
func raw(t *testing.T, url, request string) string {
	t.Helper()
	nc := dial(t, url)
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Logf("read: %v", err)
	}
	return string(b)
}

func TestRefusals(t *testing.T) {
	var reached atomic.Int32
	url := relay(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
		{"length and chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400},
		{"a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400},
		{"another coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"a bare line feed", "GET / HTTP/1.1\nHost: a\n\n", 400},
		{"a bare line feed between fields", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400},
		{"a folded value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400},
		{"a blank before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"a blank inside a name", "GET / HTTP/1.1\r\nHost: a\r\nX A: y\r\n\r\n", 400},
		{"a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400},
		{"no host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", 400},
		{"no fields at all", "GET / HTTP/1.0\r\n\r\n", 400},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		{"user information in the host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
		{"a port that is none", "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400},
		{"two user agents", "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nUser-Agent: y\r\n\r\n", 400},
		{"HTTP/2.0 in text", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"what begins like HTTP/2 and is not", "PRI * HTTP/2.0\r\nHost: a\r\n\r\n", 400},
		{"what ends unlike HTTP/2", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 400},
		{"HTTP/0.9", "GET /\r\n\r\n", 400},
		{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405},
		{"an asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a foreign scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a target without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"a long target", "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"a long target that never ends", "GET /" + strings.Repeat("a", 40<<10), 414},
		{"large fields", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 33<<10) + "\r\n\r\n", 431},
		{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 201) + "\r\n", 431},
		{"a chunk size with a sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n", 400},
		{"a chunk size with 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n", 400},
		{"a chunk that is too long", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", 400},
		{"a bare line feed after a chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400},
		{"a trailer that frames", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reached.Store(0)
			got := raw(t, url, tt.request+"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
			if want := fmt.Sprintf("HTTP/1.1 %d ", tt.status); !strings.HasPrefix(got, want) {
				t.Errorf("got %.60q, want %q", got, want)
			}
			if n := strings.Count(got, "\r\nDate: "); n != 1 {
				t.Errorf("%d answers, want 1: %q", n, got)
			}
			if reached.Load() != 0 {
				t.Error("a refused request reached the origin")
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	url := relay(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "<%s %s %s>", r.Method, r.Host, r.RequestURI)
	})
	host := strings.TrimPrefix(url, "http://")
	for _, tt := range []struct{ name, request, want string }{
		{"HTTP/1.0 closes", "GET /a HTTP/1.0\r\nHost: x\r\n\r\n", "<GET x /a>"},
		{"HTTP/1.0 may keep the connection", "GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\nHost: x\r\n\r\n", "<GET x /b>"},
		{"stray line ends are skipped", "\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "<GET x /a>"},
		{"absolute form rules over Host", "GET http://" + host + "/b?c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "<GET " + host + " /b?c>"},
		{"absolute form without a path", "GET http://" + host + "?c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "<GET " + host + " /?c>"},
		{"the target is not touched", "GET //a/../b/%2e?x=%20&? HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "<GET x //a/../b/%2e?x=%20&?>"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"},
		{"a half-closed client is answered", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "<GET x /a>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := raw(t, url, tt.request); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestPipelining(t *testing.T) {
	url := relay(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s=%s;", r.URL.Path, b)
	})
	var all strings.Builder
	for i := range 20 {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		case 1:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", i)
		default:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T: v\r\n\r\n", i)
		}
	}
	all.WriteString("GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	got := raw(t, url, all.String())
	from := 0
	for i := range 20 {
		want := fmt.Sprintf("/%d=", i)
		if i%3 != 0 {
			want += "abc"
		}
		at := strings.Index(got[from:], want+";")
		if at < 0 {
			t.Fatalf("answer %d is missing or out of order in %q", i, got)
		}
		from += at
	}
}

func TestExpectContinue(t *testing.T) {
	url := relay(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	nc := dial(t, url)
	br := bufio.NewReader(nc)
	_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	line, err := br.ReadString('\n')
	if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v; want the origin's 100", line, err)
	}
	_, _ = br.ReadString('\n')
	_, _ = io.WriteString(nc, "hello")
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(r.Body); string(b) != "hello" {
		t.Errorf("body = %q, want hello", b)
	}
	_ = r.Body.Close()
	// A refusal comes through without the body having been sent.
	_, _ = io.WriteString(nc, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	r, err = http.ReadResponse(br, nil)
	if err != nil || r.StatusCode != http.StatusExpectationFailed {
		t.Fatalf("got %v, %v; want 417", r, err)
	}
	_ = r.Body.Close()
}

// What holds beside the defaults is told, by gateway and route.
func TestStatusTellsOfLimitsAndTimeouts(t *testing.T) {
	b := start(t, nil)
	ports, err := freeport.Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	b.apply(fmt.Sprintf("name: shop\nport: %d\nsluice: {limits: {body: 1MB}, timeouts: {head: 5s}}\n"+
		"routes:\n  \"[127.0.0.1:1]\": {weight: 50%%, sluice: {timeouts: {total: 9s}, limits: {requests: 7}}}\n  \"[127.0.0.1:2]\": {weight: 50%%}\n", ports[0]))
	text, err := json.Marshal(b.server.Status())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"limits":{"body":"1MB"},"timeouts":{"head":"5s"},"routes":[`,
		`"limits":{"body":"1MB"},"timeouts":{"total":"9s"},"load":["at most 7 requests at a time on the route`,
		`"balance":"roundrobin","instances":["127.0.0.1:2"],"limits":{"body":"1MB"}}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}
