// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// lines is a log that may be written to from any goroutine.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

func TestConnectionsBeyondTheBoundAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		shape  func(*proxy.Options)
		status int
		reason string
	}{
		{"of all", func(o *proxy.Options) { o.Connections = 2 }, http.StatusServiceUnavailable, "connection_limit"},
		{"of one address", func(o *proxy.Options) { o.ConnectionsPerAddress = 2 }, http.StatusTooManyRequests, "address_limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := through(t, origin(t, named("a")), tt.shape)
			held := []*kept{keep(t, url), keep(t, url)}
			for _, k := range held {
				k.send(t, "/")
				if a, _ := k.receive(t); a.body != "a" {
					t.Fatalf("got %d %q within the bound", a.status, a.body)
				}
			}
			beyond := keep(t, url)
			beyond.send(t, "/")
			a, last := beyond.receive(t)
			if a.status != tt.status || a.header.Get("Sluice-Reason") != tt.reason || a.header.Get("Retry-After") == "" || !last {
				t.Errorf("got %d, Sluice-Reason %q, Retry-After %q, last %v; want %d, %s, one, true",
					a.status, a.header.Get("Sluice-Reason"), a.header.Get("Retry-After"), last, tt.status, tt.reason)
			}
			beyond.expectEnd(t)
			held[0].send(t, "/")
			if a, _ := held[0].receive(t); a.body != "a" {
				t.Errorf("got %d %q on a connection within the bound", a.status, a.body)
			}
			_ = held[0].Close()
			eventually(t, "there is room again", func() bool {
				k := keep(t, url)
				defer k.Close()
				k.send(t, "/")
				a, _ := k.receive(t)
				return a.body == "a"
			})
		})
	}
}

// Many clients come by the address of a proxy in front.
func TestTrustedProxiesHaveNoBoundByAddress(t *testing.T) {
	trust, err := http1.NewTrust([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	url := through(t, origin(t, named("a")), func(o *proxy.Options) {
		o.ConnectionsPerAddress, o.Trust = 1, trust
	})
	for range 3 {
		k := keep(t, url) // until the test ends
		k.send(t, "/")
		if a, _ := k.receive(t); a.body != "a" {
			t.Errorf("got %d %q, want the answer", a.status, a.body)
		}
	}
}

func TestTCPConnectionsBeyondTheBoundAreReset(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, func(o *proxy.Options) { o.Connections = 1 })
	bed.apply(fmt.Sprintf("{name: g, port: %d/tcp, routes: {\"[%s]\": {}}}", p, banner(t)))
	within := dial(t, local(p))
	if _, err := within.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	beyond, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", p))
	if err == nil { // it may come while dialing
		defer beyond.Close()
		_, err = io.ReadAll(beyond)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("beyond the bound: %v, want a reset", err)
	}
}

func TestFloodOfConnectionsLeavesThoseWithinTheBoundAlone(t *testing.T) {
	var log lines
	url := through(t, origin(t, named("a")), func(o *proxy.Options) {
		o.Connections = 1
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	k := keep(t, url)
	k.send(t, "/")
	k.receive(t)
	began := time.Now()
	for range 300 {
		_ = dial(t, url)
	}
	for range 10 {
		k.send(t, "/")
		if a, _ := k.receive(t); a.body != "a" {
			t.Fatalf("got %d %q during a flood", a.status, a.body)
		}
	}
	eventually(t, "the log tells of it", func() bool { return log.count("connections refused") > 0 })
	if n, most := log.count("connections refused"), 2+int(time.Since(began)/time.Second); n > most {
		t.Errorf("%d log entries of 300 refusals, want one a second, %d", n, most)
	}
}

// straining makes a proxy whose memory the test sets, in percent of its limit.
func straining(t *testing.T, h http.HandlerFunc) (url string, used *atomic.Uint64) {
	t.Helper()
	used = new(atomic.Uint64)
	url = through(t, origin(t, h), func(o *proxy.Options) {
		o.Memory = func() (uint64, uint64) { return used.Load(), 100 }
	})
	return url, used
}

func TestConnectionsAreNotKeptWhileMemoryIsTight(t *testing.T) {
	url, used := straining(t, named("a"))
	idle, busy := keep(t, url), keep(t, url)
	for _, k := range []*kept{idle, busy} {
		k.send(t, "/")
		k.receive(t)
	}
	_, _ = io.WriteString(busy, "GET / HT") // no longer one that waits for a request
	used.Store(85)
	idle.expectEnd(t)
	_, _ = io.WriteString(busy, "TP/1.1\r\nHost: a\r\n\r\n")
	if a, last := busy.receive(t); a.body != "a" || !last {
		t.Errorf("got %d %q, last %v; want an answer that is the last one", a.status, a.body, last)
	}
	busy.expectEnd(t)
	fresh := keep(t, url)
	fresh.send(t, "/")
	if a, last := fresh.receive(t); a.body != "a" || !last {
		t.Errorf("a new connection got %d %q, last %v; want one answer", a.status, a.body, last)
	}
	used.Store(10)
	eventually(t, "connections are kept again", func() bool {
		k := keep(t, url)
		defer k.Close()
		k.send(t, "/")
		_, last := k.receive(t)
		return !last
	})
}

func TestRequestsAreRefusedWhileMemoryIsShort(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	url, used := straining(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-release
		}
		_, _ = io.WriteString(w, "done")
	})
	underWay, half := keep(t, url), keep(t, url)
	underWay.send(t, "/slow")
	<-began
	_, _ = io.WriteString(half, "GET / HT")
	used.Store(95)
	eventually(t, "new connections are refused", func() bool {
		k := keep(t, url)
		defer k.Close()
		k.send(t, "/")
		a, _ := k.receive(t)
		return a.status == http.StatusServiceUnavailable && a.header.Get("Sluice-Reason") == "overloaded"
	})
	_, _ = io.WriteString(half, "TP/1.1\r\nHost: a\r\n\r\n")
	a, last := half.receive(t)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Sluice-Reason") != "overloaded" || a.header.Get("Retry-After") == "" || !last {
		t.Errorf("a new request got %d, %v, last %v; want 503 overloaded, and the end", a.status, a.header, last)
	}
	close(release)
	if a, _ := underWay.receive(t); a.body != "done" {
		t.Errorf("what was under way got %d %q, want its answer", a.status, a.body)
	}
}

// Of many connections that wait, those go first that have waited longest.
func TestOldestIdleConnectionsAreClosedFirst(t *testing.T) {
	var once atomic.Uint64 // what the memory is seen at, one time
	p := freeport.One(t)
	b := start(t, func(o *proxy.Options) {
		o.Memory = func() (uint64, uint64) { return once.Swap(0), 100 }
	})
	b.apply(gateway("g", p, origin(t, named("a"))))
	url := local(p)
	const few = 64 // as many as go at a time
	conns := make([]*kept, 3*few)
	ask := func(k *kept) (last bool) {
		_ = k.SetDeadline(time.Now().Add(time.Minute)) // for each, on a busy machine
		k.send(t, "/")
		a, last := k.receive(t)
		if a.body != "a" {
			t.Fatalf("got %d %q", a.status, a.body)
		}
		// It waits from when its exchange is over, which may be after its answer.
		eventually(t, "the exchange is over", func() bool {
			var totals metrics.Totals
			b.registry.Gateways()[0].Read(&totals)
			return totals.InFlight == 0
		})
		return last
	}
	for i := range conns {
		conns[i] = keep(t, url)
		ask(conns[i])
	}
	for _, k := range conns[:few] { // they are the youngest now
		ask(k)
	}
	// Those between the two halves may have begun to wait in another order than
	// their answers came.
	once.Store(85)
	for _, k := range conns[few : few+few/2] {
		k.expectEnd(t)
	}
	eventually(t, "connections are kept again", func() bool {
		k := keep(t, url)
		defer k.Close()
		return !ask(k)
	})
	for _, k := range append(conns[:few:few], conns[2*few+few/2:]...) {
		if ask(k) {
			t.Error("a younger connection is closed, too")
		}
	}
}

func TestRequestsBeyondTheBoundAreRefused(t *testing.T) {
	b := block(t)
	url := through(t, b.address, func(o *proxy.Options) { o.Requests = 1 })
	first, second := keep(t, url), keep(t, url)
	first.send(t, "/wait")
	<-b.arrived
	for range 2 { // the connection is kept
		second.send(t, "/")
		a, last := second.receive(t)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Sluice-Reason") != "overloaded" || a.header.Get("Retry-After") == "" || last {
			t.Errorf("got %d, %v, last %v; want 503 overloaded on a connection that is kept", a.status, a.header, last)
		}
	}
	_, _ = io.WriteString(second, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na")
	if a, last := second.receive(t); a.status != http.StatusServiceUnavailable || !last {
		t.Errorf("with a body under way, got %d, last %v; want 503 and the end", a.status, last)
	}
	close(b.released)
	if a, _ := first.receive(t); a.body != longBody {
		t.Errorf("what was under way got %d, want its answer", a.status)
	}
	third := keep(t, url)
	eventually(t, "it has ended", func() bool {
		third.send(t, "/")
		a, _ := third.receive(t)
		return a.body == longBody
	})
	for range 3 {
		third.send(t, "/")
		if a, _ := third.receive(t); a.body != longBody {
			t.Errorf("after it had ended, got %d", a.status)
		}
	}
}

func TestConnectionsOfAGatewayAreBounded(t *testing.T) {
	a := origin(t, named("a"))
	ports, err := freeport.Take(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	bed := start(t, nil)
	text := "---\nname: bound\nport: %d\nsluice: {limits: {connections: %d}}\nroutes: {\"[%s]\": {}}\n"
	bed.apply(fmt.Sprintf(text, ports[0], 1, a) + gateway("other", ports[1], a))
	ask := func(k *kept) (reason string) {
		k.send(t, "/")
		got, _ := k.receive(t)
		return got.header.Get("Sluice-Reason")
	}
	first := keep(t, local(ports[0]))
	if got := ask(first); got != "" {
		t.Fatalf("the first of one: %s", got)
	}
	if got := ask(keep(t, local(ports[0]))); got != "connection_limit" {
		t.Errorf("the second of one: %q, want connection_limit", got)
	}
	if got := ask(keep(t, local(ports[1]))); got != "" {
		t.Errorf("at another gateway: %s", got)
	}
	bed.apply(fmt.Sprintf(text, ports[0], 2, a) + gateway("other", ports[1], a))
	if got := ask(keep(t, local(ports[0]))); got != "" {
		t.Errorf("with a larger bound: %s", got)
	}
	if got := ask(first); got != "" {
		t.Errorf("on the first one: %s", got)
	}
}
