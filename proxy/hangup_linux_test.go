// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// waitingOrigin is an instance that says what it is told to once a request has come,
// and then waits for the end of its connection.
func waitingOrigin(t *testing.T, text string) (address string, came, ended chan struct{}) {
	t.Helper()
	came, ended = make(chan struct{}, 10), make(chan struct{}, 10)
	i := behaving(t, func(nc net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(nc, text)
		came <- struct{}{}
		_, _ = nc.Read(make([]byte, 1))
		ended <- struct{}{}
		return false
	})
	return i.address, came, ended
}

func TestAClientThatIsGoneEndsItsExchange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sent, said string
		class            metrics.Class
	}{
		{"before the answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", metrics.ClassNone},
		{"before the answer to a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "", metrics.ClassNone},
		{"amid the answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", metrics.Class2xx},
		{"amid a chunked answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", metrics.Class2xx},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, came, ended := waitingOrigin(t, tt.said)
			other := behaving(t, telling(200, "other"))
			b, url := spread(t, nil, address, other.address)
			nc := dial(t, url)
			_, _ = io.WriteString(nc, tt.sent)
			<-came
			if tt.said != "" {
				resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = resp.Body.Close() })
			}
			reset(nc)
			<-ended
			eventually(t, "the exchange is counted as aborted", func() bool { return b.failures(live.RequestAborted) == 1 })
			eventually(t, "it is over, in its class", func() bool {
				var totals metrics.Totals
				b.registry.Gateways()[0].Read(&totals)
				return totals.Requests[tt.class] == 1 && totals.InFlight == 0
			})
			if other.seen.Load() != 0 {
				t.Error("what nobody waits for was tried elsewhere")
			}
		})
	}
}

// A client that has ended its own direction is waited with for a time, in which
// nothing comes from its instance.
func TestAHalfClosedClientEndsAnExchangeThatStandsStill(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct {
		name, sent, said string
		patience         time.Duration
		class            metrics.Class
		cut              bool // the client is told by a reset
	}{
		{"at once", get, "", routing.AtOnce, metrics.ClassNone, false},
		{"after a time", get, "", 400 * time.Millisecond, metrics.ClassNone, false},
		{"before the answer to a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "", routing.AtOnce, metrics.ClassNone, false},
		{"behind an answer 100 to which nothing followed", get, "HTTP/1.1 100 Continue\r\n\r\n", routing.AtOnce, metrics.ClassNone, false},
		{"amid the head of the answer", get, "HTTP/1.1 200 OK\r\nContent-Le", routing.AtOnce, metrics.ClassNone, false},
		{"amid the answer", get, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", routing.AtOnce, metrics.Class2xx, false},
		{"amid a large answer", get, "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\nabc", routing.AtOnce, metrics.Class2xx, false},
		{"amid a chunked answer", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", routing.AtOnce, metrics.Class2xx, false},
		{"amid an answer that the end of the connection would complete", get, "HTTP/1.1 200 OK\r\n\r\nabc", routing.AtOnce, metrics.Class2xx, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, came, ended := waitingOrigin(t, tt.said)
			other := behaving(t, telling(200, "other"))
			b, url := spread(t, func(r *routing.Route) { r.Timeouts = routing.PartOf(routing.Timeouts{HalfClosed: tt.patience}) }, address, other.address)
			nc := dial(t, url)
			_, _ = io.WriteString(nc, tt.sent)
			_ = nc.(*net.TCPConn).CloseWrite()
			<-came
			<-ended
			eventually(t, "the exchange is counted as aborted", func() bool { return b.failures(live.RequestAborted) == 1 })
			eventually(t, "it is over, in its class", func() bool {
				var totals metrics.Totals
				b.registry.Gateways()[0].Read(&totals)
				return totals.Requests[tt.class] == 1 && totals.InFlight == 0
			})
			if other.seen.Load() != 0 {
				t.Error("what may be waited for by nobody was tried elsewhere")
			}
			got, err := io.ReadAll(nc)
			if errors.Is(err, syscall.ECONNRESET) != tt.cut || err != nil && !tt.cut {
				t.Errorf("the client got %.80q, then %v; want a reset: %v", got, err, tt.cut)
			}
		})
	}
}

// TestHalfClosedClientsThatAreAnswered holds the answers back until the sweep
// has looked at their clients often enough to end what it may end at once.
func TestHalfClosedClientsThatAreAnswered(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nnews"
	for _, tt := range []struct {
		name, patience string
		first, then    string // sent at first, and with the end, once the request has come to the instance
		answer         string // of the instance, to each request
		answers        int    // how many the client gets
	}{
		{"nobody is to be waited with forever, but this one is", "none", get, "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", 1},
		{"not for as long", "1h", get, "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", 1},
		{"a further request came with the first one", "0s", get + get, "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", 2},
		{"a further request stands in front of the end", "0s", get, get, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", 2},
		{"a further request came behind a chunked one", "0s", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n" + get, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", 2},
		{"it asks for a tunnel", "0s", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "", switched, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			came, let := make(chan struct{}, 10), make(chan struct{})
			i := behaving(t, func(nc net.Conn, r *http.Request) bool {
				came <- struct{}{}
				_, _ = io.Copy(io.Discard, r.Body)
				<-let
				_, _ = io.WriteString(nc, tt.answer)
				return tt.answer != switched
			})
			canary, seen, ended := waitingOrigin(t, "")
			p, q := freeport.One(t), freeport.One(t)
			b := start(t, nil)
			b.apply(gateway("g", p, i.address) + "sluice: {timeouts: {half_closed: " + tt.patience + "}}\n" +
				gateway("canary", q, canary) + "sluice: {timeouts: {half_closed: 0s}}\n")
			nc := dial(t, local(p))
			_, _ = io.WriteString(nc, tt.first)
			<-came
			_, _ = io.WriteString(nc, tt.then)
			_ = nc.(*net.TCPConn).CloseWrite()
			for range 2 { // those who come later are ended
				late := dial(t, local(q))
				_, _ = io.WriteString(late, get)
				_ = late.(*net.TCPConn).CloseWrite()
				<-seen
				<-ended
			}
			close(let)
			got, err := io.ReadAll(nc)
			if want := strings.Repeat(tt.answer, tt.answers); string(got) != want || err != nil {
				t.Errorf("the client got %q, then %v; want %q", got, err, want)
			}
		})
	}
}

func TestWaitingEndsWithItsClient(t *testing.T) {
	t.Parallel()
	const get = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct {
		name, settings, sent string
		end                  func(net.Conn)
	}{
		{"a reset", "limits: {requests: 1, queue_time: 1m}, timeouts: {half_closed: none}", get, reset},
		{"a reset, at an instance", "limits: {instance_requests: 1, queue_time: 1m}, timeouts: {half_closed: none}", get, reset},
		{"the end of its own direction, at once", "limits: {requests: 1, queue_time: 1m}, timeouts: {half_closed: 0s}", get, halfClose},
		{"the end of its own direction, at an instance", "limits: {instance_requests: 1, queue_time: 1m}, timeouts: {half_closed: 0s}", get, halfClose},
		{"the end of its own direction, after a time", "limits: {requests: 1, queue_time: 1m}, timeouts: {half_closed: 100ms}", get, halfClose},
		{"an end amid its request", "limits: {requests: 1, queue_time: 1m}, timeouts: {half_closed: none}", "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", halfClose},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newGated(t)
			b, url := bounded(t, o.address, tt.settings)
			first := asks(t, client(t), url+"/1")
			<-o.came
			nc := dial(t, url)
			_, _ = io.WriteString(nc, tt.sent)
			eventually(t, "the second request waits", func() bool { return b.load().Queued == 1 })
			tt.end(nc)
			eventually(t, "the second request is gone", func() bool { return b.load().Queued == 0 })
			eventually(t, "it is counted", func() bool { return b.failures(live.RequestAborted) == 1 })
			o.let <- struct{}{}
			wantAnswer(t, "the first", first, "200")
			if n := len(o.came); n != 0 {
				t.Errorf("%d more requests came to the origin, want none", n)
			}
		})
	}
}

func halfClose(nc net.Conn) { _ = nc.(*net.TCPConn).CloseWrite() }

func TestWaitingGoesOnForHalfClosedClients(t *testing.T) {
	t.Parallel()
	const get = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct {
		name, limit, patience, sent string
		answers                     int
	}{
		{"that are waited with", "requests", "none", get, 1},
		{"that are waited with, at an instance", "instance_requests", "1h", get, 1},
		{"that have sent a further request", "requests", "0s", get + get, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newGated(t)
			b, url := bounded(t, o.address, "limits: {"+tt.limit+": 1, queue_time: 1m}, timeouts: {half_closed: "+tt.patience+"}")
			first := asks(t, client(t), url+"/1")
			<-o.came
			nc := dial(t, url)
			_, _ = io.WriteString(nc, tt.sent)
			halfClose(nc)
			eventually(t, "the second request waits", func() bool { return b.load().Queued == 1 })
			// One that comes later leaves before: the client was looked at meanwhile.
			late := dial(t, url)
			_, _ = io.WriteString(late, get)
			eventually(t, "the third request waits", func() bool { return b.load().Queued == 2 })
			reset(late)
			eventually(t, "the third request is gone", func() bool { return b.load().Queued == 1 })
			o.let <- struct{}{}
			wantAnswer(t, "the first", first, "200")
			go func() {
				for range tt.answers {
					o.let <- struct{}{}
				}
			}()
			got, err := io.ReadAll(nc)
			if n := strings.Count(string(got), "HTTP/1.1 200 "); n != tt.answers || err != nil {
				t.Errorf("the client got %q, then %v; want %d answers", got, err, tt.answers)
			}
		})
	}
}
