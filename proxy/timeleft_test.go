// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

const timeLeft = "Sluice-Timeout-Ms"

// leftIn returns how many milliseconds are left, as a mirror tells; 0 if it is
// not told.
func leftIn(t *testing.T, body string) int {
	t.Helper()
	_, rest, found := strings.Cut(body, timeLeft+": ")
	if !found {
		return 0
	}
	text, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%q are left", text)
	}
	return n
}

// chain starts two proxies, one behind the other, with settings each. The one
// behind believes the networks given.
func chain(t *testing.T, address, outer, inner string, trusted ...string) (behind *bed, port int) {
	t.Helper()
	p, q := freeport.One(t), freeport.One(t)
	behind = start(t, believing(t, trusted...))
	behind.apply(gateway("inner", q, address) + "sluice: {timeouts: {" + inner + "}}\n")
	front := start(t, nil)
	front.apply(gateway("outer", p, fmt.Sprintf("127.0.0.1:%d", q)) + "sluice: {timeouts: {" + outer + "}}\n")
	return behind, p
}

func TestInstancesAreToldHowLongIsLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, outer, inner string
		trusted            []string
		fields             string
		least, most        int // milliseconds; 0: not told
	}{
		{"none of them has a total", "", "", []string{"127.0.0.0/8"}, "", 0, 0},
		{"the first one has a total", "total: 30m", "", []string{"127.0.0.0/8"}, "", 1, 1800000},
		{"the first one has a total that is not believed", "total: 30m", "", nil, "", 0, 0},
		{"the second one has a total", "", "total: 1h", []string{"127.0.0.0/8"}, "", 1800001, 3600000},
		{"the first one has the shorter total", "total: 30m", "total: 1h", []string{"127.0.0.0/8"}, "", 1, 1800000},
		{"the second one has the shorter total", "total: 1h", "total: 30m", []string{"127.0.0.0/8"}, "", 1, 1800000},
		{"a client that is not trusted says less", "total: 1h", "", []string{"127.0.0.0/8"}, "\n" + timeLeft + ": 1800000", 1800001, 3600000},
		{"a client that is not trusted says something", "", "", []string{"127.0.0.0/8"}, "\n" + timeLeft + ": 1800000\nSluice_Timeout_Ms: 1800000", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, port := chain(t, origin(t, mirror), tt.outer, tt.inner, tt.trusted...)
			_, _, body := exchange(t, port, "GET / HTTP/1.1\nHost: a.example"+tt.fields)
			if n := leftIn(t, body); n < tt.least || n > tt.most {
				t.Errorf("%d ms are told to be left, want %d to %d, in\n%s", n, tt.least, tt.most, body)
			}
			if strings.Contains(body, "Sluice_") || strings.Count(body, timeLeft) > 1 {
				t.Errorf("fields of the client went through:\n%s", body)
			}
		})
	}
}

func TestNobodyAlongAChainWorksForLongerThanIsLeft(t *testing.T) {
	t.Parallel()
	address, came, ended := waitingOrigin(t, "")
	behind, port := chain(t, address, "total: 300ms", "", "127.0.0.1")
	nc := dial(t, local(port))
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	// By either of them: their times are up at once. What the second one says
	// may be cut by the first.
	if resp, err := http.ReadResponse(bufio.NewReader(nc), nil); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("status %d, want 504", resp.StatusCode)
		}
	}
	<-came
	<-ended
	eventually(t, "the second proxy ends the exchange by itself", func() bool { return behind.failures(live.ExchangeTimeout) == 1 })
}

func TestTheTimeLeftIsTakenAnewForEachAttempt(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"GET / HTTP/1.1\nHost: a.example", "PUT / HTTP/1.1\nHost: a.example\nContent-Length: 0"} {
		told := make(chan string, 2)
		first := behaving(t, func(_ net.Conn, r *http.Request) bool {
			told <- r.Header.Get(timeLeft)
			<-time.After(50 * time.Millisecond)
			return false
		})
		second := behaving(t, func(nc net.Conn, r *http.Request) bool {
			told <- r.Header.Get(timeLeft)
			return telling(200, "second")(nc, r)
		})
		_, url := spread(t, func(r *routing.Route) {
			r.Timeouts = routing.PartOf(routing.Timeouts{Total: time.Hour})
			retrying(func(x *routing.Retries) { x.Methods[0] = http.MethodPut })(r)
		}, first.address, second.address)
		port, _ := strconv.Atoi(url[strings.LastIndexByte(url, ':')+1:])
		if status, _, body := exchange(t, port, sent); status != http.StatusOK || body != "second" {
			t.Fatalf("%s: status %d, %q; want an answer of the second instance", sent, status, body)
		}
		before, err := strconv.Atoi(<-told)
		if err != nil {
			t.Fatal(err)
		}
		after, err := strconv.Atoi(<-told)
		if err != nil || after > before-50 {
			t.Errorf("%d ms are told to be left at first, then %d; want at least 50 less", before, after)
		}
	}
}

// An instance that is not given the time that it may take has done nothing
// wrong.
func TestInstancesAreNotBlamedForWhatOthersDoNotWaitFor(t *testing.T) {
	t.Parallel()
	address, came, _ := waitingOrigin(t, "")
	idle := behaving(t, telling(200, "second"))
	p := freeport.One(t)
	b := start(t, believing(t, "127.0.0.1"))
	b.publish(p, func(r *routing.Route) {
		e := routing.DefaultEjection()
		e.Failures = 1
		r.Ejection = routing.PartOf(e)
	}, address, idle.address)
	for n := 0; n < 3; { // requests that came to the first instance: a time may be over before that
		status, head, _ := exchange(t, p, "GET / HTTP/1.1\nHost: a.example\n"+timeLeft+": 50")
		if reason := head.Get("Sluice-Reason"); status != http.StatusGatewayTimeout || reason != "exchange_timeout" {
			t.Fatalf("after %d requests: status %d %s, want 504 exchange_timeout", n, status, reason)
		}
		select {
		case <-came:
			n++
		default:
		}
	}
	if n := idle.seen.Load(); n != 0 {
		t.Errorf("%d requests were tried elsewhere", n)
	}
}

func TestExplainTellsThatATimeIsLeft(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	b := start(t, believing(t, "127.0.0.1"))
	b.apply(gateway("g", p, origin(t, mirror)) + "sluice: {timeouts: {total: 1m}}\n")
	for _, tt := range []struct{ name, sent, kind, want string }{
		{timeLeft, "", "", "(what is left of 1m0s)"},
		{timeLeft, "250", "", "(what is left of 250ms)"},
		{timeLeft, "soon", "", "(what is left of 1m0s)"},
		{"grpc-timeout", "", "application/grpc", "(what is left of 1m0s)"},
		{"grpc-timeout", "250m", "application/grpc+proto", "(what is left of 250ms)"},
		{"grpc-timeout", "2M", "application/grpc", "(what is left of 1m0s)"},
	} {
		r := routing.ExplainRequest{URL: local(p)}
		if tt.sent != "" {
			r.Headers = []routing.HeaderField{{Name: tt.name, Value: tt.sent}}
		}
		if tt.kind != "" {
			r.Headers = append(r.Headers, routing.HeaderField{Name: "Content-Type", Value: tt.kind})
		}
		e, err := b.server.Explain(r)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range e.Outcome.Headers {
			if f.Name == tt.name {
				got = f.Value
			}
		}
		if got != tt.want {
			t.Errorf("with %s %q: %s, want %s", tt.name, tt.sent, got, tt.want)
		}
	}
}
