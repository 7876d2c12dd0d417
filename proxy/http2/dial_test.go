// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// instance starts a server of Go's own that speaks HTTP/2 without TLS.
func instance(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	tb.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dial opens a connection to an instance, and ends it with the test.
func dial(tb testing.TB, addr string) *http2.Conn {
	tb.Helper()
	nc, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	sweeper := sweep(tb)
	sc, err := sweeper.Open(nc.(*net.TCPConn))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := http2.Dial(sc, sweeper, nil)
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(nil) })
	tb.Cleanup(func() {
		c.Abort()
		wg.Wait()
	})
	return c
}

func lane(tb testing.TB, c *http2.Conn) *socket.Conn {
	tb.Helper()
	l, ok := c.Lane()
	if !ok {
		tb.Fatal("no room for a stream")
	}
	return l
}

// answer is what came of a request.
type answer struct {
	status  int
	trailer http.Header
}

// ask sends a request over a conversation and reads its answer, interim ones
// before it left out.
func ask(l *socket.Conn, request string) (answer, string, error) {
	if request != "" { // else somebody sends one
		if _, err := l.WriteWithin([]byte(request), patience); err != nil {
			return answer{}, "", err
		}
	}
	method, _, _ := strings.Cut(request, " ")
	in, q := bufio.NewReader(l), &http.Request{Method: method}
	a, err := http.ReadResponse(in, q)
	if err == nil && a.StatusCode < http.StatusOK {
		_ = a.Body.Close()
		a, err = http.ReadResponse(in, q)
	}
	if err != nil {
		return answer{}, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return answer{a.StatusCode, a.Trailer}, string(b), err
}

func TestInstancesAreAsked(t *testing.T) {
	c := dial(t, instance(t, echo))
	var wg sync.WaitGroup
	for range 20 {
		l := lane(t, c)
		wg.Go(func() {
			defer l.Close()
			for i := range 20 {
				body := strings.Repeat("x", i*i*200)
				request := "POST /there HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
				if body != "" {
					request += hex(len(body)) + "\r\n" + body + "\r\n"
				}
				_, got, err := ask(l, request+"0\r\n\r\n")
				if want := "POST shop /there " + body; err != nil || got != want {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
					return
				}
				if !l.Alive() {
					t.Error("the conversation takes no further exchange")
				}
			}
		})
	}
	wg.Wait()
	if n := c.Streams(); n != 0 {
		t.Errorf("%d streams are open, want none", n)
	}
}

func hex(n int) string {
	if n < 16 {
		return string("0123456789abcdef"[n])
	}
	return hex(n/16) + hex(n%16)
}

func TestAnswersOfInstancesBecomeText(t *testing.T) {
	c := dial(t, instance(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/sized":
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		case "/trailers":
			w.Header().Set("Trailer", "Sum")
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("Sum", "7")
		case "/early":
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "late")
		}
	}))
	for _, tt := range []struct {
		name, request, body, trailer string
		status                       int
	}{
		{"without content", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "", "", 204},
		{"with a length", "GET /sized HTTP/1.1\r\nHost: a\r\n\r\n", "hello", "", 200},
		{"to HEAD", "HEAD /sized HTTP/1.1\r\nHost: a\r\n\r\n", "", "", 200},
		{"with trailers", "GET /trailers HTTP/1.1\r\nHost: a\r\n\r\n", "hello", "7", 200},
		{"behind an interim one", "GET /early HTTP/1.1\r\nHost: a\r\n\r\n", "late", "", 200},
		{"empty", "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "", "", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lane(t, c)
			defer l.Close()
			for range 2 {
				a, body, err := ask(l, tt.request)
				if err != nil || body != tt.body || a.status != tt.status || a.trailer.Get("Sum") != tt.trailer {
					t.Errorf("answer %d %q %v, %v, want %d %q %q", a.status, body, a.trailer, err, tt.status, tt.body, tt.trailer)
				}
			}
		})
	}
}

func TestEndOfAConnectionEndsItsConversations(t *testing.T) {
	asked := make(chan struct{})
	release := make(chan struct{})
	c := dial(t, instance(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	t.Cleanup(func() { close(release) })
	resting, busy := lane(t, c), lane(t, c)
	defer resting.Close()
	defer busy.Close()
	failed := make(chan error)
	go func() {
		_, _, err := ask(busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		failed <- err
	}()
	<-asked
	c.Abort()
	if err := <-failed; err == nil {
		t.Error("an answer that never came is none")
	}
	if resting.Alive() || busy.Alive() {
		t.Error("conversations outlive their connection")
	}
	_, err := resting.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	if e, ok := errors.AsType[*socket.WriteError](err); !ok || !e.Unsent {
		t.Errorf("what is written then ends with %v, want an error that says it was not sent", err)
	}
}

// What an instance allows is known once it is ready.
func TestInstancesSayWhatTheyAllow(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
	s.Start()
	t.Cleanup(s.Close)
	c := dial(t, s.Listener.Addr().String())
	<-c.Ready()
	if n := c.Allowed(); n != 3 {
		t.Errorf("%d streams are allowed, want 3", n)
	}
	for range 3 {
		defer lane(t, c).Close()
	}
	if l, ok := c.Lane(); ok {
		_ = l.Close()
		t.Error("there is room for more streams than are allowed")
	}
}
