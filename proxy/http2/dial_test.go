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
func instance(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dial opens a connection to an instance, and ends it with the test.
func dial(t testing.TB, addr string, o *http2.Options) *http2.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	sweeper := sweep(t)
	sc, err := sweeper.Open(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	c, err := http2.Dial(sc, sweeper, o)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(nil) })
	t.Cleanup(func() {
		c.Abort()
		wg.Wait()
	})
	return c
}

func lane(t testing.TB, c *http2.Conn) *socket.Conn {
	t.Helper()
	l, ok := c.Lane()
	if !ok {
		t.Fatal("no room for a stream")
	}
	return l
}

// ask sends a request over a conversation and reads its answer.
func ask(l *socket.Conn, request string) (*http.Response, string, error) {
	if _, err := l.WriteWithin([]byte(request), patience); err != nil {
		return nil, "", err
	}
	method, _, _ := strings.Cut(request, " ")
	a, err := http.ReadResponse(bufio.NewReader(l), &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, string(b), err
}

func TestInstancesAreAsked(t *testing.T) {
	c := dial(t, instance(t, echo), nil)
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
	}), nil)
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
				request := tt.request
				if _, err := l.WriteWithin([]byte(request), patience); err != nil {
					t.Fatal(err)
				}
				method, _, _ := strings.Cut(request, " ")
				in := bufio.NewReader(l)
				a, err := http.ReadResponse(in, &http.Request{Method: method})
				if err == nil && a.StatusCode == http.StatusEarlyHints {
					a, err = http.ReadResponse(in, &http.Request{Method: method})
				}
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(a.Body)
				if err != nil || string(b) != tt.body || a.StatusCode != tt.status || a.Trailer.Get("Sum") != tt.trailer {
					t.Errorf("answer %d %q %v, %v, want %d %q %q", a.StatusCode, b, a.Trailer, err, tt.status, tt.body, tt.trailer)
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
	}), nil)
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
	c := dial(t, s.Listener.Addr().String(), nil)
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
