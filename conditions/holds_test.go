// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"strconv"
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
	for _, text := range []string{
		"host == shop.example",
		"host != other.example:8080",
		"user-agent == Safari",
		"has header x-stage and misses header x-other",
		"header accept-language has de",
		"has cookie beta or cookie session has zzz",
		"not (has cookie none or cookie a has b) and (header x-stage has canary or host == a)",
	} {
		c := mustCompile(t, text)
		var held bool
		if n := testing.AllocsPerRun(100, func() { held = c.Holds(r) != held }); n != 0 {
			t.Errorf("%q allocates %v times", text, n)
		}
	}
}

func BenchmarkHolds(b *testing.B) {
	r := browserRequest()
	for _, bb := range []struct{ name, text string }{
		{"host", "host == shop.example"},
		{"header", "header X-Stage has canary"},
		{"header absent", "has header X-None"},
		{"user agent", "user-agent == Firefox"},
		{"cookie", "has cookie beta"},
		{"three headers", "has header X-None or header X-Stage has blue or header Accept-Language has de"},
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

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conditions.Compile("host == shop.example and (user-agent == Firefox or has cookie beta)"); err != nil {
			b.Fatal(err)
		}
	}
}

// browserRequest is a request with ten fields, as browsers send them.
func browserRequest() *staticRequest {
	return newRequest(
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
