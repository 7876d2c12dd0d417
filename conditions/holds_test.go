// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// TestHolds reads testdata/holds.txt: a comment names what its cases show;
// lines with ">" are the header of a request; below each condition stands
// whether it holds.
func TestHolds(t *testing.T) {
	runCases(t, "testdata/holds.txt", func(header []string, text string) string {
		return strconv.FormatBool(mustCompile(t, text).Holds(newRequest(header...)))
	})
}

func TestZeroConditionNeverHolds(t *testing.T) {
	var c conditions.Condition
	if c.Holds(newRequest("Host: a")) || c.String() != "" {
		t.Errorf("zero Condition holds or has a text: %q", &c)
	}
}

// TestHoldsAsksFromLeftToRight shows that what need not be known is not
// asked.
func TestHoldsAsksFromLeftToRight(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"and stops at the first false", "has header a and has header b", "[A]"},
		{"or goes on to the first true", "misses header a and host == x or misses header b or has header c", "[A Host B]"},
		{"and goes on while true", "misses header a and misses header b and misses header c", "[A B C]"},
		{"a negated group turns around", "not (misses header a or has header b) or not has header c", "[A C]"},
		{"a browser of two parts is asked for both", "user-agent != Safari", "[User-Agent]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &loggingRequest{}
			mustCompile(t, tt.text).Holds(r)
			if got := fmt.Sprint(r.asked); got != tt.want {
				t.Errorf("%q asked %v, want %v", tt.text, got, tt.want)
			}
		})
	}
}

// loggingRequest is empty and remembers what it was asked.
type loggingRequest struct {
	staticRequest
	asked []string
}

func (r *loggingRequest) Host() string {
	r.asked = append(r.asked, "Host")
	return ""
}

func (r *loggingRequest) Field(name string, _ int) (string, int) {
	r.asked = append(r.asked, name)
	return "", -1
}

func TestHoldsDoesNotAllocate(t *testing.T) {
	r := browserRequest()
	secured(r)
	for _, text := range []string{
		"host == shop.example",
		"host != other.example:8080",
		"user-agent == Safari",
		"has header x-stage and misses header x-other",
		"header accept-language has de",
		"has cookie beta or cookie session has zzz",
		"not (has cookie none or cookie a has b) and (header x-stage has canary or host == a)",
		"method == GET",
		"path == /shop/cart",
		"path starts with /shop and path ends with .jpg and path has x",
		`path matches "^/shop/.*(png|jpg)$"`,
		"header x-stage == canary",
		`header user-agent matches "Firefox/[0-9]+"`,
		"cookie theme == dark",
		`cookie session matches "^[0-9a-f]+$"`,
		"query page == 2",
		`query q == "a b"`,
		`query q starts with "a "`,
		`query q has b`,
		`query q ends with b`,
		`query q matches "^a b$"`,
		"has query none or misses query q",
		"ip == 10.1.2.3",
		"ip in (192.168.0.0/16, 2001:db8::/32, 10.0.0.0/8)",
		"< path_beg /shop >",
		"sni == *.shop.example and sni ends with .example",
		`sni matches "^eu[.]"`,
		"alpn == h2",
		"client certificate and client subject has CN=cart",
		`client subject matches "CN=cart" and not client san == other`,
		"client san == spiffe://shop.example/cart",
	} {
		c := mustCompile(t, text)
		var held bool
		n := testing.AllocsPerRun(100, func() { held = c.Holds(r) != held })
		if n != 0 && (!raceDetector || !strings.Contains(text, "matches")) { // whose pools forget under it
			t.Errorf("%q allocates %v times", text, n)
		}
	}
}

// TestExprAllocatesLittle holds what a program allocates: the header of each
// text and each large number that it hands on, since expr-lang passes values
// as interfaces.
func TestExprAllocatesLittle(t *testing.T) {
	r := browserRequest()
	for _, tt := range []struct {
		name, text string
		most       float64
	}{
		{"what yields true or false", `expr(has_cookie("beta") and has_header("x-stage") and has_query("page"))`, 0},
		{"one text", `expr(header("x-stage") == "canary")`, 1},
		{"two texts and their hash", `expr(header("x-stage") in ["canary", "blue"] && hash(cookie("session")) % 100 < 100)`, 3},
		{"a regular expression", `expr(header("user-agent") matches "Firefox/[0-9]+")`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustCompile(t, tt.text)
			var held bool
			n := testing.AllocsPerRun(100, func() { held = c.Holds(r) })
			if n > tt.most && !raceDetector || !held { // under it a pool forgets at random
				t.Errorf("%q holds: %v, allocates %v times, want at most %v", tt.text, held, n, tt.most)
			}
		})
	}
}

func BenchmarkHolds(b *testing.B) {
	r := browserRequest()
	for _, bb := range []struct{ name, text string }{
		{"host", "host == shop.example"},
		{"header", "header X-Stage has canary"},
		{"header absent", "has header X-None"},
		{"header equals", "header X-Stage == canary"},
		{"header matches", `header User-Agent matches "Firefox/[0-9]+"`},
		{"user agent", "user-agent == Firefox"},
		{"cookie", "has cookie beta"},
		{"cookie equals", "cookie beta == on"},
		{"cookie matches", `cookie session matches "^[0-9a-f]+$"`},
		{"method", "method == GET"},
		{"path equals", "path == /shop/cart"},
		{"path starts with", "path starts with /shop"},
		{"path ends with", "path ends with .jpg"},
		{"path has", "path has cart"},
		{"path matches", `path matches "^/shop/.*"`},
		{"query", "has query page"},
		{"query equals", "query page == 2"},
		{"query equals decoded", `query q == "a b"`},
		{"query has decoded", `query q has "a b"`},
		{"query matches decoded", `query q matches "^a b$"`},
		{"ip", "ip in 10.0.0.0/8"},
		{"ip in ten", "ip in (10.0.0.0/32, 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, 10.0.0.7, 10.0.0.8, 10.1.0.0/16)"},
		{"raw", "< path_beg /shop >"},
		{"three headers", "has header X-None or header X-Stage has blue or header Accept-Language has de"},
		{"expr constant", "expr(true)"},
		{"expr has_cookie", `expr(has_cookie("beta"))`},
		{"expr header", `expr(header("x-stage") == "canary")`},
		{"expr tier and hash", `expr(header("x-stage") in ["canary", "blue"] && hash(cookie("session")) % 100 < 5)`},
		{"expr matches", `expr(header("user-agent") matches "Firefox/[0-9]+")`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := mustCompile(b, bb.text)
			b.ReportAllocs()
			for b.Loop() {
				c.Holds(r)
			}
		})
	}
}

// BenchmarkHundredConditions asks a hundred conditions, none of which holds.
func BenchmarkHundredConditions(b *testing.B) {
	r := browserRequest()
	for _, bb := range []struct{ name, text string }{
		{"host", "host == shop-%d.example"},
		{"path", "path starts with /shop-%d/"},
		{"header and cookie", "header X-Stage == stage-%d and cookie beta == on"},
		{"cookie", "cookie beta == on-%d"},
		{"query", "query page == x-%d"},
		{"path matches", `path matches "^/shop-%d/[a-z]+$"`},
		{"expr", `expr(header("x-stage") == "stage-%d" && hash(cookie("session")) %% 100 < 5)`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			all := make([]*conditions.Condition, 100)
			for i := range all {
				all[i] = mustCompile(b, fmt.Sprintf(bb.text, i))
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range all {
					c.Holds(r)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conditions.Compile("host == shop.example and (user-agent == Firefox or has cookie beta)"); err != nil {
			b.Fatal(err)
		}
	}
}

// browserRequest is a request with a query and ten fields, as browsers send them.
func browserRequest() *staticRequest {
	return newRequest(
		"GET /shop/cart?page=2&q=a+b",
		"client 10.1.2.3",
		"Host: shop.example",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language: de,en-US;q=0.7,en;q=0.3",
		"Accept-Encoding: gzip, deflate, br",
		"Connection: keep-alive",
		"Cookie: session=0123456789abcdef; theme=dark; beta=on",
		"X-Stage: canary",
		"Cache-Control: max-age=0",
		"Dnt: 1",
	)
}
