// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// difference is one way in which an exchange through the proxy may differ from
// a direct one: it makes of what was seen without the proxy what must be seen
// with it. Every other difference is a fault of the proxy.
type difference struct {
	name, reason string
	// What becomes of the request, and of each answer, those 1xx too. Nil
	// means nothing.
	request, answer func(m *wireMessage, x *passage)

	made atomic.Int64 // messages that it changed
}

// passage is what a difference may depend on besides the message itself.
type passage struct {
	trial   *trial
	request *wireMessage // as it was seen without the proxy
	port    int          // of the gateway
}

// differences are applied in this order.
func differences() []*difference {
	return []*difference{
		{
			name:    "empty lines before a request end",
			reason:  "they are no part of it (RFC 9112 section 2.2)",
			request: func(m *wireMessage, _ *passage) { m.stray = 0 },
		},
		{
			name:    "the version is the proxy's own",
			reason:  "each hop says which version it speaks (RFC 9110 section 2.5)",
			request: func(m *wireMessage, _ *passage) { m.start = m.start[:len(m.start)-1] + "1" },
			answer:  func(m *wireMessage, _ *passage) { m.start = "HTTP/1.1" + m.start[len("HTTP/1.1"):] },
		},
		{
			name:    "an absolute form becomes an origin form",
			reason:  "the authority of the target rules over Host (RFC 9112 sections 3.2.1 and 3.2.2)",
			request: makeOriginForm,
		},
		{
			name:    "fields end that Connection names",
			reason:  "RFC 9110 section 7.6.1",
			request: dropNamed,
			answer:  dropNamed,
		},
		{
			name:    "fields end that are for one hop",
			reason:  "RFC 9110 section 7.6.1; nothing is upgraded, and credentials for a proxy are no instance's business",
			request: dropping(hopByHop),
			answer:  dropping(hopByHop),
		},
		{
			name:    "OPTIONS and TRACE are counted down",
			reason:  "each hop counts in Max-Forwards (RFC 9110 section 7.6.2)",
			request: countDown,
		},
		{
			name:    "fields end that only the proxy may set",
			reason:  "no proxy before this one is trusted, and some servers do not tell an underscore from a hyphen",
			request: dropping(ownOfRequests),
			answer:  dropping(ownOfAnswers),
		},
		{
			name:    "Expect of HTTP/1.0 ends",
			reason:  "it means nothing there (RFC 9110 section 10.1.1), and the instance is spoken to in HTTP/1.1",
			request: dropExpect,
		},
		{
			name:   "no HTTP/1.0 client is told of trailers",
			reason: "none follow (RFC 9112 section 7.1.3)",
			answer: dropTrailer,
		},
		{
			name:    "the instance is told of the client",
			reason:  "it sees the proxy's connection, not the client's",
			request: addForwarded,
		},
		{
			name:   "an answer says whether the client's connection goes on",
			reason: "each hop keeps its own connections (RFC 9112 section 9.3)",
			answer: addPersistence,
		},
	}
}

// applied returns what must be seen with the proxy of a message that was seen
// without.
func applied(ds []*difference, m *wireMessage, x *passage, answer bool) *wireMessage {
	want := m.clone()
	for _, d := range ds {
		change := d.request
		if answer {
			change = d.answer
		}
		if change == nil {
			continue
		}
		before := want.clone()
		if change(want, x); firstDifference(before, want) != "" {
			d.made.Add(1)
		}
	}
	return want
}

// dropping returns what takes fields out by their names in lower case.
func dropping(of func(name string) bool) func(*wireMessage, *passage) {
	return func(m *wireMessage, _ *passage) {
		m.fields = slices.DeleteFunc(m.fields, func(line string) bool {
			name, _ := splitField(line)
			return of(name)
		})
	}
}

func dropNamed(m *wireMessage, x *passage) {
	options := m.options()
	dropping(func(name string) bool { return slices.Contains(options, name) })(m, x)
}

var maxForwards = regexp.MustCompile(`(?i)^(max-forwards:[ \t]*)([0-9]+)([ \t]*)$`)

// countDown takes one from Max-Forwards, which keeps its length.
func countDown(m *wireMessage, x *passage) {
	if x.trial.method != "OPTIONS" && x.trial.method != "TRACE" {
		return
	}
	for i, line := range m.fields {
		parts := maxForwards.FindStringSubmatch(line)
		if parts == nil {
			continue
		}
		n, err := strconv.Atoi(parts[2])
		if err != nil {
			continue
		}
		form := "%s%*d%s"
		if parts[2][0] == '0' {
			form = "%s%0*d%s"
		}
		m.fields[i] = fmt.Sprintf(form, parts[1], len(parts[2]), n-1, parts[3])
	}
}

func dropExpect(m *wireMessage, x *passage) {
	if x.trial.old {
		dropping(func(name string) bool { return name == "expect" })(m, x)
	}
}

func dropTrailer(m *wireMessage, x *passage) {
	if x.trial.old {
		dropping(func(name string) bool { return name == "trailer" })(m, x)
	}
}

func hopByHop(name string) bool {
	return slices.Contains([]string{
		"connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "proxy-authorization",
	}, name)
}

// ownOfRequests tells the fields of requests that the proxy sets, or that no
// client has a reason to send, and their twins with underscores.
func ownOfRequests(name string) bool {
	plain := strings.ReplaceAll(name, "_", "-")
	return strings.HasPrefix(plain, "x-forwarded-") || strings.HasPrefix(plain, "sluice-") ||
		slices.Contains([]string{"forwarded", "x-real-ip", "x-request-id", "proxy"}, plain) ||
		plain != name && (hopByHop(plain) || plain == "content-length" || plain == "transfer-encoding")
}

// ownOfAnswers tells the fields by which the proxy speaks of itself.
func ownOfAnswers(name string) bool {
	return slices.Contains([]string{"sluice-reason", "sluice-explain", "sluice-explanation"}, name)
}

// makeOriginForm splits an absolute form into the target and Host.
func makeOriginForm(m *wireMessage, x *passage) {
	scheme, rest, absolute := strings.Cut(wireTarget(m), "://")
	if s := strings.ToLower(scheme); !absolute || s != "http" && s != "https" {
		return
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	switch {
	case path == "" && x.trial.method == "OPTIONS": // RFC 9112 section 3.2.4
		path = "*"
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	m.start = fmt.Sprintf("%s %s HTTP/1.1", x.trial.method, path)
	dropping(func(name string) bool { return name == "host" })(m, x)
	m.fields = slices.Insert(m.fields, 0, "Host: "+authority)
}

// wireTarget returns the target of a request.
func wireTarget(m *wireMessage) string {
	parts := strings.Split(m.start, " ")
	return parts[min(1, len(parts)-1)]
}

// wireAuthority returns whom a request is for.
func wireAuthority(m *wireMessage) string {
	if t := wireTarget(m); t != "" && t[0] != '/' && t != "*" {
		_, rest, _ := strings.Cut(t, "://")
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			rest = rest[:i]
		}
		return rest
	}
	return strings.Join(m.values("host"), ",")
}

// someID stands for an identifier that differs with each request.
const someID = "X-Request-Id: (a UUID of version 7)"

var uuid7 = regexp.MustCompile(`^X-Request-Id: [0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// hideID puts someID in the place of an identifier of the right form at the
// end of a request, and returns the identifier.
func (m *wireMessage) hideID() string {
	last := len(m.fields) - 1
	if last < 0 || !uuid7.MatchString(m.fields[last]) {
		return ""
	}
	id := m.fields[last]
	m.fields[last] = someID
	return id
}

func addForwarded(m *wireMessage, x *passage) {
	m.fields = append(m.fields,
		"X-Forwarded-For: 127.0.0.1",
		"X-Forwarded-Proto: http",
		fmt.Sprintf("X-Forwarded-Port: %d", x.port),
		"X-Forwarded-Host: "+wireAuthority(x.request),
		someID)
}

func addPersistence(m *wireMessage, x *passage) {
	switch {
	case m.status() < 200:
	case !x.trial.keep || m.ends == endsByClose:
		m.fields = append(m.fields, "Connection: close")
	case x.trial.old:
		m.fields = append(m.fields, "Connection: keep-alive")
	}
}
