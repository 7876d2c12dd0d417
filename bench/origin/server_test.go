// SPDX-License-Identifier: Apache-2.0

package origin_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/origin"
)

// patience bounds how long a test waits for an answer. It is only used up
// where something is wrong.
const patience = time.Minute

// engines are the ways to serve. All do the same.
var engines = []struct {
	name string
	run  func(*origin.Server, context.Context) error
}{
	{"own", (*origin.Server).Run},
	{"plain", (*origin.Server).RunPlain},
}

// start serves at n addresses until the test ends.
func start(t *testing.T, run func(*origin.Server, context.Context) error, n int) []string {
	t.Helper()
	var o origin.Options
	for range n {
		o.Addresses = append(o.Addresses, "127.0.0.1:0")
	}
	s, err := origin.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(s, ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return s.Addresses()
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// send writes all of it from a goroutine of its own, as the origin may not
// read on before its answers are read.
func send(t *testing.T, c net.Conn, pieces ...string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, p := range pieces {
			if _, err := io.WriteString(c, p); err != nil {
				return // the test sees what is missing
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
}

// seen is an answer as a client sees it.
type seen struct {
	status int
	length int64 // as the head says
	body   int   // bytes that came
	close  bool
}

func (s seen) String() string {
	return fmt.Sprintf("%d with %d of %d bytes, close %t", s.status, s.body, s.length, s.close)
}

// answers reads the answers to requests of some methods; then the connection
// has to be at its end if the last answer says so.
func answers(t *testing.T, c net.Conn, methods ...string) (all []seen) {
	t.Helper()
	r := bufio.NewReader(c)
	for _, m := range methods {
		resp, err := http.ReadResponse(r, &http.Request{Method: m})
		if err != nil {
			t.Fatalf("after %v: %v", all, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("after %v: %v", all, err)
		}
		_ = resp.Body.Close()
		if len(bytes.Trim(body, "x")) > 0 {
			t.Errorf("a body of other bytes than x: %.40q", body)
		}
		all = append(all, seen{resp.StatusCode, resp.ContentLength, len(body), resp.Close})
	}
	if len(all) > 0 && all[len(all)-1].close {
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("after the last answer: %q, %v; want the end", rest, err)
		}
	}
	return all
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const host = "Host: a\r\n"
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + host + "\r\n" }
	ok := seen{200, 128, 128, false}
	refused := func(status int) seen { return seen{status, 0, 0, true} }
	for _, tt := range []struct {
		name, sent string
		method     string // of all requests; GET if empty
		want       []seen
	}{
		{"the root has 128 bytes", get("/"), "", []seen{ok}},
		{"a query does not count", get("/?q=/bytes/1"), "", []seen{ok}},
		{"a body of no bytes", get("/bytes/0"), "", []seen{{200, 0, 0, false}}},
		{"a body of one byte", get("/bytes/1?q"), "", []seen{{200, 1, 1, false}}},
		{"a body larger than one write", get("/bytes/3000000"), "", []seen{{200, 3_000_000, 3_000_000, false}}},
		{"a body that is too large", get("/bytes/1073741825"), "", []seen{{404, 0, 0, false}}},
		{"a body that is much too large", get("/bytes/99999999999999999999999"), "", []seen{{404, 0, 0, false}}},
		{"a body of no number", get("/bytes/1k"), "", []seen{{404, 0, 0, false}}},
		{"a body of a negative number", get("/bytes/-1"), "", []seen{{404, 0, 0, false}}},
		{"a delay", get("/delay/1ms"), "", []seen{ok}},
		{"a delay with a size", get("/delay/1ms/10"), "", []seen{{200, 10, 10, false}}},
		{"no delay at all", get("/delay/0s/10"), "", []seen{{200, 10, 10, false}}},
		{"a delay without unit", get("/delay/1"), "", []seen{{404, 0, 0, false}}},
		{"a negative delay", get("/delay/-1s"), "", []seen{{404, 0, 0, false}}},
		{"a delay that is too long", get("/delay/11m"), "", []seen{{404, 0, 0, false}}},
		{"a delay with a wrong size", get("/delay/1ms/x"), "", []seen{{404, 0, 0, false}}},
		{"an unknown path", get("/other"), "", []seen{{404, 0, 0, false}}},
		{"a target with its authority", get("http://a/bytes/7"), "", []seen{{200, 7, 7, false}}},
		{"a target with its authority alone", get("http://a"), "", []seen{ok}},
		{"the asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "OPTIONS", []seen{{404, 0, 0, false}}},
		{"HEAD has no body", "HEAD /bytes/77 HTTP/1.1\r\n" + host + "\r\n", "HEAD", []seen{{200, 77, 0, false}}},
		{"HEAD of a large body, and what follows it", strings.Repeat("HEAD /bytes/900000 HTTP/1.1\r\n"+host+"\r\n", 2), "HEAD", []seen{{200, 900_000, 0, false}, {200, 900_000, 0, false}}},

		{"requests after one another", get("/") + get("/bytes/2") + get("/none") + get("/delay/1ms/3") + get("/"), "", []seen{ok, {200, 2, 2, false}, {404, 0, 0, false}, {200, 3, 3, false}, ok}},
		{"large answers after one another", get("/bytes/2000000") + get("/bytes/2000000") + get("/"), "", []seen{{200, 2_000_000, 2_000_000, false}, {200, 2_000_000, 2_000_000, false}, ok}},
		{"an empty line in front", "\r\n" + get("/"), "", []seen{ok}},

		{"a body with a length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nGET /" + get("/bytes/1"), "", []seen{ok, {200, 1, 1, false}}},
		{"a body of length 0", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n" + get("/bytes/1"), "", []seen{ok, {200, 1, 1, false}}},
		{"a body of a megabyte", "POST / HTTP/1.1\r\n" + host + "content-LENGTH:1000000\t\r\n\r\n" + strings.Repeat("y", 1_000_000) + get("/bytes/1"), "", []seen{ok, {200, 1, 1, false}}},
		{"a body in chunks", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n5\r\nGET /\r\n00A ;a=b\r\n0123456789\r\n0\r\n\r\n" + get("/bytes/1"), "", []seen{ok, {200, 1, 1, false}}},
		{"a body in chunks with trailers", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\nA: b\r\nC: d\r\n\r\n" + get("/bytes/1"), "", []seen{ok, {200, 1, 1, false}}},

		{"close", "GET / HTTP/1.1\r\n" + host + "Connection: Close\r\n\r\n", "", []seen{{200, 128, 128, true}}},
		{"close among others", "GET / HTTP/1.1\r\n" + host + "Connection: x, close ,y\r\n\r\n", "", []seen{{200, 128, 128, true}}},
		{"close after a large body", "GET /bytes/3000000 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "", []seen{{200, 3_000_000, 3_000_000, true}}},
		{"close after a delay", "GET /delay/1ms HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "", []seen{{200, 128, 128, true}}},
		{"close after a body", "POST / HTTP/1.1\r\n" + host + "Connection: close\r\nContent-Length: 3\r\n\r\nabc", "", []seen{{200, 128, 128, true}}},
		{"HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", "", []seen{{200, 128, 128, true}}},
		{"HTTP/1.0 goes on where it asks to", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /bytes/1 HTTP/1.0\r\n\r\n", "", []seen{ok, {200, 1, 1, true}}},
		{"close comes before keep-alive", "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", "", []seen{{200, 128, 128, true}}},

		{"no request", "hello\r\n\r\n", "", []seen{refused(400)}},
		{"no target", "GET HTTP/1.1\r\n" + host + "\r\n", "", []seen{refused(400)}},
		{"a blank in the target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", "", []seen{refused(400)}},
		{"a control character in the target", "GET /\x01 HTTP/1.1\r\n" + host + "\r\n", "", []seen{refused(400)}},
		{"a method that is none", "G(T / HTTP/1.1\r\n" + host + "\r\n", "", []seen{refused(400)}},
		{"no version", "GET /\r\n" + host + "\r\n", "", []seen{refused(400)}},
		{"another version", "GET / HTTP/2.0\r\n" + host + "\r\n", "", []seen{refused(505)}},
		{"another protocol", "GET / HTTPS/1.1\r\n" + host + "\r\n", "", []seen{refused(400)}},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "", []seen{refused(400)}},
		{"two hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", "", []seen{refused(400)}},
		{"a field without colon", "GET / HTTP/1.1\r\n" + host + "A\r\n\r\n", "", []seen{refused(400)}},
		{"a field without name", "GET / HTTP/1.1\r\n" + host + ": a\r\n\r\n", "", []seen{refused(400)}},
		{"a blank before the colon", "GET / HTTP/1.1\r\n" + host + "A : a\r\n\r\n", "", []seen{refused(400)}},
		{"a folded field", "GET / HTTP/1.1\r\n" + host + "A: a\r\n b\r\n\r\n", "", []seen{refused(400)}},
		{"a line that ends without CR", "GET / HTTP/1.1\r\n" + host + "A: a\n\r\n", "", []seen{refused(400)}},
		{"CR inside a line", "GET / HTTP/1.1\r\n" + host + "A: a\rb\r\n\r\n", "", []seen{refused(400)}},
		{"NUL inside a line", "GET / HTTP/1.1\r\n" + host + "A: a\x00b\r\n\r\n", "", []seen{refused(400)}},
		{"two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "", []seen{refused(400)}},
		{"a list of lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n\r\na", "", []seen{refused(400)}},
		{"a length with a sign", "POST / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\na", "", []seen{refused(400)}},
		{"an empty length", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\na", "", []seen{refused(400)}},
		{"a length beyond all bounds", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551617\r\n\r\na", "", []seen{refused(413)}},
		{"a length and chunks", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", []seen{refused(400)}},
		{"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", []seen{refused(400)}},
		{"chunks twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", []seen{refused(400)}},
		{"another encoding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", []seen{refused(501)}},
		{"another expectation", "POST / HTTP/1.1\r\n" + host + "Expect: more\r\n\r\n", "", []seen{refused(417)}},
		{"a chunk without size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n\r\n\r\n", "", []seen{refused(400)}},
		{"a chunk of a wrong size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", "", []seen{refused(400)}},
		{"a chunk of an endless size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1000000000000001\r\na", "", []seen{refused(400)}},
		{"a chunk that is longer than it says", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "", []seen{refused(400)}},
		{"a chunk whose line ends without CR", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", "", []seen{refused(400)}},
		{"a chunk whose line does not end", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", 9<<10), "", []seen{refused(400)}},
		{"a trailer that is no field", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\na\r\n\r\n", "", []seen{refused(400)}},
		{"trailers without end", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a: b\r\n", 12<<10), "", []seen{refused(400)}},
		{"a head that is too large", "GET / HTTP/1.1\r\n" + host + strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 66) + "\r\n", "", []seen{refused(431)}},
		{"a line without end", "GET /" + strings.Repeat("a", 66<<10), "", []seen{refused(431)}},
		{"a good request, then a wrong one", get("/") + "oops\r\n\r\n", "", []seen{ok, refused(400)}},
	} {
		for _, e := range engines {
			t.Run(tt.name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				c := dial(t, start(t, e.run, 1)[0])
				send(t, c, tt.sent)
				method := tt.method
				if method == "" {
					method = http.MethodGet
				}
				methods := make([]string, len(tt.want))
				for i := range methods {
					methods[i] = method
				}
				got := answers(t, c, methods...)
				for i, want := range tt.want {
					if got[i] != want {
						t.Errorf("answer %d to %.100q = %v, want %v", i, tt.sent, got[i], want)
					}
				}
			})
		}
	}
}

func TestPiecesOfARequestMayComeOneByOne(t *testing.T) {
	whole := "POST /bytes/9 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n" +
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			c := dial(t, start(t, e.run, 1)[0])
			if err := c.SetNoDelay(true); err != nil {
				t.Fatal(err)
			}
			send(t, c, strings.Split(whole, "")...)
			got := answers(t, c, "POST", "GET")
			if want := (seen{200, 9, 9, false}); got[0] != want {
				t.Errorf("first answer = %v, want %v", got[0], want)
			}
			if want := (seen{200, 128, 128, false}); got[1] != want {
				t.Errorf("second answer = %v, want %v", got[1], want)
			}
		})
	}
}

func TestWhoAsksBeforeSendingABodyIsToldToGoOn(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			c := dial(t, start(t, e.run, 1)[0])
			r := bufio.NewReader(c)
			for range 2 {
				send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusContinue {
					t.Fatalf("status = %d, want 100", resp.StatusCode)
				}
				send(t, c, "abc")
				if resp, err = http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("status = %d, want 200", resp.StatusCode)
				}
			}
		})
	}
}

func TestWhoAsksAndClosesGetsBoth(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			c := dial(t, start(t, e.run, 1)[0])
			send(t, c, "POST /bytes/4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
			r := bufio.NewReader(c)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if line == "\r\n" {
					break
				}
			}
			send(t, c, "abc")
			rest, err := io.ReadAll(r)
			if err != nil || !strings.HasPrefix(string(rest), "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(string(rest), "\r\n\r\nxxxx") {
				t.Errorf("answer = %q, %v; want 200 with xxxx", rest, err)
			}
		})
	}
}

func TestADelayIsWaitedFor(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			address := start(t, e.run, 1)[0]
			long, short := dial(t, address), dial(t, address)
			began := time.Now()
			send(t, long, "GET /delay/60ms HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n")
			send(t, short, "GET /delay/20ms HTTP/1.1\r\nHost: a\r\n\r\n")
			answers(t, short, "GET")
			if took := time.Since(began); took < 20*time.Millisecond {
				t.Errorf("a delay of 20 ms took %v", took)
			}
			got := answers(t, long, "GET", "GET")
			if took := time.Since(began); took < 60*time.Millisecond {
				t.Errorf("a delay of 60 ms took %v", took)
			}
			if want := (seen{200, 1, 1, false}); got[1] != want {
				t.Errorf("the answer behind a delay = %v, want %v", got[1], want)
			}
		})
	}
}

// A client that does not read its answer keeps nobody else waiting.
func TestASlowReaderStopsOnlyItself(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			address := start(t, e.run, 1)[0]
			slow := dial(t, address)
			const size = 64 << 20 // more than all buffers between the two
			send(t, slow, fmt.Sprintf("GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", size))
			quick := dial(t, address)
			for range 10 {
				send(t, quick, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				answers(t, quick, "GET")
			}
			got := answers(t, slow, "GET", "GET")
			if want := (seen{200, size, size, false}); got[0] != want {
				t.Errorf("the slow reader got %v, want %v", got[0], want)
			}
			if want := (seen{200, 128, 128, false}); got[1] != want {
				t.Errorf("and then %v, want %v", got[1], want)
			}
		})
	}
}

func TestEachAddressIsServed(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			for _, address := range start(t, e.run, 3) {
				c := dial(t, address)
				send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if got, want := answers(t, c, "GET")[0], (seen{200, 128, 128, false}); got != want {
					t.Errorf("%s answers %v, want %v", address, got, want)
				}
			}
		})
	}
}

func TestTheEndClosesAllConnections(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			s, err := origin.Listen(origin.Options{Addresses: []string{"127.0.0.1:0"}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- e.run(s, ctx) }()
			idle, waiting := dial(t, s.Addresses()[0]), dial(t, s.Addresses()[0])
			send(t, waiting, "GET /delay/10m HTTP/1.1\r\nHost: a\r\n\r\n")
			send(t, idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			answers(t, idle, "GET")
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run() = %v, want nil", err)
			}
			for _, c := range []net.Conn{idle, waiting} {
				if n, err := c.Read(make([]byte, 1)); err == nil {
					t.Errorf("Read() = %d bytes after the end, want an error", n)
				}
			}
			if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addresses()[0]); err == nil {
				c.Close()
				t.Error("it still listens after the end")
			}
		})
	}
}

func TestAClientThatGoesDuringADelayIsForgotten(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			address := start(t, e.run, 1)[0]
			for range 20 {
				gone := dial(t, address)
				if err := gone.SetLinger(0); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(gone, "GET /delay/5ms HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				gone.Close()
			}
			c := dial(t, address)
			send(t, c, "GET /delay/10ms HTTP/1.1\r\nHost: a\r\n\r\n")
			answers(t, c, "GET")
		})
	}
}

func TestListenRefuses(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name      string
		addresses []string
		want      string
	}{
		{"no address", nil, "origin: no address to listen on"},
		{"an address without port", []string{"127.0.0.1"}, "missing port in address"},
		{"an address that is taken, and all others with it", []string{"127.0.0.1:0", taken.Addr().String()}, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := origin.Serve(t.Context(), origin.Options{Addresses: tt.addresses})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Serve(%q) = %v, want an error with %q", tt.addresses, err, tt.want)
			}
		})
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := origin.Serve(ctx, origin.Options{Addresses: []string{"127.0.0.1:0"}}); err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
}
