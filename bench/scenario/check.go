// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// checker checks values. What is wrong is told to add with the path of the
// value.
type checker struct {
	add    func(path, problem string) error
	faults []error
}

// that notes a problem of the value at path, if there is one.
func (c *checker) that(path, problem string) {
	if problem != "" {
		c.faults = append(c.faults, c.add(path, problem))
	}
}

func (c *checker) scenario(s *Scenario) {
	c.that("host", hostProblem(s.Host))
	c.that("connections", countProblem(int64(s.Connections), 0, MaxConnections))
	c.that("rate", rateProblem(s.Rate))
	c.that("duration", durationProblem(s.Duration, MaxDuration))
	c.that("warmup", durationProblem(s.Warmup, MaxWarmup))
	c.that("timeout", durationProblem(s.Timeout, MaxTimeout))
	c.that("requests", countProblem(s.Requests, 0, math.MaxInt64))
	c.that("requests_per_connection", countProblem(int64(s.PerConnection), 0, math.MaxInt32))
	c.headers("headers", s.Headers)
	if len(s.Mix) > MaxMix {
		c.that("mix", fmt.Sprintf("%d kinds of requests are too many; at most %d", len(s.Mix), MaxMix))
		return
	}
	bodies := 0
	for i, k := range s.Mix {
		c.kind(fmt.Sprintf("mix[%d].", i), k)
		bodies += len(k.Body)
	}
	if bodies > MaxBody {
		c.that("mix", bodiesProblem)
	}
}

func (c *checker) kind(path string, k Kind) {
	c.that(path+"weight", countProblem(int64(k.Weight), 0, MaxWeight))
	if k.Method != "" {
		c.that(path+"method", methodProblem(k.Method))
	}
	if k.Path != "" {
		c.that(path+"path", targetProblem(k.Path))
	}
	c.that(path+"host", hostProblem(k.Host))
	c.headers(path+"headers", k.Headers)
}

func (c *checker) headers(path string, fields []Header) {
	for _, h := range fields {
		c.that(path, headerProblem(h))
	}
}

const bodiesProblem = "the bodies of a mix are larger than 64 MiB together"

func countProblem(n, least, most int64) string {
	switch {
	case n < least:
		return fmt.Sprintf("%d is too few; at least %d", n, least)
	case n > most:
		return fmt.Sprintf("%d is too many; at most %d", n, most)
	default:
		return ""
	}
}

func rateProblem(rate float64) string {
	if !(rate >= 0 && rate <= MaxRate) { // NaN is neither
		return fmt.Sprintf("%g is not a rate; 0 to %d requests a second, 0 for as fast as answers come", rate, MaxRate)
	}
	return ""
}

func durationProblem(d, most time.Duration) string {
	switch {
	case d < 0:
		return fmt.Sprintf("%v is not a duration; a positive one such as 10s", d)
	case d > most:
		return fmt.Sprintf("%v is too long; at most %v", d, most)
	default:
		return ""
	}
}

func methodProblem(method string) string {
	switch {
	case !isToken(method):
		return fmt.Sprintf("%q is not a method; one word such as GET or POST", method)
	case method == http.MethodConnect:
		return "CONNECT opens a tunnel and has no answer to measure"
	default:
		return ""
	}
}

// targetProblem says what is wrong with a path and query. It takes what
// net/url reads, so that a slip does not become a load of 400s.
func targetProblem(target string) string {
	if !strings.HasPrefix(target, "/") {
		return fmt.Sprintf("%q does not begin with a slash; such as /cart?id=1", target)
	}
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return fmt.Sprintf("%q has %q, which must be written as %%%02X", target, c, c)
		}
	}
	if _, err := url.ParseRequestURI(target); err != nil {
		return fmt.Sprintf("%q is not a path with a query: a %% needs two hexadecimal digits after it", target)
	}
	return ""
}

func hostProblem(host string) string {
	for _, c := range []byte(host) {
		if !isAlphanumeric(c) && !strings.ContainsRune("-._~:[]%", rune(c)) {
			return fmt.Sprintf("%q is not a host; a name or an address, maybe with a port", host)
		}
	}
	return ""
}

// ours are the header fields that the framing of requests and the life of
// connections depend on.
var ours = []string{"Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Trailer", "Expect"}

func headerProblem(h Header) string {
	switch {
	case !isToken(h.Name):
		return fmt.Sprintf("%q is not the name of a header", h.Name)
	case strings.EqualFold(h.Name, "Host"):
		return "Host has a key of its own, host"
	case slices.ContainsFunc(ours, func(name string) bool { return strings.EqualFold(name, h.Name) }):
		return h.Name + " is not for scenarios to set: the generator frames requests and keeps connections by it"
	case h.Value != strings.Trim(h.Value, " \t"):
		return fmt.Sprintf("the value %q of %s begins or ends with a blank", h.Value, h.Name)
	}
	for _, c := range []byte(h.Value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Sprintf("the value %q of %s has a control character", h.Value, h.Name)
		}
	}
	return ""
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
