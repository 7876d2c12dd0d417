// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/admin"
)

// serve runs a server for the time of the test and returns it.
func serve(t *testing.T, o admin.Options) *admin.Server {
	t.Helper()
	o.Addr = "127.0.0.1:0"
	s := admin.New(o)
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return s
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   string
}

// ask sends one request on a connection of its own.
func ask(t *testing.T, s *admin.Server, method, target string, fields ...string) answer {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	head := []string{method + " " + target + " HTTP/1.1", "Connection: close"}
	if len(fields) == 0 || !strings.HasPrefix(fields[0], "Host:") {
		head = append(head, "Host: "+s.Addr())
	}
	head = append(head, fields...)
	if _, err := io.WriteString(c, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func full() admin.Options {
	return admin.Options{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "sluice_up 1") }),
		Ready: func() []admin.Check {
			return []admin.Check{{Name: "table", OK: true}, {Name: "ports", OK: true, Detail: "2 bound"}}
		},
		Status:  func() any { return map[string]string{"condition": "a < b"} },
		Confirm: func() int { return 3 },
	}
}

func TestEndpoints(t *testing.T) {
	s := serve(t, full())
	for _, tt := range []struct {
		name, method, target string
		code                 int
		body                 string
	}{
		{"livez answers", "GET", "/livez", 200, "ok\n"},
		{"healthz is livez", "GET", "/healthz", 200, "ok\n"},
		{"readyz is short when all holds", "GET", "/readyz", 200, "ok\n"},
		{"readyz lists its checks if asked", "GET", "/readyz?verbose", 200, "[+] table\n[+] ports: 2 bound\nok\n"},
		{"startupz answers", "GET", "/startupz", 200, "ok\n"},
		{"metrics are what was handed in", "GET", "/metrics", 200, "sluice_up 1\n"},
		{"status is indented JSON with readable conditions", "GET", "/status", 200, "{\n  \"condition\": \"a < b\"\n}\n"},
		{"HEAD of status has no body", "HEAD", "/status", 200, ""},
		{"HEAD of livez has no body", "HEAD", "/livez", 200, ""},
		{"confirm says how many", "POST", "/confirm", 200, "{\n  \"confirmed\": 3\n}\n"},
		{"an unknown path is not found", "GET", "/nothing", 404, "404 page not found\n"},
		{"profiles are off", "GET", "/debug/pprof/", 404, "404 page not found\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, s, tt.method, tt.target)
			if got.code != tt.code || got.body != tt.body {
				t.Errorf("%s %s = %d %q, want %d %q", tt.method, tt.target, got.code, got.body, tt.code, tt.body)
			}
		})
	}
}

func TestIndexLinksWhatIsServed(t *testing.T) {
	o := full()
	o.Pprof = true
	o.Handlers = map[string]http.Handler{"GET /explain": http.NotFoundHandler()}
	s := serve(t, o)
	page := ask(t, s, "GET", "/").body
	for _, path := range []string{"/livez", "/readyz", "/startupz", "/healthz", "/metrics", "/status", "/explain", "/debug/pprof/"} {
		if want := `<a href="` + path + `">`; !strings.Contains(page, want) {
			t.Errorf("GET / has no %s:\n%s", want, page)
		}
	}
	bare := serve(t, admin.Options{})
	page = ask(t, bare, "GET", "/").body
	for _, path := range []string{"/metrics", "/status", "/debug/pprof/"} {
		if strings.Contains(page, path) {
			t.Errorf("GET / links %s, which is not served:\n%s", path, page)
		}
		if got := ask(t, bare, "GET", path); got.code != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, got.code)
		}
	}
}

func TestProfilesIfAskedFor(t *testing.T) {
	s := serve(t, admin.Options{Pprof: true})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if got := ask(t, s, "GET", path); got.code != http.StatusOK {
			t.Errorf("GET %s = %d %s, want 200", path, got.code, got.body)
		}
	}
}

func TestReadyFollowsChecks(t *testing.T) {
	var ready atomic.Bool
	s := serve(t, admin.Options{Ready: func() []admin.Check {
		return []admin.Check{{Name: "table", OK: true}, {Name: "ports", OK: ready.Load(), Detail: "9050 is taken"}}
	}})
	steps := []struct {
		name    string
		ready   bool
		target  string
		code    int
		inBody  string
		liveToo bool
	}{
		{"not ready, with the reason", false, "/readyz", 503, "[+] table\n[-] ports: 9050 is taken\nnot ready\n", true},
		{"not started", false, "/startupz", 503, "[-] ports", true},
		{"ready", true, "/readyz", 200, "ok\n", true},
		{"not ready again", false, "/readyz", 503, "[-] ports", true},
		{"started stays", false, "/startupz", 200, "ok\n", true},
	}
	for _, tt := range steps {
		ready.Store(tt.ready)
		if got := ask(t, s, "GET", tt.target); got.code != tt.code || !strings.Contains(got.body, tt.inBody) {
			t.Errorf("%s: GET %s = %d %q, want %d with %q", tt.name, tt.target, got.code, got.body, tt.code, tt.inBody)
		}
		for _, path := range []string{"/livez", "/healthz"} {
			if got := ask(t, s, "GET", path); got.code != http.StatusOK {
				t.Errorf("%s: GET %s = %d, want 200: a restart would not help", tt.name, path, got.code)
			}
		}
	}
}

func TestMethods(t *testing.T) {
	s := serve(t, full())
	for _, tt := range []struct{ method, target, allow string }{
		{"POST", "/livez", "GET, HEAD"},
		{"DELETE", "/readyz", "GET, HEAD"},
		{"POST", "/metrics", "GET, HEAD"},
		{"PUT", "/status", "GET, HEAD"},
		{"GET", "/confirm", "POST"},
		{"POST", "/", "GET, HEAD"},
	} {
		got := ask(t, s, tt.method, tt.target)
		if got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s = %d, Allow %q, want 405, %q", tt.method, tt.target, got.code, got.header.Get("Allow"), tt.allow)
		}
	}
}

func TestHostIsOurs(t *testing.T) {
	s := serve(t, full())
	for _, tt := range []struct {
		host string
		code int
	}{
		{"127.0.0.1:8092", 200},
		{"127.0.0.1", 200},
		{"127.1.2.3:1", 200},
		{"localhost", 200},
		{"LocalHost:8092", 200},
		{"localhost.:8092", 200},
		{"[::1]:8092", 200},
		{"[::1]", 200},
		{"", 200},
		{"rebound.example", 403},
		{"rebound.example:8092", 403},
		{"127.0.0.1.example", 403},
		{"localhost.example:8092", 403},
		{"10.0.0.1:8092", 403},
		{"[::]:8092", 403},
		{"0.0.0.0:8092", 403},
	} {
		if got := ask(t, s, "GET", "/status", "Host: "+tt.host); got.code != tt.code {
			t.Errorf("GET /status with Host %q = %d, want %d", tt.host, got.code, tt.code)
		} else if got.code != http.StatusOK && strings.Contains(got.body, "condition") {
			t.Errorf("GET /status with Host %q shows the status: %s", tt.host, got.body)
		}
	}
}

func TestConfirmIsForTheSameOrigin(t *testing.T) {
	var calls atomic.Int32
	s := serve(t, admin.Options{Confirm: func() int { calls.Add(1); return 0 }})
	for _, tt := range []struct {
		name   string
		fields []string
		code   int
	}{
		{"a command line says nothing of its origin", nil, 200},
		{"a page of ours", []string{"Sec-Fetch-Site: same-origin", "Origin: http://" + s.Addr()}, 200},
		{"the address bar", []string{"Sec-Fetch-Site: none"}, 200},
		{"an old browser on a page of ours", []string{"Origin: http://" + s.Addr()}, 200},
		{"another site", []string{"Sec-Fetch-Site: cross-site", "Origin: http://example.com"}, 403},
		{"another port of this machine", []string{"Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:1"}, 403},
		{"an old browser on another site", []string{"Origin: http://example.com"}, 403},
		{"a sandboxed page", []string{"Origin: null"}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := calls.Load()
			got := ask(t, s, "POST", "/confirm", append([]string{"Host: " + s.Addr()}, tt.fields...)...)
			if got.code != tt.code {
				t.Errorf("POST /confirm with %q = %d, want %d", tt.fields, got.code, tt.code)
			}
			if called := calls.Load() > before; called != (tt.code == http.StatusOK) {
				t.Errorf("POST /confirm with %q called Confirm: %v", tt.fields, called)
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := serve(t, full())
	for _, target := range []string{"/", "/livez", "/status", "/metrics", "/nothing"} {
		h := ask(t, s, "GET", target).header
		for name, want := range map[string]string{
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "no-store",
			"Content-Security-Policy": "default-src 'none'",
		} {
			if got := h.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("GET %s: %s = %q, want %q", target, name, got, want)
			}
		}
		if got := h.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("GET %s: Access-Control-Allow-Origin = %q, want none", target, got)
		}
	}
}

func TestStatusThatCannotBeEncoded(t *testing.T) {
	s := serve(t, admin.Options{Status: func() any { return func() {} }})
	if got := ask(t, s, "GET", "/status"); got.code != http.StatusInternalServerError {
		t.Errorf("GET /status = %d %q, want 500", got.code, got.body)
	}
}

func TestOversizedHeadIsRefused(t *testing.T) {
	s := serve(t, full())
	got := ask(t, s, "GET", "/livez", "Host: localhost", "X-Pad: "+strings.Repeat("a", 24<<10))
	if got.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("GET /livez with a head of 24 KB = %d, want 431", got.code)
	}
}

func TestListenRefuses(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct{ name, addr, want string }{
		{"a taken port", taken.Addr().String(), "address already in use"},
		{"all interfaces, by an empty host", ":8092", "--admin-token-file"},
		{"all interfaces of IPv4", "0.0.0.0:8092", "loopback"},
		{"all interfaces of IPv6", "[::]:8092", "loopback"},
		{"another address", "192.0.2.1:8092", "loopback"},
		{"a name", "admin.example:8092", "loopback"},
		{"no port", "127.0.0.1", "host:port"},
		{"a port that is none", "127.0.0.1:99999", "--admin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := admin.New(admin.Options{Addr: tt.addr})
			err := s.Listen(t.Context())
			if err == nil {
				_ = s.Close()
				t.Fatalf("Listen on %s = nil, want an error", tt.addr)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "--admin ") {
				t.Errorf("Listen on %s = %q, want it to begin with --admin and contain %q", tt.addr, err, tt.want)
			}
			if err := s.Run(t.Context()); err == nil {
				t.Errorf("Run on %s = nil, want an error", tt.addr)
			}
		})
	}
}

func TestDefaultAddr(t *testing.T) {
	if got := admin.New(admin.Options{}).Addr(); got != "127.0.0.1:8092" {
		t.Errorf("Addr() = %s, want 127.0.0.1:8092", got)
	}
}

func TestLocalhostIsLoopback(t *testing.T) {
	s := admin.New(admin.Options{Addr: "localhost:0"})
	if err := s.Listen(t.Context()); err != nil {
		t.Fatalf("Listen on localhost:0 = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestRunWaitsForAnswersUnderWay(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var s *admin.Server
	var finished atomic.Bool
	s = admin.New(admin.Options{Addr: "127.0.0.1:0", Status: func() any {
		cancel()
		for { // until the end has begun, which is when the listener is gone
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
			if err != nil {
				break
			}
			_ = c.Close()
		}
		finished.Store(true)
		return "done"
	}})
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	type end struct {
		err      error
		finished bool
	}
	ended := make(chan end, 1)
	go func() { ended <- end{s.Run(ctx), finished.Load()} }()
	if got := ask(t, s, "GET", "/status"); got.body != "\"done\"\n" {
		t.Errorf("GET /status = %q, want it to be finished", got.body)
	}
	if got := <-ended; got.err != nil || !got.finished {
		t.Errorf("Run = %v, with the answer finished: %v; want nil, true", got.err, got.finished)
	}
}

func TestIdleConnectionsDoNotDelayTheEnd(t *testing.T) {
	s := admin.New(admin.Options{Addr: "127.0.0.1:0"})
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection ended with %v, want EOF", err)
	}
}
