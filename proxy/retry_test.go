// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// instance is one that behaves in one way, and counts the requests whose head
// it has read.
type instance struct {
	address string
	seen    atomic.Int64
}

// behaving starts an instance. serve handles the requests of a connection one by
// one, until it returns false; the connection is then closed. Without serve the
// connection is reset before anything is read.
func behaving(t *testing.T, serve func(nc net.Conn, r *http.Request) bool) *instance {
	t.Helper()
	ln := listen(t)
	i := &instance{address: ln.Addr().String()}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			if serve == nil {
				reset(nc)
				continue
			}
			go i.run(nc, serve)
		}
	}()
	return i
}

func (i *instance) run(nc net.Conn, serve func(nc net.Conn, r *http.Request) bool) {
	defer nc.Close()
	for br := bufio.NewReader(nc); ; {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		i.seen.Add(1)
		if !serve(nc, r) {
			return
		}
	}
}

// reset closes a connection so that the other side finds it broken.
func reset(nc net.Conn) {
	_ = nc.(*net.TCPConn).SetLinger(0)
	_ = nc.Close()
}

// telling answers every request with a text, once its body has been read.
func telling(status int, body string) func(net.Conn, *http.Request) bool {
	return func(nc net.Conn, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(nc, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
		return true
	}
}

// saying answers with given bytes, and then closes or resets the connection.
func saying(text string, end func(net.Conn)) func(net.Conn, *http.Request) bool {
	return func(nc net.Conn, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(nc, text)
		end(nc)
		return false
	}
}

func closed(nc net.Conn) { _ = nc.Close() }

// spread starts a proxy with one route whose instances are tried in the order
// given: all requests take the first one that is left.
func spread(t *testing.T, shape func(*routing.Route), addresses ...string) (b *bed, url string) {
	t.Helper()
	b = start(t, nil)
	p := freeport.One(t)
	b.publish(p, shape, addresses...)
	return b, local(p)
}

func (b *bed) publish(port int, shape func(*routing.Route), addresses ...string) {
	b.t.Helper()
	route := routingtest.Route("r", routing.FullWeight)
	route.Balance = "first"
	if shape != nil {
		shape(route)
	}
	route.Instances = instancesAt(addresses...)
	b.revision++
	table := routingtest.Table(b.revision, routingtest.Gateway("g", port, route))
	snapshot, faults := routing.Compile(b.snapshot, table, routing.CompileOptions{})
	if len(faults) > 0 {
		b.t.Fatal(faults)
	}
	b.snapshot = snapshot
	b.server.Publish(snapshot)
}

// retries reads what the only route tells of its retries.
func (b *bed) retries() metrics.RouteRetries {
	for _, g := range b.registry.Gateways() {
		for _, r := range g.Routes() {
			now, _ := r.ReadRetries(0)
			return now
		}
	}
	return metrics.RouteRetries{}
}

// nobody is an address at which no connection is taken: no test is given this
// port.
const nobody = "127.0.0.1:1"

// retrying has a route ask for retries that differ from the default.
func retrying(shape func(*routing.Retries)) func(*routing.Route) {
	return func(r *routing.Route) {
		said := routing.DefaultRetries()
		said.Written = true
		shape(&said)
		r.Retries = routing.PartOf(said)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	on503 := func(r *routing.Retries) { r.Statuses.Add(http.StatusServiceUnavailable) }
	putToo := func(r *routing.Retries) { r.Methods[0] = http.MethodPut }
	readsAndResets := saying("", reset)
	long := strings.Repeat("a", 100<<10)
	for _, tt := range []struct {
		name     string
		method   string
		chunked  bool // the body is under way when the exchange begins
		retries  func(*routing.Route)
		spent    bool                               // a retry is refused for want of budget
		first    func(net.Conn, *http.Request) bool // of the first instance
		refuses  bool                               // nobody is the first instance
		resets   bool                               // it resets before it reads
		status   int
		reason   string
		body     string
		repeated int64 // requests that the second instance saw
	}{
		{name: "refused, any method", method: "POST", refuses: true, status: 200, body: "second", repeated: 1},
		{name: "refused, a body under way", method: "POST", chunked: true, refuses: true, status: 200, body: "second", repeated: 1},
		{name: "accepted and reset, a safe method", method: "GET", resets: true, status: 200, body: "second", repeated: 1},
		{name: "read and reset, a safe method", method: "GET", first: readsAndResets, status: 200, body: "second", repeated: 1},
		{name: "read and closed, OPTIONS", method: "OPTIONS", first: saying("", closed), status: 200, body: "second", repeated: 1},
		{name: "read and reset, POST", method: "POST", first: readsAndResets, status: 502, reason: "upstream_reset"},
		{name: "read and reset, PUT", method: "PUT", first: readsAndResets, status: 502, reason: "upstream_reset"},
		{name: "read and reset, PUT that is declared", method: "PUT", retries: retrying(putToo), first: readsAndResets, status: 200, body: "second", repeated: 1},
		{name: "read and reset, POST beside PUT that is declared", method: "POST", retries: retrying(putToo), first: readsAndResets, status: 502, reason: "upstream_reset"},
		{name: "read and reset, a body under way of a declared method", method: "PUT", chunked: true, retries: retrying(putToo), first: readsAndResets, status: 502, reason: "upstream_reset"},
		{name: "half a head", method: "GET", first: saying("HTTP/1.1 200 OK\r\nContent-Le", closed), status: 200, body: "second", repeated: 1},
		{name: "half a head, POST", method: "POST", first: saying("HTTP/1.1 200 OK\r\nContent-Le", closed), status: 502, reason: "upstream_reset"},
		{name: "no HTTP", method: "GET", first: saying("220 smtp.example ESMTP\r\n\r\n", closed), status: 200, body: "second", repeated: 1},
		{name: "an answer 1xx was passed on", method: "GET", first: saying("HTTP/1.1 103 Early Hints\r\n\r\n", reset), status: 502, reason: "upstream_reset"},
		{name: "part of a body was passed on", method: "GET", first: saying("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"+long, closed), status: 200, body: long},
		{name: "a status nobody chose", method: "GET", first: telling(503, "first"), status: 503, body: "first"},
		{name: "a chosen status", method: "GET", retries: retrying(on503), first: telling(503, "first"), status: 200, body: "second", repeated: 1},
		{name: "a chosen status whose body is long", method: "GET", retries: retrying(on503), first: telling(503, long), status: 200, body: "second", repeated: 1},
		{name: "a chosen status, HEAD", method: "HEAD", retries: retrying(on503), first: telling(503, ""), status: 200, repeated: 1},
		{name: "a chosen status, POST", method: "POST", retries: retrying(on503), first: telling(503, "first"), status: 503, body: "first"},
		{name: "another status than the chosen one", method: "GET", retries: retrying(on503), first: telling(502, "first"), status: 502, body: "first"},
		{name: "no attempts", method: "GET", retries: retrying(func(r *routing.Retries) { r.Attempts = 0 }), refuses: true, status: 502, reason: "connect_refused"},
		{name: "no budget", method: "GET", retries: retrying(func(r *routing.Retries) { r.Budget, r.Spare = 0, 0 }), spent: true, first: readsAndResets, status: 502, reason: "upstream_reset"},
		{
			name: "no budget, a chosen status", method: "GET", retries: retrying(func(r *routing.Retries) { on503(r); r.Budget, r.Spare = 0, 0 }),
			spent: true, first: telling(503, "first"), status: 503, body: "first",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			second := behaving(t, telling(200, "second"))
			if tt.method == http.MethodHead {
				second = behaving(t, telling(200, ""))
			}
			first := &instance{address: nobody}
			if !tt.refuses {
				first = behaving(t, tt.first)
			}
			b, url := spread(t, tt.retries, first.address, second.address)
			var body io.Reader = http.NoBody
			switch {
			case tt.chunked:
				body = io.MultiReader(strings.NewReader("abc"), strings.NewReader(long)) // of unknown length
			case tt.method == http.MethodPost || tt.method == http.MethodPut:
				body = strings.NewReader("abc")
			}
			resp, err := client(t).Do(request(t, tt.method, url, body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || resp.Header.Get("Sluice-Reason") != tt.reason || tt.reason == "" && string(got) != tt.body {
				t.Errorf("status %d, reason %q, %.80q; want %d, %q, %.80q", resp.StatusCode, resp.Header.Get("Sluice-Reason"), got, tt.status, tt.reason, tt.body)
			}
			if first.seen.Load() > 1 || second.seen.Load() != tt.repeated {
				t.Errorf("the instances saw %d and %d requests, want once at most and %d", first.seen.Load(), second.seen.Load(), tt.repeated)
			}
			eventually(t, "the retry ends with its exchange", func() bool { return b.retries().Budget == 0 })
			if now := b.retries(); now.Begun != uint64(tt.repeated) {
				t.Errorf("%+v, want %d begun", now, tt.repeated)
			}
			if spent := b.retries().Spent == 1; spent != tt.spent {
				t.Errorf("%+v, want a retry for which there is no budget: %v", b.retries(), tt.spent)
			}
		})
	}
}

func TestRetriesGoAsFarAsTheyMay(t *testing.T) {
	t.Parallel()
	fails := func() *instance { return behaving(t, saying("", reset)) }
	all := []*instance{fails(), fails(), fails(), fails(), behaving(t, telling(200, "last"))}
	var addresses []string
	for _, i := range all {
		addresses = append(addresses, i.address)
	}
	b, url := spread(t, nil, addresses...)
	c := client(t)
	for _, tt := range []struct {
		attempts int
		status   int
		seen     string
	}{{2, 502, "11100"}, {3, 502, "11110"}, {0, 502, "10000"}, {4, 200, "11111"}} {
		for _, i := range all {
			i.seen.Store(0)
		}
		b.publish(b.port(), retrying(func(r *routing.Retries) { r.Attempts = tt.attempts }), addresses...)
		got := get(t, c, url)
		var seen strings.Builder
		for _, i := range all {
			fmt.Fprint(&seen, i.seen.Load())
		}
		if got.status != tt.status || seen.String() != tt.seen {
			t.Errorf("%d attempts: status %d, and %s saw it; want %d and %s", tt.attempts, got.status, seen.String(), tt.status, tt.seen)
		}
	}
	if now := b.retries(); now.Begun != 2+3+4 {
		t.Errorf("%+v begun over all tables, want 9", now)
	}
}

// port returns the port of the only gateway.
func (b *bed) port() int { return b.snapshot.Gateways()[0].Port }

// The body of an answer that is not passed on is read as far as it has come, or
// its connection ends: nothing of it is in the next answer.
func TestADroppedAnswerIsNobodys(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	first := behaving(t, func(nc net.Conn, r *http.Request) bool {
		if n.Add(1)%2 == 1 {
			return telling(503, "dropped")(nc, r)
		}
		return telling(200, "first")(nc, r)
	})
	second := behaving(t, telling(200, "second"))
	_, url := spread(t, retrying(func(r *routing.Retries) { r.Statuses.Add(503) }), first.address, second.address)
	c := client(t)
	for i := range 20 {
		want := []string{"second", "first"}[i%2]
		if got := get(t, c, url); got.status != http.StatusOK || got.body != want {
			t.Fatalf("request %d: status %d, body %q; want %q", i, got.status, got.body, want)
		}
	}
}

// As many retries as the budget has are under way, and no more, however many
// ask at once; those that may not have the failure of their own instance.
func TestRetryBudgetIsExact(t *testing.T) {
	t.Parallel()
	const clients, share, spare = 20, 20_00, 2
	const most = clients*share/10_000 + spare
	var met, holds sync.WaitGroup
	met.Add(clients)
	holds.Add(1)
	first := behaving(t, func(nc net.Conn, _ *http.Request) bool {
		met.Done()
		met.Wait() // all are under way before one of them fails
		reset(nc)
		return false
	})
	second := behaving(t, func(nc net.Conn, r *http.Request) bool {
		holds.Wait()
		return telling(200, "second")(nc, r)
	})
	b, url := spread(t, retrying(func(r *routing.Retries) { r.Budget, r.Spare = share, spare }), first.address, second.address)
	// Those that fail leave, and make the share smaller: what was decided before
	// stands, so the budget may only be met from below.
	statuses := make(chan int, clients)
	c := client(t)
	for range clients {
		r := request(t, http.MethodGet, url, nil)
		go func() {
			resp, err := c.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			_ = resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	eventually(t, "all have asked for a retry", func() bool {
		now := b.retries()
		return now.Begun+now.Spent == clients
	})
	begun := int(b.retries().Begun)
	holds.Done()
	count := map[int]int{}
	for range clients {
		count[<-statuses]++
	}
	if begun > most || begun <= spare || count[http.StatusOK] != begun || count[http.StatusBadGateway] != clients-begun {
		t.Errorf("%d retries were under way, want %d at most and more than %d; statuses %v", begun, most, spare, count)
	}
	eventually(t, "those without one are counted", func() bool { return b.failures(live.UpstreamReset) == uint64(clients-begun) })
	for _, v := range b.registry.Values() {
		if v.Family.Name != metrics.Retries.Name {
			continue
		}
		want := map[string]int{"connected": begun, "retry_budget_spent": clients - begun}[v.Labels[0].Value]
		if int(v.Value) != want {
			t.Errorf("%s %v = %v, want %d", v.Family.Name, v.Labels, v.Value, want)
		}
	}
}

// No request that is not safe is acted on twice, whatever the instances do.
func TestPostIsNeverActedOnTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards seen
	seen := map[string]int{}
	note := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Header.Get("X-Id")]++
	}
	wild := func(by int64) *instance {
		var n atomic.Int64
		return behaving(t, func(nc net.Conn, r *http.Request) bool {
			note(r)
			_, _ = io.Copy(io.Discard, r.Body)
			switch n.Add(1) % by {
			case 0:
				reset(nc)
				return false
			case 1:
				_, _ = io.WriteString(nc, "HTTP/1.1 200")
				return false
			case 2:
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				return false // without a word
			}
			return telling(200, "ok")(nc, r)
		})
	}
	_, url := spread(t, retrying(func(r *routing.Retries) { r.Statuses.Add(502) }), nobody, wild(5).address, wild(7).address)
	const clients, each = 4, 100
	var wg sync.WaitGroup
	var good atomic.Int64
	for k := range clients {
		c := client(t)
		var list []*http.Request
		for i := range each {
			r := request(t, http.MethodPost, url, strings.NewReader("abc"))
			r.Header.Set("X-Id", fmt.Sprintf("%d-%d", k, i))
			list = append(list, r)
		}
		wg.Go(func() {
			for _, r := range list {
				resp, err := c.Do(r)
				if err != nil {
					t.Errorf("%s: %v", r.Header.Get("X-Id"), err)
					continue
				}
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					good.Add(1)
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	for id, n := range seen {
		if n > 1 {
			t.Errorf("%s was acted on %d times", id, n)
		}
	}
	if good.Load() < clients*each/3 {
		t.Errorf("only %d of %d went well", good.Load(), clients*each)
	}
}

// What failed since it took too long is tried elsewhere, if it is safe.
func TestRetryAfterATimeout(t *testing.T) {
	t.Parallel()
	silent := behaving(t, func(nc net.Conn, _ *http.Request) bool {
		_, _ = nc.Read(make([]byte, 1)) // until the proxy gives up
		return false
	})
	second := behaving(t, telling(200, "second"))
	_, url := spread(t, func(r *routing.Route) {
		r.Timeouts = routing.PartOf(routing.Timeouts{FirstByte: 1500 * time.Millisecond})
	}, silent.address, second.address)
	c := client(t)
	if got := get(t, c, url); got.status != http.StatusOK || got.body != "second" {
		t.Errorf("GET: status %d, body %q; want that of the second instance", got.status, got.body)
	}
	resp, err := c.Do(request(t, http.MethodPost, url, strings.NewReader("abc")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Sluice-Reason"); resp.StatusCode != http.StatusGatewayTimeout || got != "response_timeout" {
		t.Errorf("POST: status %d, reason %q; want 504, response_timeout", resp.StatusCode, got)
	}
}
