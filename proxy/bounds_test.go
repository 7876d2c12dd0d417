// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// bounded starts a proxy with one gateway that has settings, and returns the
// gateway's address.
func bounded(t *testing.T, address, settings string) (b *bed, url string) {
	t.Helper()
	p := freeport.One(t)
	b = start(t, nil)
	b.apply(gateway("g", p, address) + "sluice: {" + settings + "}\n")
	return b, local(p)
}

// failures counts what the proxy failed for a reason.
func (b *bed) failures(reason live.Reason) (n uint64) {
	for _, g := range b.registry.Gateways() {
		var t metrics.Totals
		g.Read(&t)
		n += t.Reasons[reason]
	}
	return n
}

// upload is an origin that reads what it is sent, and tells how that ended.
func upload(t *testing.T) (address string, ended chan error) {
	t.Helper()
	ended = make(chan error, 10)
	address = origin(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	return address, ended
}

func TestBodyLimit(t *testing.T) {
	const post, chunked = "POST / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	address, _ := upload(t)
	for _, tt := range []struct{ name, settings, request, want string }{
		{"what fits is forwarded", "limits: {body: 5}", post + "Content-Length: 5\r\nConnection: close\r\n\r\nabcde", "HTTP/1.1 200 "},
		{"a longer one is refused by its length", "limits: {body: 4}", post + "Content-Length: 5\r\n\r\nabcde", "HTTP/1.1 413 "},
		{"a length is enough, before any of it comes", "limits: {body: 1MB}", post + "Content-Length: 1048577\r\n\r\n", "HTTP/1.1 413 "},
		{"who asks first is not told to go on", "limits: {body: 4}", post + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "HTTP/1.1 413 "},
		{"chunks that fit together are forwarded", "limits: {body: 5}", chunked + "2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nA: b\r\n\r\n", "HTTP/1.1 200 "},
		{"chunks that do not are refused", "limits: {body: 4}", chunked + "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", "HTTP/1.1 413 "},
		{"the size of a chunk is enough", "limits: {body: 4}", chunked + "fffff\r\n", "HTTP/1.1 413 "},
		{"a request without content has none too much", "limits: {body: 1}", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, url := bounded(t, address, tt.settings)
			nc := dial(t, url)
			if _, err := io.WriteString(nc, tt.request); err != nil {
				t.Fatal(err)
			}
			_ = nc.(*net.TCPConn).CloseWrite()
			got, _ := io.ReadAll(nc)
			if !strings.HasPrefix(string(got), tt.want) {
				t.Errorf("got %.100q, want it to begin with %q", got, tt.want)
			}
		})
	}
}

// endless writes until nobody takes any more.
func endless(nc net.Conn, chunk string) {
	for {
		if _, err := io.WriteString(nc, chunk); err != nil {
			return
		}
	}
}

// An upload under way is stopped, the instance cannot take it for complete,
// and the client gets its answer although it has not stopped writing.
func TestBodyLimitUnderWay(t *testing.T) {
	t.Parallel()
	address, ended := upload(t)
	b, url := bounded(t, address, "limits: {body: 1MB}")
	nc := dial(t, url)
	if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	go endless(nc, "1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n")
	r, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusRequestEntityTooLarge || !r.Close {
		t.Errorf("status %d, close %v; want 413 and the end", r.StatusCode, r.Close)
	}
	if err := <-ended; err == nil {
		t.Error("the instance took what it got for a whole request")
	}
	eventually(t, "it is counted", func() bool { return b.failures(live.BodyTooLarge) == 1 })
}

func TestBodyLimitOfAChain(t *testing.T) {
	address, _ := upload(t)
	p, q := freeport.One(t), freeport.One(t)
	b := start(t, nil)
	b.apply(fmt.Sprintf("{name: front, port: %d, routes: back, sluice: {limits: {body: 4}}}\n", p) +
		gateway("back", q, address) + "sluice: {limits: {body: unlimited}}\n")
	const request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde"
	if got := raw(t, local(p), request); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("through the gateway in front: got %.60q, want 413", got)
	}
	if got := raw(t, local(q), request); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("at the gateway behind: got %.60q, want 200", got)
	}
}

// Heads on a shared port are read by the largest limits there, and then held
// to those of their gateway.
func TestHeadsOfVirtualHosts(t *testing.T) {
	p := freeport.One(t)
	address := origin(t, named("a"))
	b := start(t, func(o *proxy.Options) { o.VirtualHostsPort = p })
	b.apply(gateway("wide", freeport.One(t), address) +
		"virtual_hosts: wide.example\nsluice: {limits: {head: 128KB, fields: 500, target: 64KB}, timeouts: {head: 20s}}\n" +
		gateway("narrow", freeport.One(t), address) +
		"virtual_hosts: narrow.example\nsluice: {limits: {head: 2KB, fields: 20, target: 100}, timeouts: {head: 10ms}}\n")
	field := strings.Repeat("X-A: b\r\n", 30)
	for _, tt := range []struct{ name, host, target, fields, want string }{
		{"a large head fits the wide one", "wide", "/", "X-A: " + strings.Repeat("b", 100_000) + "\r\n", "200"},
		{"but not the narrow one", "narrow", "/", "X-A: " + strings.Repeat("b", 3000) + "\r\n", "431"},
		{"many fields fit the wide one", "wide", "/", strings.Repeat(field, 10), "200"},
		{"but not the narrow one", "narrow", "/", field, "431"},
		{"a long target fits the wide one", "wide", "/" + strings.Repeat("a", 60_000), "", "200"},
		{"but not the narrow one", "narrow", "/" + strings.Repeat("a", 100), "", "414"},
		{"and its host counts with it", "narrow", "http://narrow.example/" + strings.Repeat("a", 90), "", "414"},
		{"what fits the narrow one is served", "narrow", "/" + strings.Repeat("a", 99), "", "200"},
		{"what fits none is refused", "wide", "/" + strings.Repeat("a", 70_000), "", "414"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := raw(t, local(p), "GET "+tt.target+" HTTP/1.1\r\nHost: "+tt.host+".example\r\nConnection: close\r\n"+tt.fields+"\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 "+tt.want+" ") {
				t.Errorf("got %.60q, want %s", got, tt.want)
			}
		})
	}
	for host, want := range map[string]string{"wide": "200", "narrow": "408"} {
		// The proxy may see both parts of a head at once, if it comes to see the
		// first one late.
		eventually(t, "a slow head for "+host+" is answered "+want, func() bool {
			nc := dial(t, local(p))
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\n"); err != nil {
				t.Fatal(err)
			}
			wait(t, 300*time.Millisecond)
			if _, err := io.WriteString(nc, "Host: "+host+".example\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(nc)
			return strings.HasPrefix(string(got), "HTTP/1.1 "+want+" ")
		})
	}
}

// wait lets time pass: what is tested is that it does.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// A change holds for the next exchange, also on a connection that is there;
// what is under way keeps what it began with.
func TestBoundsOfAChange(t *testing.T) {
	address, ended := upload(t)
	p := freeport.One(t)
	b := start(t, nil)
	b.apply(gateway("g", p, address))
	k := keep(t, local(p))
	const first, second = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", "5\r\nabcde\r\n0\r\n\r\n"
	if _, err := io.WriteString(k.Conn, first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the exchange is under way", func() bool { return b.inFlight() == 1 })
	b.apply(gateway("g", p, address) + "sluice: {limits: {body: 3}, timeouts: {total: 10ms}}\n")
	if _, err := io.WriteString(k.Conn, second); err != nil {
		t.Fatal(err)
	}
	if a, _ := k.receive(t); a.status != http.StatusOK {
		t.Fatalf("the upload under way got %d, want 200", a.status)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.apply(gateway("g", p, address) + "sluice: {limits: {body: 3}}\n") // in as much time as it takes
	if _, err := io.WriteString(k.Conn, first+second); err != nil {
		t.Fatal(err)
	}
	if a, _ := k.receive(t); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("the next one on the same connection got %d, want 413", a.status)
	}
}

// dripping is an origin that sends a byte at a time, n of them, or until it
// cannot.
func dripping(t *testing.T, every time.Duration, n int) string {
	t.Helper()
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		if n < 100_000 {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for range n {
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
	})
}

func TestTotalTime(t *testing.T) {
	t.Parallel()
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc"
	silent := scripted(t, "", true)
	for _, tt := range []struct {
		name, address, request string
		want                   string
	}{
		{"an instance that is silent", silent, get, "HTTP/1.1 504 "},
		{"an answer that takes too long is cut", dripping(t, 20*time.Millisecond, 100_000), get, "HTTP/1.1 200 "},
		{"content that takes too long", silent, post, "HTTP/1.1 504 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, url := bounded(t, tt.address, "timeouts: {total: 2s}")
			nc := dial(t, url)
			if _, err := io.WriteString(nc, tt.request); err != nil {
				t.Fatal(err)
			}
			br := bufio.NewReader(nc)
			r, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if got := fmt.Sprintf("HTTP/1.1 %d ", r.StatusCode); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			_, err = io.Copy(io.Discard, r.Body)
			if cut := r.StatusCode == http.StatusOK; cut != (err != nil) {
				t.Errorf("the content ended with %v", err)
			}
			eventually(t, "it is counted", func() bool { return b.failures(live.ExchangeTimeout) == 1 })
		})
	}
}

func TestTotalTimeEndsWithItsExchange(t *testing.T) {
	t.Parallel()
	_, url := bounded(t, origin(t, named("a")), "timeouts: {total: 4s}")
	c := client(t)
	for began := time.Now(); time.Since(began) < 4500*time.Millisecond; {
		if got := get(t, c, url); got.status != http.StatusOK {
			t.Fatalf("status %d after %v on a connection that was there before", got.status, time.Since(began))
		}
	}
}

func TestMinimumRate(t *testing.T) {
	t.Parallel()
	const post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
	address, _ := upload(t)
	for _, tt := range []struct {
		name, head, piece, end string
		want                   string
	}{
		{"content of known length that drips in", post + "Content-Length: 100000\r\n\r\n", "x", "", "HTTP/1.1 408 "},
		{"chunks that drip in", post + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "", "HTTP/1.1 408 "},
		{"long content that drips in", post + "Content-Length: 10000000\r\n\r\n", "x", "", "HTTP/1.1 408 "},
		{"content that comes slowly but steadily", post + "Content-Length: 120000\r\n\r\n", strings.Repeat("x", 2000), "", "HTTP/1.1 200 "},
		{"chunks that come slowly but steadily", post + "Transfer-Encoding: chunked\r\n\r\n", "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n", "0\r\n\r\n", "HTTP/1.1 200 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, url := bounded(t, address, "limits: {min_rate: 1KB over 2s}")
			nc := dial(t, url)
			go func() {
				_, err := io.WriteString(nc, tt.head)
				for k := 0; err == nil && k < 60; k++ {
					wait(t, 50*time.Millisecond)
					_, err = io.WriteString(nc, tt.piece)
				}
				_, _ = io.WriteString(nc, tt.end)
			}()
			got, _ := io.ReadAll(nc)
			if !strings.HasPrefix(string(got), tt.want) {
				t.Errorf("got %.60q, want it to begin with %q", got, tt.want)
			}
		})
	}
}

func TestSlowReader(t *testing.T) {
	t.Parallel()
	const size = 256 << 20 // more than buffers hold
	for _, tt := range []struct{ name, length string }{
		{"an answer of known length", strconv.Itoa(size)},
		{"an answer in chunks", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stopped := make(chan error, 1)
			address := origin(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.length != "" {
					w.Header().Set("Content-Length", tt.length)
				}
				piece := make([]byte, 1<<20)
				var err error
				for sent := 0; sent < size && err == nil; sent += len(piece) {
					_, err = w.Write(piece)
				}
				stopped <- err
			})
			b, url := bounded(t, address, "limits: {min_rate: 1KB over 1s}")
			nc := dial(t, url)
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if err := <-stopped; err == nil {
				t.Error("the instance sent all, and nobody took it")
			}
			eventually(t, "it is counted", func() bool { return b.failures(live.ClientTooSlow) == 1 })
			if n, err := io.Copy(io.Discard, nc); err == nil || errors.Is(err, io.EOF) || n >= size {
				t.Errorf("the client read %d bytes and %v, want a reset", n, err)
			}
		})
	}
}

// Nobody is to blame for an instance that takes its time.
func TestMinimumRateSparesClientsOfSlowInstances(t *testing.T) {
	t.Parallel()
	_, url := bounded(t, dripping(t, 100*time.Millisecond, 25), "limits: {min_rate: 1MB over 1s}")
	if got := get(t, client(t), url); got.body != strings.Repeat("x", 25) {
		t.Errorf("got %q, want all 25 bytes", got.body)
	}
}
