// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// call is how a call of gRPC ended.
type call struct {
	status  string // grpc-status, wherever it stood
	message string
	reason  string
	body    string
	head    http.Header
	trailer http.Header
}

// callOf makes a call.
func callOf(t *testing.T, c *http.Client, url string, body io.Reader, fields ...string) call {
	t.Helper()
	r := request(t, http.MethodPost, url, body)
	r.Header.Set("Content-Type", "application/grpc+proto")
	r.Header.Set("TE", "trailers")
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/grpc") {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	from := resp.Trailer
	if resp.Header.Get("Grpc-Status") != "" {
		from = resp.Header
	}
	return call{from.Get("Grpc-Status"), from.Get("Grpc-Message"), resp.Header.Get("Sluice-Reason"), string(b), resp.Header, resp.Trailer}
}

// calls counts how calls of the first gateway's routes ended, by status.
func (b *bed) calls() (n [metrics.GRPCStatuses]uint64) {
	for _, g := range b.registry.Gateways() {
		for _, r := range g.Routes() {
			ended, _ := r.ReadGRPC()
			for s, k := range ended {
				n[s] += k
			}
		}
	}
	return n
}

// greeter answers calls: what it is told to by the path.
func greeter(t *testing.T) (s *stage, address string) {
	t.Helper()
	s = newStage()
	ln := listen(t)
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: p, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		switch verb, arg, _ := strings.Cut(r.URL.Path[1:], "/"); verb {
		case "only": // all is said by the head
			h.Set("Grpc-Status", arg)
			h.Set("Grpc-Message", "only")
		case "wait":
			s.began <- r.Header.Get("Grpc-Timeout")
			<-r.Context().Done()
			s.ended <- r.Context().Err()
		default:
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s te=%s timeout=%s left=%s", body, r.Header.Get("TE"), r.Header.Get("Grpc-Timeout"), r.Header.Get("Sluice-Timeout-Ms"))
			h.Set(http.TrailerPrefix+"Grpc-Status", arg)
			h.Set(http.TrailerPrefix+"X-Request-Id", "metadata")
			h.Set(http.TrailerPrefix+"X-Metadata", "kept")
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return s, ln.Addr().String()
}

func TestCallsEndWithTheirStatus(t *testing.T) {
	t.Parallel()
	_, address := greeter(t)
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {sluice: {protocol: grpc}}}}`, p, address))
	c := clientH2(t)
	for _, tt := range []struct {
		path, status string
		counted      int
	}{{"/echo/0", "0", 0}, {"/echo/5", "5", 5}, {"/only/7", "7", 7}, {"/only/14", "14", 14}, {"/echo/99", "99", int(metrics.GRPCOther)}} {
		before := bed.calls()
		got := callOf(t, c, local(p)+tt.path, strings.NewReader("hello"))
		if got.status != tt.status {
			t.Errorf("%s: grpc-status %q (%v, %v), want %s", tt.path, got.status, got.head, got.trailer, tt.status)
		}
		if strings.HasPrefix(tt.path, "/echo") {
			if want := "hello te=trailers timeout= left="; got.body != want {
				t.Errorf("%s: %q, want %q", tt.path, got.body, want)
			}
			if got.trailer.Get("X-Metadata") != "kept" || got.trailer.Get("X-Request-Id") != "" {
				t.Errorf("%s: trailers %v, want the metadata, less what only we may say", tt.path, got.trailer)
			}
		}
		eventually(t, "it is counted", func() bool {
			now := bed.calls()
			before := before
			before[tt.counted]++
			return now == before
		})
	}
}

func TestCallsAreToldOfFailures(t *testing.T) {
	t.Parallel()
	p := freeport.One(t)
	bed := start(t, asking(t))
	bed.apply(fmt.Sprintf(`
name: g
port: %d
routes:
  "[127.0.0.1:%d]": {weight: 100%%, sluice: {protocol: h2c}}
  none: {weight: 0%%, condition: path == /none}
  "[127.0.0.1:%d]": {weight: 0%%, condition: path == /rate, sluice: {limits: {rate: {requests: 1, per: 1h}}}}
  "[127.0.0.1:%d]": {weight: 0%%, condition: path == /large, sluice: {limits: {body: 3}}}
---
{name: none, routes: {"[127.0.0.1:%[2]d]": {weight: 0%%}}}
`, p, freeport.One(t), freeport.One(t), freeport.One(t)))
	c := clientH2(t)
	for _, tt := range []struct{ path, status, reason string }{
		{"/", "14", "connect_refused"},
		{"/none", "14", "no_route"},
		{"/large", "8", "body_too_large"},
		{"/rate", "14", "connect_refused"},
		{"/rate", "8", "rate_limited"},
	} {
		got := callOf(t, c, local(p)+tt.path, strings.NewReader("hello"), "X-Explain", secret)
		if got.status != tt.status || got.reason != tt.reason || !strings.HasPrefix(got.message, tt.reason+": ") || got.body != "" {
			t.Errorf("%s: grpc-status %s %q, Sluice-Reason %s, body %q; want %s, %s", tt.path, got.status, got.message, got.reason, got.body, tt.status, tt.reason)
		}
		if !strings.HasSuffix(got.head.Get("Sluice-Explain"), "; "+tt.reason) {
			t.Errorf("%s: Sluice-Explain: %s", tt.path, got.head.Get("Sluice-Explain"))
		}
		if got.head.Get("Content-Length") != "" {
			t.Errorf("%s: Content-Length: %s", tt.path, got.head.Get("Content-Length"))
		}
	}
	// They are counted as what they stand for.
	var now metrics.Totals
	eventually(t, "all are counted", func() bool {
		bed.registry.Gateways()[0].Read(&now)
		return now.InFlight == 0
	})
	if now.Requests[metrics.Class5xx] != 3 || now.Requests[metrics.Class4xx] != 2 || now.Requests[metrics.Class2xx] != 0 {
		t.Errorf("requests by class: %v", now.Requests)
	}
}

func TestCallsEndWhenTheirCallerWaitsNoLonger(t *testing.T) {
	t.Parallel()
	s, address := greeter(t)
	_, second := greeter(t)
	p := freeport.One(t)
	bed := start(t, nil)
	judged(bed, p, 1, address, second)
	c := clientH2(t)
	got := callOf(t, c, local(p)+"/wait", http.NoBody, "Grpc-Timeout", "300m")
	if got.status != "4" || got.reason != "exchange_timeout" {
		t.Errorf("grpc-status %s %q, want 4, exchange_timeout", got.status, got.message)
	}
	told := <-s.began
	if left, err := strconv.Atoi(strings.TrimSuffix(told, "m")); err != nil || left < 1 || left > 300 {
		t.Errorf("the instance was told %q, want what was left of 300m", told)
	}
	if err := <-s.ended; err == nil {
		t.Error("the instance was not told that nobody waits")
	}
	// The instance is not to blame.
	if got := bed.states(0); strings.Contains(got, "ejected") {
		t.Errorf("the instances are %s", got)
	}
	for range 3 {
		if got := callOf(t, c, local(p)+"/echo/0", strings.NewReader("x")); got.status != "0" || !strings.Contains(got.body, " timeout=") || strings.Contains(got.body, "timeout= ") {
			t.Errorf("grpc-status %s %q, %q", got.status, got.message, got.body)
		}
	}
}

func TestInstancesThatAreUnavailableByTheirWordAreEjected(t *testing.T) {
	t.Parallel()
	_, bad := greeter(t)
	_, good := greeter(t)
	p := freeport.One(t)
	bed := start(t, nil)
	judged(bed, p, 2, bad, good)
	c := clientH2(t)
	for range 2 {
		if got := callOf(t, c, local(p)+"/only/14", http.NoBody); got.status != "14" || got.reason != "" {
			t.Fatalf("grpc-status %s, Sluice-Reason %s", got.status, got.reason)
		}
	}
	eventually(t, "the instance is ejected", func() bool { return strings.HasPrefix(bed.states(0), "ejected") })
	if got := callOf(t, c, local(p)+"/echo/0", http.NoBody); got.status != "0" {
		t.Errorf("grpc-status %s of the other instance", got.status)
	}
}

// judged makes the proxy lead calls to instances, the first of which gets all,
// and ejects those that fail so often in a row, or answer what stands for 503 or
// 504.
func judged(b *bed, port, failures int, addresses ...string) {
	r := route("r", routing.FullWeight, addresses...)
	r.Balance, r.Protocol = "first", routing.ProtocolGRPC
	r.Timeouts = routing.PartOf(routing.Timeouts{Total: time.Minute})
	e := routing.DefaultEjection()
	e.Failures = failures
	for _, code := range []int{503, 504} {
		e.Statuses[code>>6] |= 1 << (code & 63)
	}
	r.Ejection = routing.PartOf(e)
	b.lead(port, nil, r)
}
