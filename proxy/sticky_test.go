// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// browser returns a client with a cookie jar of its own.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t)
	c.Jar = jar
	return c
}

// cookieEcho answers with a name and the cookies that it got.
func cookieEcho(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name+"|"+strings.Join(r.Header.Values("Cookie"), "|"))
	}
}

func TestStickyRoute(t *testing.T) {
	a, b := origin(t, cookieEcho("a")), origin(t, cookieEcho("b"))
	p := freeport.One(t)
	bed := start(t, nil)
	text := "name: g\nport: %d\nsticky: route\nroutes:\n  \"[%s]\": {weight: %d%%}\n  \"[%s]\": {weight: %d%%}\n"
	bed.apply(fmt.Sprintf(text, p, a, 50, b, 50))
	url := fmt.Sprintf("http://127.0.0.1:%d/", p)
	counts := map[string]int{}
	users := make([]*http.Client, 20)
	places := make([]string, len(users))
	for i := range users {
		users[i] = browser(t)
		got := get(t, users[i], url)
		places[i] = got.body
		counts[got.body]++
		set := got.header.Values("Set-Cookie")
		if len(set) != 1 || !strings.HasPrefix(set[0], "o_"+routing.GatewayID("g")+"=") || !strings.HasSuffix(set[0], "; Path=/; HttpOnly; SameSite=Lax") {
			t.Fatalf("Set-Cookie = %q", set)
		}
		if cc := got.header.Get("Cache-Control"); cc != "private" {
			t.Errorf("Cache-Control = %q, want private beside the cookie", cc)
		}
	}
	if counts["a|"] != 10 || counts["b|"] != 10 {
		t.Errorf("new clients are spread %v, want 10 each", counts)
	}
	// They stay, see no further cookie, and the origin sees none of ours; also
	// when the weight of their route becomes 0.
	for _, weights := range [][2]int{{50, 50}, {100, 0}} {
		bed.apply(fmt.Sprintf(text, p, a, weights[0], b, weights[1]))
		for i, u := range users {
			for range 3 {
				got := get(t, u, url)
				if got.body != places[i] || len(got.header.Values("Set-Cookie")) != 0 {
					t.Fatalf("at %v user %d got %q and cookies %q, want %q and none", weights, i, got.body, got.header.Values("Set-Cookie"), places[i])
				}
			}
		}
	}
	// New ones go where the weights say.
	for range 5 {
		if got := get(t, browser(t), url); got.body != "a|" {
			t.Errorf("a new client got %q, want a", got.body)
		}
	}
}

func TestStickyCookiesStayBetweenClientAndProxy(t *testing.T) {
	a := origin(t, cookieEcho("a"))
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf("name: g\nport: %d\nsticky: instance\nroutes: {\"[%s]\": {}}\n", p, a))
	o, route := "o_"+routing.GatewayID("g"), routing.RouteID("g", "["+a+"]")
	instance := routing.InstanceID(a)
	for _, tt := range []struct{ name, sent, want string }{
		{"ours alone", o + "=" + route, "a|"},
		{"ours among others", "x=1; " + o + "=" + route + "; y=2", "a|x=1; y=2"},
		{"all of ours", o + "=" + route + "; " + route + "=" + instance + "; im_" + route + "=x", "a|"},
		{"others as they are", "x=1;y=2 ;  z", "a|x=1;y=2 ;  z"},
		{"another gateway's", "o_" + routing.GatewayID("h") + "=1", "a|o_" + routing.GatewayID("h") + "=1"},
		{"a forged value", o + "=zzz", "a|"},
		{"a bomb", strings.Repeat("k=v; ", 4000) + o + "=" + route, "a|" + strings.TrimSuffix(strings.Repeat("k=v; ", 4000), "; ")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", p), http.NoBody)
			r.Header.Set("Cookie", tt.sent)
			resp, err := client(t).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, _ := io.ReadAll(resp.Body); string(body) != tt.want {
				t.Errorf("the origin got %.200q, want %.200q", body, tt.want)
			}
		})
	}
}

func TestStickyInstance(t *testing.T) {
	portText := strconv.Itoa(freeport.One(t)) // free at both addresses
	serve := func(address, name string) *http.Server {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, portText))
		if err != nil {
			t.Fatalf("two loopback addresses are needed: %v", err)
		}
		s := &http.Server{Handler: named(name)} //nolint:gosec // a test's own client
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	serve("127.0.0.1", "a")
	server := serve("127.0.0.2", "b")
	dns := answering(t, "127.0.0.1", "127.0.0.2")
	p := freeport.One(t)
	bed := start(t, func(o *proxy.Options) { o.Resolver = dns })
	for _, setting := range []string{"sticky: instance", "sluice: {affinity: {key: header(x-user), level: instance}}"} {
		bed.apply(fmt.Sprintf("name: g\nport: %d\n%s\nroutes: {\"[shop.test:%s]\": {}}\n", p, setting, portText))
		counts := map[string]int{}
		for i := range 30 {
			u := browser(t)
			ask := func() answer {
				r := request(t, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", p), http.NoBody)
				r.Header.Set("X-User", fmt.Sprintf("user-%d", i))
				resp, err := u.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				return answer{resp.StatusCode, resp.Header, string(body)}
			}
			first := ask()
			counts[first.body]++
			for range 4 {
				if got := ask(); got.body != first.body || len(got.header.Values("Set-Cookie")) != 0 {
					t.Fatalf("%s: user %d was on %s, got %q with cookies %q", setting, i, first.body, got.body, got.header.Values("Set-Cookie"))
				}
			}
		}
		if counts["a"] < 3 || counts["b"] < 3 {
			t.Errorf("%s: new clients are spread %v, want some on both", setting, counts)
		}
	}
	// The instance goes away: the client gets another one and its cookie.
	bed.apply(fmt.Sprintf("name: g\nport: %d\nsticky: instance\nroutes: {\"[shop.test:%s]\": {}}\n", p, portText))
	url := fmt.Sprintf("http://127.0.0.1:%d/", p)
	u := browser(t)
	for get(t, u, url).body != "b" {
		u = browser(t)
	}
	_ = server.Close()
	got := get(t, u, url)
	if got.body != "a" || len(got.header.Values("Set-Cookie")) != 1 {
		t.Errorf("got %q and cookies %q, want a and its cookie", got.body, got.header.Values("Set-Cookie"))
	}
	if got := get(t, u, url); got.body != "a" || len(got.header.Values("Set-Cookie")) != 0 {
		t.Errorf("got %q and cookies %q, want a again and no cookie", got.body, got.header.Values("Set-Cookie"))
	}
}
