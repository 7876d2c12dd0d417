// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// headEcho answers with the head that it got, a line a field, sorted, and with
// some fields of its own.
func headEcho(w http.ResponseWriter, r *http.Request) {
	lines := []string{"Host: " + r.Host}
	for name, values := range r.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Server", "secret")
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Set("Cache-Control", "public")
	_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+"\n"+strings.Join(lines, "\n")+"\n\n"+string(body))
}

// editing starts a proxy whose one route has some edits, and returns its
// address.
func editing(t *testing.T, edits string) string {
	t.Helper()
	a := origin(t, headEcho)
	p := freeport.One(t)
	start(t, nil).apply(fmt.Sprintf("name: g\nport: %d\nroutes:\n  \"[%s]\":\n%s", p, a, edits))
	return fmt.Sprintf("127.0.0.1:%d", p)
}

// exchangeRaw sends a text and returns the answer's head and body.
func exchangeRaw(t *testing.T, address, request string) (status int, head http.Header, body string) {
	t.Helper()
	nc := dial(t, "http://"+address)
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Close {
		answer.Header.Set("Connection", "close") // which was taken out
	}
	return answer.StatusCode, answer.Header, string(text)
}

func TestRewritesReachTheInstance(t *testing.T) {
	address := editing(t, "    rewrites:\n    - path: /v2%[path] if path_beg /api\n")
	for _, tt := range []struct{ name, request, want string }{
		{"the new path with the query", "GET /api/x?a=b&c HTTP/1.1\r\nHost: h\r\n\r\n", "GET /v2/api/x?a=b&c\n"},
		{"an empty query stays one", "GET /api? HTTP/1.1\r\nHost: h\r\n\r\n", "GET /v2/api?\n"},
		{"an absolute target", "GET http://h/api HTTP/1.1\r\nHost: h\r\n\r\n", "GET /v2/api\n"},
		{"with a body", "POST /api HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "POST /v2/api\n"},
		{"nothing else changes", "GET /other?a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /other?a\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, body := exchangeRaw(t, address, tt.request); !strings.HasPrefix(body, tt.want) {
				t.Errorf("the instance got %q, want %q", body, tt.want)
			}
		})
	}
}

func TestHeaderEdits(t *testing.T) {
	address := editing(t, `
    sluice:
      headers:
        request:
          remove: [X-Debug]
          set: {X-User: "%[urlp(user),url_dec]", Host: "%[hdr(x-host)]", Cookie: c=1}
          add: {X-Many: "two"}
        response:
          remove: Server
          set: {Cache-Control: no-store}
          add: {Set-Cookie: "b=%[urlp(user)]"}
`)
	_, head, body := exchangeRaw(t, address, "POST /?user=ann HTTP/1.1\r\nHost: h\r\nx-debug: 1\r\nX-USER: root\r\nX-Many: one\r\nX-Host: inner.example:81\r\nCookie: a\r\nContent-Length: 3\r\n\r\nabc")
	for _, want := range []string{"\nX-User: ann\n", "\nX-Many: one\nX-Many: two\n", "\nHost: inner.example:81\n", "\nX-Forwarded-Host: h\n", "\nCookie: c=1\n", "\n\nabc"} {
		if !strings.Contains(body, want) {
			t.Errorf("the instance got\n%s\nwant %q in it", body, want)
		}
	}
	for _, not := range []string{"X-Debug", "root", "Cookie: a"} {
		if strings.Contains(body, not) {
			t.Errorf("the instance got\n%s\nwith %q", body, not)
		}
	}
	if got := fmt.Sprint(head["Server"], head["Cache-Control"], head["Set-Cookie"]); got != "[] [no-store] [a=1 b=ann]" {
		t.Errorf("the client got Server, Cache-Control and Set-Cookie %s", got)
	}

	// What is not fit for a head is left out, and what the client wrote there
	// is not believed; Host stays.
	_, _, body = exchangeRaw(t, address, "GET /?user=%0d%0aX-Evil:1 HTTP/1.1\r\nHost: h\r\nX-User: root\r\nX-Host: a b\r\n\r\n")
	if strings.Contains(body, "\nX-Evil") || strings.Contains(body, "X-User") || !strings.Contains(body, "\nHost: h\n") {
		t.Errorf("the instance got\n%s", body)
	}
	_, _, body = exchangeRaw(t, address, "GET http://abs/?user=x HTTP/1.1\r\nHost: h\r\nX-Host: inner\r\n\r\n")
	if strings.Count(body, "Host: inner\n") != 2 || strings.Contains(body, "\nHost: abs\n") || !strings.Contains(body, "\nX-Forwarded-Host: abs\n") {
		t.Errorf("the instance got\n%s", body)
	}
}

func TestHeaderEditsOfAChain(t *testing.T) {
	a := origin(t, headEcho)
	p := freeport.One(t)
	start(t, nil).apply(fmt.Sprintf(`
name: outer
port: %d
routes:
  inner:
    rewrites: {path: "/outer%%[path] if path_beg /"}
    sluice: {headers: {request: {set: {X-A: outer, X-B: outer}, add: {X-C: outer}}}}
---
name: inner
routes:
  "[%s]":
    rewrites: {path: "/inner%%[path] if path_beg /outer"}
    sluice: {headers: {request: {set: {x-a: inner}, remove: [X-B], add: {X-C: inner}}}}
`, p, a))
	_, _, body := exchangeRaw(t, fmt.Sprintf("127.0.0.1:%d", p), "GET /x HTTP/1.1\r\nHost: h\r\nX-A: client\r\n\r\n")
	if !strings.HasPrefix(body, "GET /inner/outer/x\n") || !strings.Contains(body, "\nX-A: inner\nX-C: outer\nX-C: inner\n") && !strings.Contains(body, "\nX-A: inner\nX-C: inner\nX-C: outer\n") ||
		strings.Contains(body, "X-B") {
		t.Errorf("the instance got\n%s", body)
	}
}

func TestRedirects(t *testing.T) {
	address := editing(t, `
    sluice:
      redirect: {to: "https://%[hdr(host)]%[pathq]", code: 308}
      headers: {response: {set: {Strict-Transport-Security: max-age=5}}}
`)
	for _, tt := range []struct {
		name, request, location string
		close                   bool
	}{
		{"path and query", "GET /x?y HTTP/1.1\r\nHost: shop.example\r\n\r\n", "https://shop.example/x?y", false},
		{"with a body that is there", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "https://h/", false},
		{"with a body that is not there yet", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab", "https://h/", true},
		{"to a client of HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\n\r\n", "https://h/", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, head, body := exchangeRaw(t, address, tt.request)
			if status != 308 || head.Get("Location") != tt.location || body != "" || head.Get("Strict-Transport-Security") != "max-age=5" || head.Get("Date") == "" {
				t.Errorf("the answer is %d with %v and the body %q", status, head, body)
			}
			if closes := head.Get("Connection") == "close"; closes != tt.close {
				t.Errorf("Connection: close = %v, want %v", closes, tt.close)
			}
		})
	}
	away := editing(t, "    sluice: {redirect: {to: \"%[path]\"}}\n")
	if status, head, _ := exchangeRaw(t, away, "GET //evil.example HTTP/1.1\r\nHost: h\r\n\r\n"); status != 400 || head.Get("Sluice-Reason") != "bad_request" || head.Get("Location") != "" {
		t.Errorf("a path that is a host is answered %d with %v", status, head)
	}
}
