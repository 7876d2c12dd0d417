// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// scripted starts an origin that reads one request head a connection, writes
// text, and then closes the connection, or keeps it open until the client
// goes.
func scripted(t *testing.T, text string, keep bool) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				br := bufio.NewReader(nc)
				for {
					line, err := br.ReadString('\n')
					if err != nil {
						return
					}
					if line == "\r\n" {
						break
					}
				}
				_, _ = io.WriteString(nc, text)
				if keep {
					_, _ = io.Copy(io.Discard, br)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// through starts a proxy in front of an origin's address.
func through(t *testing.T, address string, shape func(*proxy.Options)) (url string) {
	t.Helper()
	p := freeport.One(t)
	b := start(t, shape)
	b.apply(fmt.Sprintf("name: g\nport: %d\nroutes:\n  \"[%s]\": {}\n", p, address))
	return fmt.Sprintf("http://127.0.0.1:%d", p)
}

func TestAnswers(t *testing.T) {
	const get, head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	const old = "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
	long := strings.Repeat("0123456789", 10_000)
	for _, tt := range []struct {
		name, request, answer string
		keep                  bool   // the origin keeps its connection open
		want                  string // exactly what the client gets; "..." ends the comparison
	}{
		{"a length", get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"},
		{"letter case and order stay", get, "HTTP/1.1 200 Fine by me\r\nx-B: 1\r\nX-a: 2\r\ncontent-length: 0\r\n\r\n", true, "HTTP/1.1 200 Fine by me\r\nx-B: 1\r\nX-a: 2\r\ncontent-length: 0\r\nConnection: close\r\n\r\n"},
		{"fields that end here go", get, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\nSluice-Reason: lie\r\nContent-Length: 0\r\n\r\n", true, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"version 1.0 becomes 1.1", get, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na"},
		{"chunks and trailers stay", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\nX-T: v\r\n\r\n", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1;x=y\r\na\r\n0\r\nX-T: v\r\n\r\n"},
		{"chunks are taken off for HTTP/1.0", old, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", true, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"},
		{"a body that ends with the connection", get, "HTTP/1.1 200 OK\r\n\r\nabc", false, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"},
		{"a long body", get, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + long, true, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n" + long},
		{"HEAD has no body", head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"a body behind HEAD is dropped", head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"},
		{"a body behind 204 is dropped", get, "HTTP/1.1 204 No Content\r\n\r\nab", true, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304 keeps its length", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"early hints are passed on", get, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"early hints are withheld from HTTP/1.0", old, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"endless early hints are a 502", get, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 30), true, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + "HTTP/1.1 502 ..."},
		{"switching protocols unasked is a 502", get, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", true, "HTTP/1.1 502 ..."},
		{"what is not HTTP is a 502", get, "hello\r\n", true, "HTTP/1.1 502 ..."},
		{"two lengths are a 502", get, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", true, "HTTP/1.1 502 ..."},
		{"an end before the answer is a 502", get, "", false, "HTTP/1.1 502 ..."},
		{"an end inside the head is a 502", get, "HTTP/1.1 200 OK\r\nX: ", false, "HTTP/1.1 502 ..."},
		{"a head over the limit is a 502", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", true, "HTTP/1.1 502 ..."},
		{"a head of 60 KB is fine", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 60<<10) + "\r\nContent-Length: 1\r\n\r\nz", true, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 60<<10) + "\r\nContent-Length: 1\r\nConnection: close\r\n\r\nz"},
		{"a body cut short stays short", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nab"},
		{"chunks cut short stay unfinished", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n"},
		{"malformed chunks are cut", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := raw(t, through(t, scripted(t, tt.answer, tt.keep), nil), tt.request)
			want, open := strings.CutSuffix(tt.want, "...")
			if open && !strings.HasPrefix(got, want) || !open && got != want {
				t.Errorf("got %.300q, want %.300q", got, tt.want)
			}
		})
	}
}

func TestUnchunkedAnswerCutShortIsReset(t *testing.T) {
	url := through(t, scripted(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", false), nil)
	nc := dial(t, url)
	_, _ = io.WriteString(nc, "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	if b, err := io.ReadAll(nc); err == nil {
		t.Errorf("read %q to a clean end; a client would take it for complete", b)
	}
}

func TestSurplusIsNobodysAnswer(t *testing.T) {
	// Each answer is followed by a second one that nobody asked for.
	url := through(t, scripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", true), nil)
	c := client(t)
	for range 20 {
		if got := get(t, c, url); got.body != "ok" {
			t.Fatalf("body = %q, want ok", got.body)
		}
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	const short = "sluice: {timeouts: {head: 300ms, keep_alive: 300ms, idle: 300ms, first_byte: 300ms}}\n"
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct{ name, answer, request, want string }{
		{"a head that does not become complete is a 408", ok, "GET / HTTP/1.1\r\nHos", "HTTP/1.1 408 "},
		{"a silent connection is closed", ok, "", ""},
		{"an idle connection is closed", ok, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ok},
		{"no answer is a 504", "", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 504 "},
		{"half a head is a 504", "HTTP/1.1 200 OK\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 504 "},
		{"a body that stands still is cut", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"},
		{"a request body that stands still is a 408", "", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab", "HTTP/1.1 408 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := freeport.One(t)
			start(t, nil).apply(gateway("g", p, scripted(t, tt.answer, true)) + short)
			url := local(p)
			if got := raw(t, url, tt.request); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKeptConnectionThatEnded(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method+" over connections that the origin closes while idle", func(t *testing.T) {
			ln := listen(t)
			closed := make(chan struct{}, 1)
			var seen atomic.Int32
			go func() {
				for {
					nc, err := ln.Accept()
					if err != nil {
						return
					}
					r, err := http.ReadRequest(bufio.NewReader(nc))
					if err == nil {
						_, _ = io.Copy(io.Discard, r.Body)
						seen.Add(1)
						_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
					_ = nc.Close()
					closed <- struct{}{}
				}
			}()
			url := through(t, ln.Addr().String(), nil)
			c := client(t)
			const n = 50
			for i := range n {
				var body io.Reader = http.NoBody
				if method == http.MethodPost {
					body = bytes.NewReader([]byte("abc"))
				}
				r, err := c.Do(request(t, method, url, body))
				if err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				if r.StatusCode != http.StatusOK {
					t.Fatalf("request %d: status %d", i, r.StatusCode)
				}
				<-closed
			}
			if seen.Load() != n {
				t.Errorf("the origin saw %d requests, want %d", seen.Load(), n)
			}
		})
	}
}

func TestAnInstanceThatRefusesIsPassedOver(t *testing.T) {
	// The name has two addresses; only one of them serves.
	a := origin(t, named("a"))
	_, portText, _ := net.SplitHostPort(a)
	dns := answering(t, "127.0.0.1", "127.0.0.77")
	url := through(t, "shop.test:"+portText, func(o *proxy.Options) { o.Resolver = dns })
	c := client(t)
	for range 20 {
		if got := get(t, c, url); got.body != "a" {
			t.Fatalf("status %d, body %q; want a", got.status, got.body)
		}
	}
}

// answering starts a DNS server that answers every A question with the given
// IPv4 addresses, and others with none (RFC 1035 section 4).
func answering(t *testing.T, addresses ...string) string {
	t.Helper()
	pc, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5
			if end > n {
				continue
			}
			isA := buf[end-4] == 0 && buf[end-3] == 1
			answer := append([]byte(nil), buf[:end]...)
			answer[2], answer[3] = 0x84, 0
			for i := 6; i < 12; i++ {
				answer[i] = 0
			}
			if isA {
				answer[7] = byte(len(addresses))
				for _, a := range addresses {
					answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
					answer = append(answer, net.ParseIP(a).To4()...)
				}
			}
			_, _ = pc.WriteTo(answer, from)
		}
	}()
	return pc.LocalAddr().String()
}
