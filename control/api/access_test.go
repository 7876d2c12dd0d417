// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/auth"
)

// guarded is an API with tokens.
type guarded struct {
	*world
	tokens *auth.Tokens
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{tokens: auth.NewTokens(auth.DirVault(t.TempDir()), nil)}
	g.world = start(t, func(o *api.Options) {
		o.Tokens = g.tokens
		o.Confirm = func() int { return 0 }
		o.Metrics = http.NotFoundHandler()
	})
	return g
}

// token issues a token with a rank in a namespace.
func (g *guarded) token(namespace string, rank auth.Rank) string {
	g.t.Helper()
	secret, _, err := g.tokens.Issue(g.t.Context(), auth.Token{
		Kind: auth.API, Name: rank.String(), Grants: []auth.Grant{{Namespace: namespace, Rank: rank}},
	}, time.Hour)
	if err != nil {
		g.t.Fatal(err)
	}
	return secret
}

// status returns how a request is answered. Bodies are not read: some have no
// end.
func (g *guarded) status(method, path, token string) int {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, g.url+path, http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Every route takes the rank that it says, and nothing is open but what tells
// whether the process lives.
func TestEveryRouteTakesItsRank(t *testing.T) {
	g := startGuarded(t)
	ranks := []auth.Rank{auth.Viewer, auth.Operator, auth.Admin}
	here, all := make(map[auth.Rank]string), make(map[auth.Rank]string)
	for _, rank := range ranks {
		here[rank], all[rank] = g.token("default/default", rank), g.token(auth.Everywhere, rank)
	}
	elsewhere := g.token("acme/prod", auth.Admin)
	fill := strings.NewReplacer("{kind}", "gateways", "{name...}", "x", "{id}", "1")
	open := 0
	for _, route := range g.api.Routes() {
		path := fill.Replace(route.Path)
		for i := strings.IndexByte(path, '{'); i >= 0; i = strings.IndexByte(path, '{') {
			path = path[:i] + "x" + path[strings.IndexByte(path, '}')+1:]
		}
		t.Run(route.Method+" "+route.Path, func(t *testing.T) {
			g.t = t
			if route.Open {
				open++
				if got := g.status(route.Method, path, ""); got == 401 || got == 403 {
					t.Errorf("answered %d without a token, want it open", got)
				}
				return
			}
			if got := g.status(route.Method, path, ""); got != 401 {
				t.Errorf("answered %d without a token, want 401", got)
			}
			if got := g.status(route.Method, path, "slc_wrong"); got != 401 && got != 429 {
				t.Errorf("answered %d with a wrong token, want 401", got)
			}
			if got := g.status(route.Method, path, elsewhere); got != 403 {
				t.Errorf("answered %d to an admin of another namespace, want 403", got)
			}
			for _, rank := range ranks {
				need, err := auth.ParseRank(route.Need)
				if err != nil {
					t.Fatalf("the route needs %q, want a rank", route.Need)
				}
				let := rank >= need
				if got := g.status(route.Method, path, all[rank]); let == (got == 403 || got == 401) {
					t.Errorf("answered %d to a %v of everything, want it let in: %t", got, rank, let)
				}
				let = let && !route.Everywhere
				if got := g.status(route.Method, path, here[rank]); let == (got == 403 || got == 401) {
					t.Errorf("answered %d to a %v of the namespace, want it let in: %t", got, rank, let)
				}
			}
		})
	}
	if open != 2 {
		t.Errorf("%d routes are open, want livez and readyz", open)
	}
	g.t = t
	if log := g.log.String(); !strings.Contains(log, `msg="token refused"`) || strings.Contains(log, "slc_wrong") {
		t.Errorf("the log does not tell of a wrong token, or shows it:\n%s", log)
	}
	for _, path := range []string{"/", "/api", "/api/v1/nothing/here/at/all", "/acme/prod/api/v1/proxies", "/debug/pprof/"} {
		if got := g.status("GET", path, ""); got != 401 {
			t.Errorf("GET %s = %d without a token, want 401", path, got)
		}
	}
}

func TestOperatorsMoveTrafficAndNothingElse(t *testing.T) {
	g := startGuarded(t)
	operator, admin := g.token("default/default", auth.Operator), g.token("default/default", auth.Admin)
	for _, tt := range []struct {
		method, path, body string
	}{
		{"PUT", "/templates/t", "name: t\n"},
		{"POST", "/rewrites", "name: r\npath: /a if path_beg /b\n"},
		{"PUT", "/routes/r", "name: r\n"},
		{"PUT", "/", "name: g\nroutes: {a: {}}\n---\nkind: templates\nname: t\n"},
		{"DELETE", "/routes/r", ""},
		{"POST", "/templates/t/rollback", ""},
	} {
		g.ask(tt.method, "/api/v1"+tt.path, tt.body, "Authorization", "Bearer "+operator).is(403)
		if a := g.ask(tt.method, "/api/v1"+tt.path, tt.body, "Authorization", "bearer "+admin); a.status == 403 {
			t.Errorf("%s %s = 403 %s for an admin, want it let in", tt.method, tt.path, a.body)
		}
	}
	g.ask("PUT", "/api/v1/gateways/o", "name: o\nroutes: {a: {}}\n", "Authorization", "Bearer "+operator).is(202)
	if log := g.log.String(); !strings.Contains(log, "operator") || strings.Contains(log, operator) {
		t.Errorf("the audit does not name the operator, or shows the token:\n%s", log)
	}
	g.ask("PUT", "/acme/prod/api/v1/gateways/o", "name: o\n", "Authorization", "Bearer "+admin).is(403)
	g.ask("GET", "/api/v1/info", "", "Authorization", "Bearer "+operator).is(200).has(`"rank":"operator"`)
	// A person with a token cannot be another one.
	g.ask("PUT", "/api/v1/gateways/o", "name: o\nroutes: {b: {}}\n", "Authorization", "Bearer "+operator, "Sluice-Author", "mallory").is(202)
	if log := g.log.String(); strings.Contains(log, "mallory") {
		t.Errorf("the audit names who is not shown by the token:\n%s", log)
	}
}

func TestPagesOfOthersAreNotLetIn(t *testing.T) {
	w := start(t, func(o *api.Options) { o.Hosts = []string{"control.example"} })
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"a program", nil, 200},
		{"the address of this machine in other words", []string{"Host", "[::1]:8090"}, 200},
		{"localhost", []string{"Host", "LocalHost:8090"}, 200},
		{"a name that was allowed", []string{"Host", "control.example."}, 200},
		{"a name that leads here", []string{"Host", "evil.example"}, 403},
		{"an address that leads here", []string{"Host", "192.0.2.1:8090"}, 403},
		{"a page of another origin", []string{"Origin", "https://evil.example"}, 403},
		{"a page without origin", []string{"Origin", "null"}, 403},
		{"a page of another site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a page of another host of the site", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a page of our own", []string{"Host", "localhost:8090", "Origin", "http://localhost:8090", "Sec-Fetch-Site", "same-origin"}, 200},
		{"an address that was typed", []string{"Sec-Fetch-Site", "none"}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			w.ask("PUT", "/api/v1/conditions/beta", beta, tt.headers...).is(tt.status)
			w.ask("GET", "/api/v1/conditions/beta", "", tt.headers...).is(tt.status)
			w.ask("GET", "/livez", "", tt.headers...).is(200)
			a := w.ask("OPTIONS", "/api/v1/conditions/beta", "", tt.headers...)
			if a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("the answer lets pages of other origins read it")
			}
		})
	}
}

func TestWithoutTokensOnlyThisMachineIsLetIn(t *testing.T) {
	w := start(t, nil)
	local := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}))
	other := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8090}))
	for _, tt := range []struct {
		name, from string
		ctx        context.Context
		status     int
	}{
		{"both ends here", "127.0.0.1:1000", local, 200},
		{"from elsewhere", "192.0.2.7:1000", local, 403},
		{"to an address of others", "127.0.0.1:1000", other, 403},
		{"from nowhere", "", local, 403},
	} {
		r := httptest.NewRequestWithContext(tt.ctx, "GET", "http://127.0.0.1:8090/api/v1/gateways", http.NoBody)
		r.RemoteAddr = tt.from
		answer := httptest.NewRecorder()
		w.api.Handler().ServeHTTP(answer, r)
		if answer.Code != tt.status {
			t.Errorf("%s: answered %d, want %d", tt.name, answer.Code, tt.status)
		}
	}
}

func TestAddressesThatOthersReachTakeTLSAndTokens(t *testing.T) {
	tokens := auth.NewTokens(auth.DirVault(t.TempDir()), nil)
	for _, tt := range []struct {
		name, address string
		tokens        *auth.Tokens
		tls           *tls.Config
		good          bool
	}{
		{"this machine alone", "127.0.0.1:8090", nil, nil, true},
		{"this machine alone, with tokens", "[::1]:8090", tokens, nil, true},
		{"all addresses", "0.0.0.0:8090", nil, nil, false},
		{"all addresses of IPv6", "[::]:8090", nil, nil, false},
		{"tokens in clear", "192.0.2.1:8090", tokens, nil, false},
		{"TLS without tokens", "192.0.2.1:8090", nil, &tls.Config{MinVersion: tls.VersionTLS13}, false},
		{"both", "192.0.2.1:8090", tokens, &tls.Config{MinVersion: tls.VersionTLS13}, true},
	} {
		w := start(t, func(o *api.Options) { o.Tokens, o.TLS = tt.tokens, tt.tls })
		addr, err := net.ResolveTCPAddr("tcp", tt.address)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.api.Check(addr); (err == nil) != tt.good {
			t.Errorf("%s: Check(%s) = %v, want good: %t", tt.name, tt.address, err, tt.good)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	w := start(t, nil)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.api.Serve(ctx, ln) }()
	w.url = "http://" + ln.Addr().String()
	w.ask("GET", "/livez", "").is(200)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve() = %v after its context ended, want nil", err)
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the address is open after Serve returned")
	}
}

func TestServeRefusesAnOpenAddress(t *testing.T) {
	w := start(t, nil)
	ln := &openListener{}
	if err := w.api.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "TLS and tokens") {
		t.Errorf("Serve() = %v, want an error that says what is needed", err)
	}
	if !ln.closed {
		t.Error("the listener is open after Serve refused it")
	}
}

// openListener says that others reach it.
type openListener struct{ closed bool }

func (*openListener) Accept() (net.Conn, error) { return nil, errors.New("nobody comes") }
func (l *openListener) Close() error            { l.closed = true; return nil }
func (*openListener) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4zero, Port: 8090} }

// Who guesses tokens is slowed down; who has one is not, even behind the same
// address.
func TestWrongTokensAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := auth.NewTokens(auth.DirVault(t.TempDir()), nil)
		secret, _, err := tokens.Issue(t.Context(), auth.Token{Kind: auth.API, Name: "ann", Grants: []auth.Grant{{Namespace: auth.Everywhere, Rank: auth.Viewer}}}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		a, err := api.New(api.Options{Store: noStore{}, Plans: noPlans{}, Proxies: &proxies{}, Tokens: tokens})
		if err != nil {
			t.Fatal(err)
		}
		show := func(from, token string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/api/v1/proxies", http.NoBody)
			r.RemoteAddr = from + ":1000"
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			a.Handler().ServeHTTP(w, r)
			return w
		}
		if w := show("127.0.0.1", secret); w.Code != 200 {
			t.Fatalf("answered %d to the first token that is shown, want 200", w.Code)
		}
		for i := range 10 {
			if w := show("127.0.0.1", "slc_wrong"); w.Code != 401 {
				t.Fatalf("answered %d to wrong token %d, want 401", w.Code, i+1)
			}
		}
		if w := show("127.0.0.1", "slc_wrong"); w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("answered %d to one more, want 429 with Retry-After", w.Code)
		}
		if w := show("127.0.0.1", secret); w.Code != 200 {
			t.Errorf("answered %d to a token that was right before, want 200", w.Code)
		}
		if w := show("127.0.0.2", "slc_wrong"); w.Code != 401 {
			t.Errorf("answered %d to another address, want 401", w.Code)
		}
		time.Sleep(7 * time.Second)
		if w := show("127.0.0.1", "slc_wrong"); w.Code != 401 {
			t.Errorf("answered %d after a while, want 401", w.Code)
		}
	})
}
