// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
)

const (
	clients = 48
	// full is the length of a run in which each origin is restarted so often
	// as the phases say, and the weights change so often; others are scaled.
	full    = 100 * time.Second
	changes = 1000
	// mostMemory is what the proxy may have at most: five times what it needs.
	mostMemory = 160 << 20
)

// phase is a part of a run: what happens to the origins, and what clients may
// see of it.
type phase struct {
	name     string
	share    float64 // of the whole time
	restarts int     // of each origin in a full run
	signal   syscall.Signal
	// spare is what routes say of retries: how many may be under way beside
	// their share; 0: they say nothing. An origin that is killed has all the
	// requests that stand at it fail at once, and one that has ended refuses all
	// that come until that is known. On a machine that halts now and then, these
	// are more than the usual budget lets through, so all clients may try again.
	spare  int
	faulty bool // clients ask for faults
	allows func(request, outcome) bool
}

var phases = []phase{
	{name: "origins end in order", share: 0.4, restarts: 20, signal: syscall.SIGTERM, spare: clients, allows: allowsNothing},
	{name: "origins are killed", share: 0.35, restarts: 15, signal: syscall.SIGKILL, spare: clients, allows: allowsKills},
	{name: "origins misbehave", share: 0.25, spare: clients, faulty: true, allows: allowsFaults},
}

// allowsNothing: nobody notices.
func allowsNothing(_ request, o outcome) bool { return o.fate == good || o.fate == left }

// allowsKills: an answer that had begun is cut, and what was sent and is not
// safe fails, since nobody knows whether it was acted on. Everything else is
// answered by another origin.
func allowsKills(q request, o outcome) bool {
	switch {
	case allowsNothing(q, o):
		return true
	case q.kind == stream:
		return o.fate == cut
	default:
		return q.post && o.fate == failed && o.reason == "upstream_reset"
	}
}

// allowsFaults: who asks for a fault is told of it. A POST fails if its
// connection ended as it was sent.
func allowsFaults(q request, o outcome) bool {
	lost := q.post && o.fate == failed && o.reason == "upstream_reset"
	switch q.kind {
	case stall:
		return lost || o.fate == failed && o.reason == "response_timeout"
	case garbage:
		return o.fate == failed && o.reason == "upstream_protocol"
	case broken:
		return o.fate == cut
	case reset:
		// The reset may overtake the beginning of the answer.
		return o.fate == cut || o.fate == failed && o.reason == "upstream_reset"
	default:
		return lost || allowsNothing(q, o)
	}
}

// scene is a run.
type scene struct {
	seed    uint64
	log     *events
	ledger  *ledger
	splits  *splits
	fleet   *fleet
	clients []*client
	ids     atomic.Uint64
}

func TestChaos(t *testing.T) {
	s, p := stage(t)
	before := p.metrics(t).sum("go_goroutines")
	files := p.descriptors(t) + 2 // the admin server's own connections come and go
	stop := s.startWatch(t, p)
	for _, ph := range phases {
		began, sent := time.Now(), s.ids.Load()
		restarts, err := s.play(t.Context(), ph)
		if err != nil {
			s.ledger.fault("%s: %v", ph.name, err)
		}
		took := time.Since(began)
		t.Logf("%s: %v, %d restarts, %d requests (%.0f/s)", ph.name, took.Round(time.Millisecond),
			restarts, s.ids.Load()-sent, float64(s.ids.Load()-sent)/took.Seconds())
		if s.ledger.wrong() > 0 {
			break
		}
	}
	for _, c := range s.clients {
		c.close()
	}
	seen := stop()
	// For connections to come, the proxy keeps the goroutines of former ones:
	// of each client, and of those that it left and that were not over yet.
	s.settle(t, p, before+2*clients, files)
	s.judge(t, p, seen)
	p.end(t)
	if p.log.panicked() {
		t.Errorf("the proxy had a panic:\n%s", p.log)
	}
}

// stage starts everything.
func stage(t *testing.T) (*scene, *proxy) {
	t.Helper()
	s := &scene{seed: *seed, log: newEvents(), ledger: newLedger()}
	for s.seed == 0 {
		s.seed = rand.Uint64()
	}
	t.Logf("repeat by -chaos.seed %d", s.seed)
	ports, err := freeport.Take(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s.splits = newSplits(s.log, gatewayFile(dir, ports[0]))
	if err := os.Mkdir(filepath.Join(dir, "gateways"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.splits.next(50); err != nil {
		t.Fatal(err)
	}
	if s.fleet, err = newFleet(t.Context(), dir, s.log, ports[2:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.fleet.close)
	instances := filepath.Join(dir, "instances.yaml")
	var text bytes.Buffer
	for _, port := range ports[2:] {
		fmt.Fprintf(&text, "- {address: 127.0.0.1, port: %d, labels: {app: chaos}}\n", port)
	}
	if err := os.WriteFile(instances, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, "127.0.0.1:"+strconv.Itoa(ports[1]), "-f", filepath.Join(dir, "gateways"), "--instances", instances)
	for i := range clients {
		rng := rand.New(rand.NewPCG(s.seed, uint64(i)))
		s.clients = append(s.clients, &client{gateway: "127.0.0.1:" + strconv.Itoa(ports[0]), rng: rng})
	}
	return s, p
}

// play plays a phase to its end: its time is over and its restarts are made,
// or too much went wrong.
func (s *scene) play(ctx context.Context, ph phase) (restarts int, err error) {
	s.log.add("%s", ph.name)
	s.splits.allow(ph.spare)
	due := s.splits.changes() + scaled(ph.share*changes)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking sync.WaitGroup
	for i, c := range s.clients {
		asking.Go(func() {
			if !s.run(ctx, c, i, ph) {
				cancel()
			}
		})
	}
	changed := make(chan error, 1)
	go func() {
		defer cancel()
		changed <- s.splits.change(ctx, rand.New(rand.NewPCG(s.seed, clients)))
	}()
	over := time.NewTimer(time.Duration(ph.share * float64(*length)))
	defer over.Stop()
	s.splits.reach(ctx, s.splits.changes()+2) // the second one is of this phase
	if restarts, err = s.restart(ctx, ph); err == nil {
		s.splits.reach(ctx, due)
		select {
		case <-over.C:
		case <-ctx.Done():
		}
	}
	cancel()
	asking.Wait()
	return restarts, errors.Join(err, <-changed)
}

// scaled returns how much of what a full run has is due in this one.
func scaled(of float64) int { return int(math.Ceil(of * length.Seconds() / full.Seconds())) }

// restart restarts the origins in turn, as often as the phase asks for, evenly
// over its time or as fast as they come up again.
func (s *scene) restart(ctx context.Context, ph phase) (n int, err error) {
	want := scaled(float64(ph.restarts)) * len(s.fleet.origins)
	if want == 0 {
		return 0, nil
	}
	pace := time.NewTicker(time.Duration(ph.share * float64(*length) / float64(want)))
	defer pace.Stop()
	for ; n < want; n++ {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return n, nil
		}
		if err := s.fleet.restart(ctx, s.fleet.origins[n%len(s.fleet.origins)], ph.signal); err != nil {
			return n, err
		}
	}
	return n, nil
}

// run asks at the client's part of the rate until ctx ends, and reports
// whether more is welcome.
func (s *scene) run(ctx context.Context, c *client, at int, ph phase) bool {
	pace := time.NewTicker(time.Duration(clients) * time.Second / time.Duration(*rate))
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-pace.C:
		}
		q := c.choose(s.ids.Add(1), ph.faulty)
		from := s.splits.before()
		o := c.do(context.WithoutCancel(ctx), q)
		if !s.enter(q, o, from, at, ph) {
			return false
		}
	}
}

// enter notes how a request ended.
func (s *scene) enter(q request, o outcome, from, at int, ph phase) bool {
	fault := ""
	line := fmt.Sprintf("client %d, request %d, %s, POST %v: %v", at, q.id, q.kind, q.post, o)
	if o.fate != good && o.fate != left {
		s.log.add("%s", line)
	}
	if !ph.allows(q, o) {
		fault = ph.name + ": " + line
	}
	if q.kind != stall { // its route is not decided by weights
		if err := s.splits.note(o, from); err != nil {
			fault = line + ": " + err.Error()
		}
	}
	return s.ledger.enter(q, o, fault)
}

// settle waits until the proxy has nothing left of what clients asked: no
// exchange, no connection, no file, no goroutine.
func (s *scene) settle(t *testing.T, p *proxy, goroutines float64, files int) {
	t.Helper()
	left := ""
	settled := within(func() bool {
		m := p.metrics(t)
		flying := m.sum("sluice_gateway_requests_in_flight") + m.sum("sluice_requests_in_flight")
		open := m.sum("sluice_connections_open")
		now, fds := m.sum("go_goroutines"), p.descriptors(t)
		left = fmt.Sprintf("%v in flight, %v connections, %d files (at most %d), %v goroutines (at most %v)", flying, open, fds, files, now, goroutines)
		return flying == 0 && open == 0 && fds <= files && now <= goroutines
	})
	t.Logf("afterwards: %s", left)
	if !settled {
		s.ledger.fault("left after %v: %s", patience, left)
	}
}

// judge compares the books.
func (s *scene) judge(t *testing.T, p *proxy, seen *watch) {
	t.Helper()
	l := s.ledger
	m := p.metrics(t)
	acted, err := s.fleet.acted()
	if err != nil {
		t.Fatal(err)
	}
	unanswered := l.compare(acted)
	if len(l.faults) == 0 { // a run that was broken off has seen less
		l.balance(m)
		s.covered()
	}
	if seen.missing != "" {
		l.fault("%s", seen.missing)
	}
	for _, err := range s.splits.check() {
		l.fault("%v", err)
	}
	if peak := p.peak(t); peak > mostMemory {
		l.fault("the proxy had %d MB of memory, at most %d are right", peak>>20, mostMemory>>20)
	}
	t.Logf("clients: %d requests %v: %v, failed as %v", l.sent, l.kinds, l.fates, l.reasons)
	t.Logf("origins: %d POSTs acted on, each once, %d of them without an answer", len(acted), unanswered)
	t.Logf("proxy: %.0f accepted, %.0f failures of its own, retries: %v connected, %v failed, %v replayed, %v beyond the budget; %d tables; %d MB at most",
		m.sum("sluice_gateway_requests_total"), m.sum("sluice_gateway_proxy_errors_total"),
		m.sum("sluice_retries_total", `"connected"`), m.sum("sluice_retries_total", `"failed"`), m.sum("sluice_retries_total", `"replayed"`), m.sum("sluice_retries_total", `"retry_budget_spent"`),
		s.splits.changes(), p.peak(t)>>20)
	t.Logf("what holds throughout:\n%s", strings.Join(l.invariants(m, acted, seen), "\n"))
	if len(l.faults) > 0 {
		t.Errorf("the last that happened:\n%s\n%s\nrepeat by -chaos.seed %d\n%s", s.log, p.log, s.seed, strings.Join(l.faults, "\n"))
	}
}

// covered holds the run to having shown what it is about.
func (s *scene) covered() {
	l := s.ledger
	for _, k := range append([]kind{get, post, upload, stream, leave}, faults...) {
		if l.kinds[k] == 0 {
			l.fault("no request for %s", k)
		}
	}
	for _, f := range []fate{good, failed, cut, left} {
		if l.fates[f] == 0 {
			l.fault("no request ended as %s", f)
		}
	}
}
