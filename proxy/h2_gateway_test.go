// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// speaksH2 makes a client speak HTTP/2 and nothing else.
func speaksH2(c *http.Client) *http.Client {
	tr := c.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP2(true)
	tr.Protocols.SetUnencryptedHTTP2(true)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// clientH2 returns a client that speaks HTTP/2 in plain text.
func clientH2(t *testing.T) *http.Client {
	t.Helper()
	return speaksH2(client(t))
}

// opened returns how many connections of a kind are counted as open.
func (b *bed) opened(kind string) int {
	for _, v := range b.registry.Values() {
		if v.Family.Name == metrics.ConnectionsOpen.Name && v.Labels[0].Value == kind {
			return int(v.Value)
		}
	}
	return 0
}

func TestWeightsAreExactOverStreams(t *testing.T) {
	t.Parallel()
	const n, workers = 1000, 8
	a, b := origin(t, named("a")), origin(t, named("b"))
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf("name: g\nport: %d\nroutes:\n  \"[%s]\": {weight: 90%%}\n  \"[%s]\": {weight: 10%%}\n", p, a, b))
	c := clientH2(t)
	var mu sync.Mutex
	var all sync.WaitGroup
	counts := map[string]int{}
	for range workers {
		all.Go(func() {
			for range n / workers {
				got := get(t, c, local(p))
				mu.Lock()
				counts[got.body]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if counts["a"] != 900 || counts["b"] != 100 {
		t.Errorf("counts = %v, want 900 of a and 100 of b", counts)
	}
	// All streams share a connection, which counts once. The client may have
	// begun others before it knew, and closes them.
	eventually(t, "one connection of a client is open, of HTTP/2", func() bool {
		return bed.opened("client") == 1 && bed.opened("h2") == 1 && bed.server.Connections() == 1
	})
	c.CloseIdleConnections()
	eventually(t, "no connection is open", func() bool {
		return bed.server.Connections() == 0 && bed.opened("client") == 0 && bed.opened("h2") == 0
	})
}

func TestStreamsAreDecidedLikeRequests(t *testing.T) {
	t.Parallel()
	seen := func(name string) string {
		return origin(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Instance", name)
			_ = r.Header.WriteSubset(w, nil)
			_, _ = fmt.Fprintf(w, "Host: %s\r\nTarget: %s\r\n", r.Host, r.URL.RequestURI())
		})
	}
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`
name: g
port: %d
routes:
  "[%s]": {weight: 100%%, rewrites: []}
  "[%s]": {weight: 0%%, condition: "header X-Tier has gold"}
  "[%s]": {weight: 0%%, condition: "path starts with /api/", sluice: {headers: {request: {set: {X-Set: "yes"}}, response: {set: {X-Answer: "set"}}}}}
  away: {weight: 0%%, condition: path == /away, sluice: {redirect: {to: https://b.example/}}}
  "[127.0.0.1:%d]": {weight: 0%%, condition: path == /dead}
---
name: v
virtual_hosts: [v.example]
routes: {"[%s]": {}}
`, p, seen("weights"), seen("gold"), seen("api"), freeport.One(t), seen("virtual")))
	c := clientH2(t)
	for _, tt := range []struct {
		name, method, url, host string
		fields                  [2]string
		status                  int
		instance                string
		shows                   []string
	}{
		{"by weight", "GET", local(p) + "/a?b=c", "shop.example", [2]string{"X-A", "b"}, 200, "weights", []string{
			"Host: shop.example\r\n", "Target: /a?b=c\r\n", "X-A: b\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n",
			fmt.Sprintf("X-Forwarded-Port: %d\r\n", p), "X-Forwarded-Host: shop.example\r\n", "X-Request-Id: ",
		}},
		{"what only we may say is dropped", "GET", local(p), "", [2]string{"X-Forwarded-For", "1.2.3.4"}, 200, "weights", []string{"X-Forwarded-For: 127.0.0.1\r\n"}},
		{"by a field", "GET", local(p), "", [2]string{"X-Tier", "gold"}, 200, "gold", nil},
		{"by a path, with fields set", "GET", local(p) + "/api/x", "", [2]string{}, 200, "api", []string{"X-Set: yes\r\n"}},
		{"a redirect", "GET", local(p) + "/away", "", [2]string{}, 302, "", nil},
		{"an instance that is not there", "GET", local(p) + "/dead", "", [2]string{}, 502, "", []string{"connect_refused: "}},
		{"a virtual host", "GET", local(s.plain), "v.example", [2]string{}, 200, "virtual", nil},
		{"a host that nobody has", "GET", local(s.plain), "x.example", [2]string{}, 503, "", []string{"no_gateway: "}},
		{"a method that is not forwarded", "CONNECT", local(p), "", [2]string{}, 405, "", []string{"method_not_allowed: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request(t, tt.method, tt.url, http.NoBody)
			r.Host = tt.host
			if tt.fields[0] != "" {
				r.Header.Set(tt.fields[0], tt.fields[1])
			}
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 2 {
				t.Fatalf("%s, %v", resp.Proto, err)
			}
			if resp.StatusCode != tt.status || resp.Header.Get("X-Instance") != tt.instance {
				t.Errorf("%d by %q, want %d by %q: %s", resp.StatusCode, resp.Header.Get("X-Instance"), tt.status, tt.instance, body)
			}
			for _, text := range tt.shows {
				if !strings.Contains(string(body), text) {
					t.Errorf("%q is not in\n%s", text, body)
				}
			}
			if reason := resp.Header.Get("Sluice-Reason"); tt.status > 400 && !strings.HasPrefix(string(body), reason+": ") {
				t.Errorf("Sluice-Reason %q of\n%s", reason, body)
			}
		})
	}
}

func TestStreamsSticktoTheirRoute(t *testing.T) {
	t.Parallel()
	a, b := origin(t, cookieEcho("a")), origin(t, cookieEcho("b"))
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf("name: g\nport: %d\nsticky: route\nroutes:\n  \"[%s]\": {weight: 50%%}\n  \"[%s]\": {weight: 50%%}\n", p, a, b))
	c := clientH2(t)
	counts := map[string]int{}
	for range 10 {
		user := &http.Client{Transport: c.Transport, Jar: browser(t).Jar}
		first := get(t, user, local(p))
		counts[first.body]++
		if len(first.header.Values("Set-Cookie")) != 1 || first.header.Get("Cache-Control") != "private" {
			t.Fatalf("a new user gets %v", first.header)
		}
		for range 3 {
			if got := get(t, user, local(p)); got.body != first.body || len(got.header.Values("Set-Cookie")) != 0 {
				t.Fatalf("%q with cookies %q, want %q and none", got.body, got.header.Values("Set-Cookie"), first.body)
			}
		}
	}
	if counts["a|"] != 5 || counts["b|"] != 5 {
		t.Errorf("new users are spread %v, want 5 each", counts)
	}
}

func TestLimitsHoldForStreams(t *testing.T) {
	t.Parallel()
	t.Run("a rate", func(t *testing.T) {
		t.Parallel()
		_, url := bounded(t, origin(t, named("a")), "limits: {rate: {requests: 2, per: 1h}}")
		c := clientH2(t)
		for i := range 4 {
			status, reason, head := answerOf(t, c, url)
			switch {
			case i < 2 && status != http.StatusOK:
				t.Errorf("request %d: %d %s", i, status, reason)
			case i >= 2 && (status != http.StatusTooManyRequests || reason != "rate_limited" || head.Get("RateLimit-Policy") == "" || head.Get("Retry-After") == ""):
				t.Errorf("request %d: %d %v", i, status, head)
			}
		}
	})
	t.Run("a queue", func(t *testing.T) {
		t.Parallel()
		g := newGated(t)
		b, url := bounded(t, g.address, "limits: {requests: 1, queue: 1, queue_time: 1m}")
		c := clientH2(t)
		first := asks(t, c, url+"/1")
		<-g.came
		ctx, giveUp := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/2", http.NoBody)
			resp, err := c.Do(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			left <- err
		}()
		eventually(t, "the second waits", func() bool { return b.load().Queued == 1 })
		wantAnswer(t, "the third", asks(t, c, url+"/3"), "503 overloaded")
		giveUp()
		if err := <-left; err == nil {
			t.Error("who left was answered")
		}
		eventually(t, "who left waits no longer", func() bool { return b.load().Queued == 0 })
		fourth := asks(t, c, url+"/4")
		eventually(t, "the fourth waits", func() bool { return b.load().Queued == 1 })
		close(g.let)
		wantAnswer(t, "the first", first, "200")
		wantAnswer(t, "the fourth", fourth, "200")
		eventually(t, "who left is counted", func() bool { return b.failures(live.RequestAborted) == 1 })
	})
}

func TestStreamsThatAskAreExplained(t *testing.T) {
	t.Parallel()
	a := origin(t, named("a"))
	p := freeport.One(t)
	bed := start(t, asking(t))
	bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {}}}`, p, a))
	_, _, head := answerOf(t, clientH2(t), local(p), "X-Explain", secret)
	line := "g>[" + a + "] via weights weights=0; " + a
	if got := head.Get("Sluice-Explain"); got != line {
		t.Errorf("Sluice-Explain: %q, want %q", got, line)
	}
	checkTold(t, head, line)
}

// frames is a client that sends and reads frames of HTTP/2 itself.
type frames struct {
	*http2.Framer

	t  *testing.T
	nc net.Conn
}

// framesOn begins HTTP/2 on a connection.
func framesOn(t *testing.T, nc net.Conn) *frames {
	t.Helper()
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := &frames{http2.NewFramer(nc, bufio.NewReader(nc)), t, nc}
	// Answers are read to their end, and never so long.
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteWindowUpdate(0, 16<<20); err != nil {
		t.Fatal(err)
	}
	return f
}

// until reads frames until one is as wanted.
func (f *frames) until(what string, wanted func(http2.Frame) bool) {
	f.t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.t.Fatalf("%s: %v", what, err)
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			_ = f.WriteSettingsAck()
		}
		if p, ok := frame.(*http2.PingFrame); ok && !p.IsAck() {
			_ = f.WritePing(true, p.Data)
		}
		if wanted(frame) {
			return
		}
	}
}

// get asks for something in a stream. The fields are those of HPACK's static
// table: GET, http, and / or /index.html.
func (f *frames) get(id uint32, authority string) {
	f.t.Helper()
	block := append([]byte{0x82, 0x84, 0x86, 0x41, byte(len(authority))}, authority...)
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true}); err != nil {
		f.t.Fatal(err)
	}
}

// answered waits until the stream has ended.
func (f *frames) answered(id uint32) {
	f.t.Helper()
	f.until("an answer", func(frame http2.Frame) bool {
		h := frame.Header()
		return h.StreamID == id && h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders)
	})
}

func TestThePrefaceMayComeInPieces(t *testing.T) {
	t.Parallel()
	url := relay(t, named("a"))
	for _, size := range []int{1, 3, 10, 23, 24} {
		nc := dial(t, url)
		_ = nc.(*net.TCPConn).SetNoDelay(true)
		for text := http2.ClientPreface; text != ""; {
			n := min(size, len(text))
			if _, err := io.WriteString(nc, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
		f := &frames{http2.NewFramer(nc, nc), t, nc}
		_ = f.WriteSettings()
		for id := uint32(1); id < 6; id += 2 {
			f.get(id, "a")
			f.answered(id)
		}
	}
}

func TestHTTP2BeginsAConnectionOrNot(t *testing.T) {
	t.Parallel()
	nc := dial(t, relay(t, named("a")))
	if status, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: a"); status != http.StatusOK || body != "a" {
		t.Fatalf("%d %q", status, body)
	}
	_, _ = io.WriteString(nc, http2.ClientPreface)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the preface behind a request is answered %d, want 400", resp.StatusCode)
	}
}

func TestGatewaysThatDoNotSpeakHTTP2(t *testing.T) {
	t.Parallel()
	a := origin(t, named("a"))
	s := seal(t, nil)
	own, plain := freeport.One(t), freeport.One(t)
	s.apply(fmt.Sprintf(`
name: a
port: %d
virtual_hosts: [a.example]
sluice: {http2: none, tls: {%s}}
routes: {"[%s]": {}}
---
name: b
virtual_hosts: [b.example]
sluice: {tls: {%s}}
routes: {"[%[3]s]": {}}
---
{name: p, port: %[5]d, sluice: {http2: none}, routes: {"[%[3]s]": {}}}
`, own, pair("a"), a, pair("b"), plain))
	protocol := func(port int, name string) string {
		config := s.config(name)
		config.NextProtos = []string{"h2", "http/1.1"}
		return s.connect(t, port, config).ConnectionState().NegotiatedProtocol
	}
	for _, tt := range []struct {
		port       int
		name, want string
	}{{own, "a.example", "http/1.1"}, {s.tls, "a.example", "http/1.1"}, {s.tls, "b.example", "h2"}} {
		if got := protocol(tt.port, tt.name); got != tt.want {
			t.Errorf("port %d, %s: %q, want %q", tt.port, tt.name, got, tt.want)
		}
	}
	nc := dial(t, local(plain))
	_, _ = io.WriteString(nc, http2.ClientPreface)
	if resp, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the preface is answered %v (%v), want 400", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	// A stream on the connection of another name is sent away, and the others
	// go on.
	c := speaksH2(s.client(t, s.tls))
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "b.example"
	for _, tt := range []struct {
		host   string
		status int
		reason string
	}{{"b.example", 200, ""}, {"a.example", 421, "version_refused"}, {"b.example", 200, ""}} {
		r := request(t, http.MethodGet, "https://b.example/", http.NoBody)
		r.Host = tt.host
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status || resp.Header.Get("Sluice-Reason") != tt.reason {
			t.Errorf("%s: %d %s, want %d %s", tt.host, resp.StatusCode, resp.Header.Get("Sluice-Reason"), tt.status, tt.reason)
		}
	}
	if n := s.server.Connections(); n < 1 {
		t.Errorf("%d connections are open", n)
	}
}

func TestStreamsOverTLS(t *testing.T) {
	t.Parallel()
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`
name: a
port: %d
sticky: route
sluice: {tls: {%s, hsts: {max_age: 1d}}}
routes: {"[%s]": {}}
`, p, pair("a"), origin(t, mirror)))
	c := speaksH2(s.client(t, p))
	r := request(t, http.MethodGet, "https://a.example/", http.NoBody)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.ProtoMajor != 2 || resp.TLS == nil || resp.TLS.NegotiatedProtocol != "h2" || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Proto, resp.Status)
	}
	if !strings.Contains(string(body), "X-Forwarded-Proto: https\r\n") || !strings.Contains(string(body), fmt.Sprintf("X-Forwarded-Port: %d\r\n", p)) {
		t.Errorf("the instance saw\n%s", body)
	}
	if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=86400" {
		t.Errorf("Strict-Transport-Security: %q", got)
	}
	if got := resp.Header.Get("Set-Cookie"); !strings.HasSuffix(got, "; Secure") {
		t.Errorf("Set-Cookie: %q, want it for secure connections only", got)
	}
}

func TestDrainTellsStreamsToEnd(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	o := block(t)
	bed := start(t, func(o *proxy.Options) { o.Drain = time.Hour })
	bed.apply(gateway("g", p, o.address))
	busy, idle := framesOn(t, dial(t, local(p))), framesOn(t, dial(t, local(p)))
	idle.get(1, "a")
	idle.answered(1)
	if err := busy.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: append([]byte{0x82, 0x86, 0x41, 1, 'a', 0x44, 5}, "/wait"...), EndStream: true, EndHeaders: true,
	}); err != nil {
		t.Fatal(err)
	}
	<-o.arrived
	done := bed.ending()
	last := uint32(0)
	goodbye := func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		if ok {
			last = g.LastStreamID
		}
		return ok && g.ErrCode == http2.ErrCodeNo
	}
	for _, f := range []*frames{idle, busy} {
		f.until("the first goodbye", goodbye)
		if last != 1<<31-1 {
			t.Errorf("the first goodbye names stream %d, want the last that there is", last)
		}
		f.until("the second goodbye", goodbye)
		if last != 1 {
			t.Errorf("the second goodbye names stream %d, want 1", last)
		}
	}
	if _, err := idle.ReadFrame(); err == nil {
		t.Error("a connection without streams goes on")
	}
	select {
	case err := <-done:
		t.Fatalf("Run() = %v with a stream under way", err)
	default:
	}
	close(o.released)
	busy.answered(1)
	if _, err := busy.ReadFrame(); err == nil {
		t.Error("the connection goes on after its last stream")
	}
	ended(t, done)
}

func TestStreamsGoOnWhileTheTableChanges(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	o, other := block(t), origin(t, named("other"))
	bed := start(t, nil)
	bed.apply(gateway("g", p, o.address))
	c := clientH2(t)
	c.Timeout = time.Minute
	first := make(chan answer, 1)
	go func() { first <- get(t, c, local(p)+"/wait") }()
	<-o.arrived
	for i := range 20 {
		bed.apply(gateway(fmt.Sprintf("g%d", i), p, other))
		if got := get(t, c, local(p)); got.body != "other" {
			t.Errorf("a stream after the change is answered %q", got.body)
		}
	}
	close(o.released)
	if got := <-first; got.body != longBody {
		t.Errorf("the stream from before got %d bytes, want %d", len(got.body), len(longBody))
	}
	if n := bed.server.Connections(); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}

func TestRemovedGatewaysSayGoodbye(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, origin(t, named("a"))))
	f := framesOn(t, dial(t, local(p)))
	f.get(1, "a")
	f.answered(1)
	bed.apply(gateway("g", freeport.One(t), "127.0.0.1:1"))
	f.until("a goodbye", func(f http2.Frame) bool { return f.Header().Type == http2.FrameGoAway })
	eventually(t, "the connection ends", func() bool { return bed.server.Connections() == 0 })
}

func TestAStopCutsStreams(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	o := block(t)
	bed := start(t, func(o *proxy.Options) { o.Drain = time.Hour })
	bed.apply(gateway("g", p, o.address))
	c := clientH2(t)
	failed := make(chan error, 1)
	r := request(t, http.MethodGet, local(p)+"/wait", http.NoBody)
	go func() {
		resp, err := c.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	<-o.arrived
	done := bed.ending()
	bed.server.Stop()
	if err := <-failed; err == nil {
		t.Error("the stream was answered")
	}
	ended(t, done)
	if n := bed.failures(live.ShuttingDown); n != 1 {
		t.Errorf("%d exchanges ended since the proxy did, want one", n)
	}
	close(o.released)
}

func TestClientCertificatesHoldForStreams(t *testing.T) {
	t.Parallel()
	s := seal(t, nil)
	s.apply(fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s}}
routes: {"[%s]": {}}
---
name: b
virtual_hosts: [b.example]
sluice: {tls: {%s, client_auth: required, client_ca: clients.crt}}
routes: {"[%[2]s]": {}}
`, pair("a"), origin(t, named("a")), pair("b")))
	c := speaksH2(s.client(t, s.tls))
	for host, want := range map[string]string{"a.example": "", "b.example": "misdirected_request"} {
		r := request(t, http.MethodGet, "https://a.example/", http.NoBody)
		r.Host = host
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Sluice-Reason"); got != want {
			t.Errorf("%s on a connection for a.example: %q, want %q", host, got, want)
		}
	}
}

func TestPlainStreamsAreSentToTLS(t *testing.T) {
	t.Parallel()
	s := seal(t, nil)
	s.apply(fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s, plain: redirect}}
routes: {"[%s]": {}}
`, pair("a"), origin(t, named("a"))))
	r := request(t, http.MethodGet, local(s.plain)+"/x", http.NoBody)
	r.Host = "a.example"
	resp, err := clientH2(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusPermanentRedirect || !strings.HasPrefix(resp.Header.Get("Location"), "https://a.example") {
		t.Errorf("%s, Location: %s", resp.Status, resp.Header.Get("Location"))
	}
}

func TestConnectionsOfHTTP2EndWhileMemoryIsTight(t *testing.T) {
	t.Parallel()
	url, used := straining(t, named("a"))
	idle, busy := framesOn(t, dial(t, url)), framesOn(t, dial(t, url))
	idle.get(1, "a")
	idle.answered(1)
	used.Store(85)
	goodbye := func(f http2.Frame) bool { return f.Header().Type == http2.FrameGoAway }
	idle.until("a connection without streams is told to go", goodbye)
	busy.get(1, "a")
	busy.until("one that has some is, too", goodbye)
	used.Store(10)
	c := clientH2(t)
	if got := get(t, c, url); got.body != "a" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestStreamsAreRefusedWhileMemoryIsShort(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	url, used := straining(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-release
		}
		_, _ = io.WriteString(w, "done")
	})
	c := clientH2(t)
	underWay := asks(t, c, url+"/slow") // so that the connection does not wait
	<-began
	used.Store(95)
	eventually(t, "a stream is refused", func() bool {
		status, reason, _ := answerOf(t, c, url)
		return status == http.StatusServiceUnavailable && reason == "overloaded"
	})
	close(release)
	wantAnswer(t, "the stream under way", underWay, "200")
}

// An answer may take longer than any of its parts may: what a client is given
// to send its request ends with the request.
func TestLongAnswersToUploadsGoOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*http.Client{"HTTP/1": client(t), "HTTP/2": clientH2(t)} {
		came, stop := make(chan struct{}), make(chan struct{})
		_, url := bounded(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1))
			close(came)
			_, _ = io.Copy(io.Discard, r.Body)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					_, _ = io.WriteString(w, "end")
					return
				case <-r.Context().Done():
					return
				case <-tick.C:
					_, _ = io.WriteString(w, ".")
					_ = http.NewResponseController(w).Flush()
				}
			}
		}), "timeouts: {first_byte: 2s, idle: 2s}")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, upload := io.Pipe()
			go func() {
				_, _ = io.WriteString(upload, strings.Repeat("first", 4<<10))
				<-came
				_, _ = io.WriteString(upload, "second")
				_ = upload.Close()
			}()
			resp, err := c.Do(request(t, http.MethodPost, url, body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b := make([]byte, 64)
			for began := time.Now(); time.Since(began) < 5*time.Second; {
				if _, err := resp.Body.Read(b); err != nil {
					t.Fatalf("after %v: %v", time.Since(began), err)
				}
			}
			close(stop)
			if rest, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(rest), "end") {
				t.Errorf("the answer ends with %q, %v", rest, err)
			}
		})
	}
}
