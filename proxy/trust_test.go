// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// believing has the proxies of some networks believed.
func believing(t *testing.T, networks ...string) func(*proxy.Options) {
	t.Helper()
	trust, err := http1.NewTrust(networks)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Trust = trust }
}

func TestConditionsAndKeysSeeTheClientBehindTrustedProxies(t *testing.T) {
	p, keyed := freeport.One(t), freeport.One(t)
	bed := start(t, believing(t, "127.0.0.0/8"))
	bed.apply(fmt.Sprintf(`
name: g
port: %d
routes:
  "[%s]": {weight: 100%%}
  "[%s]": {weight: 0%%, condition: ip in 203.0.113.0/24}
---
name: keyed
port: %d
sluice: {affinity: {key: ip}}
routes:
  "[%[2]s]": {weight: 50%%}
  "[%[3]s]": {weight: 50%%}
`, p, origin(t, named("others")), origin(t, named("network")), keyed))
	ask := func(port int, from string) string {
		_, _, body := exchange(t, port, "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-For: "+from)
		return body
	}
	for from, want := range map[string]string{
		"203.0.113.9": "network", "203.0.113.9, 127.0.0.2": "network",
		"198.51.100.7": "others", "203.0.113.9, 198.51.100.7": "others", "203.0.113.9, unknown": "others",
	} {
		if got := ask(p, from); got != want {
			t.Errorf("from %s: %q, want %q", from, got, want)
		}
	}
	seen := map[string]int{}
	for i := range 32 {
		from := fmt.Sprintf("198.51.100.%d", i)
		first := ask(keyed, from)
		if again := ask(keyed, from); again != first {
			t.Errorf("%s goes to %s, then to %s", from, first, again)
		}
		seen[first]++
	}
	if len(seen) != 2 { // one of 2^31 tables would do this
		t.Errorf("32 clients go to %v, want them spread", slices.Collect(maps.Keys(seen)))
	}
}

// TestExplainAgreesBehindTrustedProxies compares what is told with what an
// instance gets, by all of the ways in which it may be told.
func TestExplainAgreesBehindTrustedProxies(t *testing.T) {
	for _, tt := range []struct{ mode, client, from string }{
		{"x-forwarded", "203.0.113.9", "X-Forwarded-For"},
		{"rfc7239", "198.51.100.7", "Forwarded"},
		{"both", "203.0.113.9", "X-Forwarded-For"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, believing(t, "127.0.0.0/8"))
			bed.apply(fmt.Sprintf(`{name: g, port: %d, sluice: {forwarded: %s}, routes: {"[%s]": {}}}`, p, tt.mode, origin(t, mirror)))
			sent := []routing.HeaderField{
				{Name: "Host", Value: fmt.Sprintf("shop.example:%d", p)},
				{Name: "X-Forwarded-For", Value: "192.0.2.1"},
				{Name: "X-Forwarded-For", Value: "203.0.113.9, 127.0.0.9"},
				{Name: "X-Forwarded-Proto", Value: "https"},
				{Name: "X-Request-Id", Value: "theirs"},
				{Name: "Forwarded", Value: `for=198.51.100.7;proto=https, for="127.0.0.9:80"`},
			}
			lines := []string{"GET / HTTP/1.1"}
			for _, f := range sent {
				lines = append(lines, f.Name+": "+f.Value)
			}
			_, _, body := exchange(t, p, strings.Join(lines, "\n"))
			e, err := bed.server.Explain(routing.ExplainRequest{URL: fmt.Sprintf("http://shop.example:%d/", p), Headers: sent})
			if err != nil {
				t.Fatal(err)
			}
			if e.Request.ClientIP != tt.client || e.Request.ClientIPFrom != tt.from {
				t.Errorf("the client is %s by %s, want %s by %s", e.Request.ClientIP, e.Request.ClientIPFrom, tt.client, tt.from)
			}
			if text := e.Format(); !strings.Contains(text, "from "+tt.client+", which a trusted proxy says in "+tt.from) {
				t.Errorf("it does not say who says it:\n%s", text)
			}
			var got, told []string
			for line := range strings.Lines(body) {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "Host: ") {
					got = append(got, line)
				}
			}
			for _, f := range e.Outcome.Headers {
				told = append(told, f.Name+": "+f.Value)
			}
			slices.Sort(got)
			slices.Sort(told)
			if !slices.Equal(got, told) {
				t.Errorf("the instance got\n%s\ntold are\n%s", strings.Join(got, "\n"), strings.Join(told, "\n"))
			}
		})
	}
}
