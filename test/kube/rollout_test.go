// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
)

var rolloutRequests = flag.Int("rollout.requests", 15_000, "GET requests that are sent while pods are replaced, and a third as many POST")

func init() { roles["leaver"] = leaver }

// leaver answers with the name of its pod, a little later, and stops listening
// as soon as it is asked to end: what has begun is answered, idle connections
// are closed.
func leaver() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(5 * time.Millisecond):
		case <-r.Context().Done():
		}
		fmt.Fprintln(w, os.Getenv("POD"))
	})
	server := &http.Server{Addr: ":8080", Handler: handler, ReadHeaderTimeout: time.Minute}
	over := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(over)
		_ = server.Shutdown(context.WithoutCancel(ctx))
	})
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-over
	return 0
}

const leavers = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: leavers}
spec:
  replicas: 3
  selector: {matchLabels: {app: leavers}}
  template:
    metadata: {labels: {app: leavers, version: "1"}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: example.com/self
        ports: [{containerPort: 8080}]
        env:
        - {name: SLUICE_TEST_ROLE, value: leaver}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        lifecycle: %s
`

// crowd is clients that ask without ever asking again.
type crowd struct {
	address string
	sent    atomic.Int64

	mu     sync.Mutex // guards what follows
	pods   map[string]int
	failed []string
}

// ask sends a request on a connection and reads the answer; last says that it
// is the last one there.
func (c *crowd) ask(conn net.Conn, in *bufio.Reader, method string, last bool) error {
	const patience = 30 * time.Second // nothing takes that long unless it is lost
	_ = conn.SetDeadline(time.Now().Add(patience))
	head := method + " / HTTP/1.1\r\nHost: leavers\r\n"
	if last {
		head += "Connection: close\r\n"
	}
	if method == http.MethodPost {
		head += "Content-Length: 5\r\n\r\nhello"
	} else {
		head += "\r\n"
	}
	c.sent.Add(1)
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", answer.Status, answer.Header.Get("Sluice-Reason"), body)
	case answer.Close && !last:
		return errors.New("the connection is closed, which nobody asked for")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods[strings.TrimSpace(string(body))]++
	return nil
}

// keeper asks on one connection at a pace until ctx ends.
func (c *crowd) keeper(ctx context.Context, method string, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var conn net.Conn
	var in *bufio.Reader
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close()
			}
			return
		case <-tick.C:
		}
		if conn == nil {
			var err error
			if conn, err = c.dial(ctx); err != nil {
				c.fail(method, "kept", err)
				continue
			}
			in = bufio.NewReader(conn)
		}
		if err := c.ask(conn, in, method, false); err != nil {
			c.fail(method, "kept", err)
			_ = conn.Close()
			conn = nil
		}
	}
}

// visitor asks on a new connection each time, at a pace, until ctx ends.
func (c *crowd) visitor(ctx context.Context, method string, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		conn, err := c.dial(ctx)
		if err == nil {
			err = c.ask(conn, bufio.NewReader(conn), method, true)
			_ = conn.Close()
		}
		if err != nil {
			c.fail(method, "new", err)
		}
	}
}

// dial connects; what has begun is not cut by the end of ctx.
func (c *crowd) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(context.WithoutCancel(ctx), "tcp", c.address)
}

func (c *crowd) fail(method, kind string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, fmt.Sprintf("%s %s on a %s connection: %v", time.Now().Format(time.StampMilli), method, kind, err))
}

// No request is lost while all pods are replaced again and again, though they
// stop listening as soon as they are told to end, and nobody asks twice.
func TestNoRequestIsLostWhilePodsAreReplaced(t *testing.T) { //nolint:paralleltest // it would be starved by others
	replaced(t, http.MethodGet, "{}", *rolloutRequests)
}

// What may not be sent twice cannot be saved if a pod is gone before anybody
// hears of it. It is not lost if pods give notice, as they do by a preStop hook.
func TestNothingIsLostOfWhatMayNotBeRepeatedIfPodsGiveNotice(t *testing.T) { //nolint:paralleltest // as above
	replaced(t, http.MethodPost, "{preStop: {sleep: {seconds: 1}}}", *rolloutRequests/3)
}

// replaced replaces pods while requests of a method are sent, and counts what
// is lost.
func replaced(t *testing.T, method, lifecycle string, requests int) {
	t.Helper()
	b := start(t)
	ns := b.Namespace(t)
	port := freeport.One(t)
	b.Apply(t, ns, fmt.Sprintf(leavers, lifecycle))
	b.Kubectl(t, "rollout", "status", "deployment/leavers", "--namespace", ns, "--timeout", "60s")
	s := newSluice(t, b, ns)
	s.run(fmt.Sprintf("name: leavers\nport: %d\nselector: label(app)(leavers) && label(version)((.*))\n", port), "apply", "-f", "-")
	c := &crowd{address: "127.0.0.1:" + strconv.Itoa(port), pods: make(map[string]int)}
	answering(t, b, port)("all pods answer", func(pods, _ map[string]int) bool { return len(pods) == 3 })

	// 500 requests a second, half of them on connections that are kept.
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 25 {
		clients.Go(func() { c.keeper(ctx, method, 100*time.Millisecond) })
		clients.Go(func() { c.visitor(ctx, method, 100*time.Millisecond) })
	}
	rounds := 0
	for c.sent.Load() < int64(requests) {
		// As kubectl rollout restart does, which waits a second between two.
		b.Kubectl(t, "patch", "deployment/leavers", "--namespace", ns,
			"--patch", fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"round":"%d"}}}}}`, rounds))
		b.Kubectl(t, "rollout", "status", "deployment/leavers", "--namespace", ns, "--timeout", "120s")
		rounds++
	}
	cancel()
	clients.Wait()
	t.Logf("%d requests, %d rounds of 3 pods, %d pods answered, %d failed; from event to table: %s",
		c.sent.Load(), rounds, len(c.pods), len(c.failed), convergence(t, s.api))
	if len(c.failed) > 0 {
		t.Errorf("%d of %d requests failed:\n%s", len(c.failed), c.sent.Load(), strings.Join(c.failed[:min(20, len(c.failed))], "\n"))
	}
	// A pod may be replaced before anybody has asked it.
	if least := 2 * rounds; len(c.pods) < least {
		t.Errorf("%d pods have answered in %d rounds, want %d at least", len(c.pods), rounds, least)
	}
}

// convergence says how long changes of what runs took from the event until the
// proxy served them.
func convergence(tb testing.TB, api string) string {
	tb.Helper()
	text, err := fetch(tb.Context(), "http://"+api+"/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	type bucket struct{ upTo, count float64 }
	var all []bucket
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, `sluice_control_convergence_seconds_bucket{kind="endpoints",le="`)
		if !ok {
			continue
		}
		bound, count, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
		upTo, _ := strconv.ParseFloat(bound, 64)
		n, _ := strconv.ParseFloat(count, 64)
		all = append(all, bucket{upTo, n})
	}
	if len(all) == 0 || all[len(all)-1].count == 0 {
		tb.Fatalf("the histogram of changes is empty:\n%s", text)
	}
	total := all[len(all)-1].count
	at := func(share float64) float64 {
		for _, b := range all {
			if b.count >= math.Ceil(share*total) {
				return b.upTo
			}
		}
		return math.Inf(1)
	}
	return fmt.Sprintf("%.0f changes, half in %.1f ms, 99 %% in %.1f ms at most", total, at(0.5)*1000, at(0.99)*1000)
}
