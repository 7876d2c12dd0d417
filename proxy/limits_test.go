// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
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

// load returns how busy the only route is.
func (b *bed) load() metrics.Load {
	for _, g := range b.registry.Gateways() {
		for _, r := range g.Routes() {
			return r.ReadLoad()
		}
	}
	return metrics.Load{}
}

// answerOf sends a request and returns status, reason and the whole head.
func answerOf(t *testing.T, c *http.Client, url string, fields ...string) (status int, reason string, head http.Header) {
	t.Helper()
	r := request(t, http.MethodGet, url, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Sluice-Reason"), resp.Header
}

func TestRateIsAnswered(t *testing.T) {
	t.Parallel()
	b, url := bounded(t, origin(t, named("a")), "limits: {rate: {requests: 2, per: 1h, burst: 3}}")
	nc := dial(t, url)
	answers := bufio.NewReader(nc)
	for i := range 5 {
		_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("request %d on a connection that is kept: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if i < 3 {
			if resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit-Policy") != "" {
				t.Errorf("request %d: %s %v, want a plain 200", i, resp.Status, resp.Header)
			}
			continue
		}
		wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Sluice-Reason") != "rate_limited" || err != nil || wait < 1700 || wait > 1800 {
			t.Errorf("request %d: %s %v, want 429 rate_limited for half an hour", i, resp.Status, resp.Header)
		}
		if got, want := resp.Header.Get("RateLimit-Policy"), `"gateway";q=2;w=3600`; got != want {
			t.Errorf("RateLimit-Policy: %s, want %s", got, want)
		}
		if got, want := resp.Header.Get("RateLimit"), fmt.Sprintf(`"gateway";r=0;t=%d`, wait); got != want {
			t.Errorf("RateLimit: %s, want %s", got, want)
		}
	}
	eventually(t, "both are counted", func() bool { return b.failures(live.RateLimited) == 2 })
}

func TestRatesOfKeysAndRoutes(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	b := start(t, nil)
	text := fmt.Sprintf(`
name: g
port: %d
sluice: {limits: {rate: [{requests: 5, per: 1h}, {requests: 2, per: 1h, key: header(x-key)}]}}
routes:
  "[%s]": {weight: 100%%}
  "[%s]": {weight: 0%%, condition: path == /slow, sluice: {limits: {rate: {requests: 1, per: 1h, key: ip}}}}
`, p, origin(t, named("a")), origin(t, named("b")))
	b.apply(text)
	c := client(t)
	for i, tt := range []struct {
		key, path string
		status    int
		policy    string
	}{
		{"one", "/", 200, ""},
		{"one", "/", 200, ""},
		{"one", "/", 429, `"gateway-header";q=2;w=3600`},
		{"two", "/slow", 200, ""},
		{"two", "/slow", 429, `"route-ip";q=1;w=3600`},
		{"three", "/", 429, `"gateway";q=5;w=3600`}, // each of the five counted there
	} {
		status, _, head := answerOf(t, c, local(p)+tt.path, "X-Key", tt.key)
		if status != tt.status || head.Get("RateLimit-Policy") != tt.policy {
			t.Errorf("request %d: status %d by %s, want %d by %s", i, status, head.Get("RateLimit-Policy"), tt.status, tt.policy)
		}
	}
	// Another table with the same rates goes on with them.
	b.apply(strings.Replace(text, "path == /slow", "path == /other", 1))
	if status, _, _ := answerOf(t, c, local(p)+"/", "X-Key", "four"); status != http.StatusTooManyRequests {
		t.Errorf("status %d after a change of something else, want 429", status)
	}
}

// gated is an origin that answers once it is let.
type gated struct {
	address string
	came    chan string // paths
	let     chan struct{}
}

func newGated(t *testing.T) *gated {
	t.Helper()
	g := &gated{came: make(chan string, 100), let: make(chan struct{})}
	g.address = origin(t, func(_ http.ResponseWriter, r *http.Request) {
		g.came <- r.URL.Path
		select {
		case <-g.let:
		case <-r.Context().Done():
		}
	})
	return g
}

// asks sends a request of a path in the background.
func asks(t *testing.T, c *http.Client, url string) <-chan string {
	t.Helper()
	answer := make(chan string, 1)
	r := request(t, http.MethodGet, url, nil)
	go func() {
		resp, err := c.Do(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		_ = resp.Body.Close()
		answer <- strings.TrimSpace(resp.Status[:3] + " " + resp.Header.Get("Sluice-Reason"))
	}()
	return answer
}

func wantAnswer(t *testing.T, what string, answer <-chan string, want string) {
	t.Helper()
	select {
	case got := <-answer:
		if got != want {
			t.Errorf("%s is answered %s, want %s", what, got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s is not answered", what)
	}
}

func TestRequestsBeyondTheLimitWait(t *testing.T) {
	t.Parallel()
	o := newGated(t)
	b, url := bounded(t, o.address, "limits: {requests: 1, queue: 1, queue_time: 1m}")
	c := client(t)
	first := asks(t, c, url+"/1")
	if path := <-o.came; path != "/1" {
		t.Fatalf("%s came first", path)
	}
	second := asks(t, c, url+"/2")
	eventually(t, "the second request waits", func() bool { return b.load().Queued == 1 })
	wantAnswer(t, "a third one", asks(t, c, url+"/3"), "503 overloaded")
	o.let <- struct{}{}
	wantAnswer(t, "the first", first, "200")
	if path := <-o.came; path != "/2" {
		t.Errorf("%s came second", path)
	}
	o.let <- struct{}{}
	wantAnswer(t, "the second", second, "200")
	if got := b.load(); got.Queued != 0 || !got.Queues {
		t.Errorf("%+v at the end, want an empty queue", got)
	}
}

func TestWaitingEndsInTime(t *testing.T) {
	t.Parallel()
	o := newGated(t)
	_, url := bounded(t, o.address, "limits: {requests: 1, queue_time: 20ms}")
	c := client(t)
	first := asks(t, c, url+"/1")
	<-o.came
	status, reason, head := answerOf(t, c, url+"/2")
	if status != http.StatusServiceUnavailable || reason != "overloaded" || head.Get("Retry-After") != "1" {
		t.Errorf("status %d, %s, Retry-After %q; want 503 overloaded, after 1", status, reason, head.Get("Retry-After"))
	}
	o.let <- struct{}{}
	wantAnswer(t, "the first", first, "200")
	if n := len(o.came); n != 0 {
		t.Errorf("%d more requests came to the origin, want none", n)
	}
}

func TestWaitingEndsWithTheExchange(t *testing.T) {
	t.Parallel()
	o := newGated(t)
	_, url := bounded(t, o.address, "limits: {requests: 1, queue_time: 1m}, timeouts: {total: 2s}")
	c := client(t)
	first := asks(t, c, url+"/1")
	<-o.came
	wantAnswer(t, "the second", asks(t, c, url+"/2"), "504 exchange_timeout")
	wantAnswer(t, "the first", first, "504 exchange_timeout")
}

func TestFullInstancesArePassedOver(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"roundrobin", "leastconn", "first", "source", "random", "ewma"} {
		t.Run(balance, func(t *testing.T) {
			t.Parallel()
			a, z := newGated(t), newGated(t)
			route := routingtest.Route("r", routing.FullWeight)
			route.Instances = instancesAt(a.address, z.address)
			route.Balance = balance
			route.Load = routing.PartOf(routing.Load{InstanceRequests: 1, Queue: 1, QueueTime: time.Minute})
			p := freeport.One(t)
			snapshot, faults := routing.Compile(nil, routingtest.Table(1, routingtest.Gateway("g", p, route)), routing.CompileOptions{})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			b := start(t, nil)
			b.server.Publish(snapshot)
			c := client(t)
			first, second := asks(t, c, local(p)+"/"), asks(t, c, local(p)+"/")
			<-a.came
			<-z.came // one each, whatever the algorithm says
			third := asks(t, c, local(p)+"/")
			eventually(t, "the third request waits", func() bool { return b.load().Queued == 1 })
			wantAnswer(t, "a fourth", asks(t, c, local(p)+"/"), "503 overloaded")
			z.let <- struct{}{}
			if path := <-z.came; path != "/" {
				t.Errorf("%s came to the instance that has room", path)
			}
			close(z.let)
			close(a.let)
			for i, answer := range []<-chan string{first, second, third} {
				wantAnswer(t, fmt.Sprint("request ", i), answer, "200")
			}
		})
	}
}

func TestBreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	var served atomic.Int64
	broken.Store(true)
	address := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	b, url := bounded(t, address, "limits: {breaker: {errors: 50%, at_least: 5, open_for: 300ms, trials: 2}}")
	c := client(t)
	eventually(t, "the breaker opens", func() bool {
		status, reason, _ := answerOf(t, c, url)
		return status == http.StatusServiceUnavailable && reason == "circuit_open"
	})
	if got := b.load(); !got.Breaks || got.Opened == 0 {
		t.Errorf("the series tell %+v, want that the breaker opened", got)
	}
	before, opened := served.Load(), b.load().Opened
	eventually(t, "a trial comes through, and opens it anew", func() bool {
		_, _, _ = answerOf(t, c, url)
		return b.load().Opened > opened
	})
	eventually(t, "the trials that failed are all that came to the origin", func() bool {
		return uint64(served.Load()-before) == b.load().Opened-opened
	})
	broken.Store(false)
	eventually(t, "the breaker closes", func() bool {
		_, _, _ = answerOf(t, c, url)
		return b.load().Breaker == 0
	})
	if status, _, _ := answerOf(t, c, url); status != http.StatusOK {
		t.Errorf("status %d of a closed breaker, want 200", status)
	}
}

// TestOverloadKeepsGoodput offers three times what a route with a limit can
// serve: as much is served as without the others, and once they are gone
// nothing of it is left.
func TestOverloadKeepsGoodput(t *testing.T) {
	const limit, service, span = 5, 50 * time.Millisecond, time.Second
	var inside, most atomic.Int64
	address := origin(t, func(http.ResponseWriter, *http.Request) {
		n := inside.Add(1)
		for m := most.Load(); n > m; m = most.Load() {
			if most.CompareAndSwap(m, n) {
				break
			}
		}
		<-time.After(service)
		inside.Add(-1)
	})
	b, url := bounded(t, address, fmt.Sprintf("limits: {requests: %d, queue: 20, queue_time: 300ms}", limit))
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	t.Cleanup(c.CloseIdleConnections)
	// Each client sends a request in each turn, whether or not it is served.
	run := func(clients int, turn time.Duration) (served, refused int64) {
		var ok, no atomic.Int64
		var wg sync.WaitGroup
		end := time.Now().Add(span)
		for range clients {
			wg.Go(func() {
				for next := time.Now(); time.Now().Before(end); next = next.Add(turn) {
					<-time.After(time.Until(next))
					switch status, reason, _ := answerOf(t, c, url); {
					case status == http.StatusOK:
						ok.Add(1)
					case reason == "overloaded":
						no.Add(1)
					default:
						t.Errorf("status %d, reason %s", status, reason)
					}
				}
			})
		}
		wg.Wait()
		return ok.Load(), no.Load()
	}
	// The machine is shared: of a few rounds one has to be undisturbed.
	for round := 1; ; round++ {
		peak, none := run(limit, 0)
		served, refused := run(60, 200*time.Millisecond)
		after, left := run(limit, 0)
		t.Logf("peak %d, served %d under overload (%d refused), %d afterwards", peak, served, refused, after)
		if none == 0 && left == 0 && refused > 0 && served >= peak*8/10 && after >= peak*8/10 {
			break
		}
		if round == 10 {
			t.Fatalf("goodput falls under overload, or does not recover, or requests are refused before it (%d) or after it (%d)", none, left)
		}
	}
	if m := most.Load(); m > limit {
		t.Errorf("%d requests were at the origin at once, want at most %d", m, limit)
	}
	if got := b.load(); got.Queued != 0 {
		t.Errorf("%d wait at the end", got.Queued)
	}
}
