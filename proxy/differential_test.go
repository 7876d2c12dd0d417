// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

var (
	differentialSeed = flag.Uint64("differential.seed", 1,
		"seed of the exchanges that are compared with and without the proxy")
	differentialOnly = flag.Int("differential.only", -1,
		"index of an exchange: only those of its connection are compared")
)

// TestExchangesAreTheSameWithAndWithoutTheProxy sends the same exchanges to an
// origin directly and through the proxy. What origin and client see must be
// the same, byte by byte, but for the listed differences: the order and case of
// names, blanks around values, chunks with their extensions, trailers. What is
// sent follows from the seed; when it arrives does not.
func TestExchangesAreTheSameWithAndWithoutTheProxy(t *testing.T) {
	seed, n := *differentialSeed, differentialTrials
	if testing.Short() {
		n = min(n, 1_000)
	}
	runs := planRuns(seed, n, *differentialOnly)
	t.Logf("seed %d", seed)

	o := &scriptedOrigin{visits: make(map[int]*visit)}
	direct, behind := o.listen(t), o.listen(t)
	port := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {}}}`, port, behind))

	c := &comparison{t: t, seed: seed, origin: o, direct: direct, proxied: fmt.Sprintf("127.0.0.1:%d", port), port: port, differences: differences()}
	c.all(runs)

	for _, err := range o.faults() {
		t.Errorf("origin: %v", err)
	}
	if *differentialOnly >= 0 {
		return
	}
	for _, d := range c.differences {
		t.Logf("%6d messages: %s (%s)", d.made.Load(), d.name, d.reason)
		if d.made.Load() == 0 && !t.Failed() {
			t.Errorf("no exchange shows that %q: is it a difference?", d.name)
		}
	}
}

// planRuns deals the trials from 0 to n out to runs: what one client sends
// one after the other. With an index only its run is returned.
func planRuns(seed uint64, n, only int) (runs [][]*trial) {
	d := dice{rand.New(rand.NewPCG(seed, 1<<63))} //nolint:gosec // reproducible on purpose
	for from := 0; from < max(n, only+1); {
		to := from + d.upTo(1, 40)
		if only < 0 || from <= only && only < to {
			var run []*trial
			for i := from; i < to && (i < n || only >= 0); i++ {
				run = append(run, newTrial(seed, i))
			}
			runs = append(runs, run)
		}
		from = to
	}
	return runs
}

// sight is what origin and client saw of one exchange.
type sight struct {
	request *wireMessage // nil if it did not arrive
	answers []*wireMessage
	fault   error // of the client's
}

func (s *sight) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, " the origin saw\n%v the client saw\n", s.request)
	for _, m := range s.answers {
		b.WriteString(m.String())
	}
	if s.fault != nil {
		fmt.Fprintf(&b, "  %v\n", s.fault)
	}
	return b.String()
}

// comparison compares exchanges, several at a time.
type comparison struct {
	t               *testing.T
	seed            uint64
	origin          *scriptedOrigin
	direct, proxied string // addresses
	port            int
	differences     []*difference

	mu     sync.Mutex      // guards what follows
	failed int             // runs
	ids    map[string]bool // that requests were given
}

// all compares all runs over a few connections at a time.
func (c *comparison) all(runs [][]*trial) {
	next := make(chan []*trial)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for run := range next {
				c.run(run)
			}
		})
	}
	for _, run := range runs {
		next <- run
	}
	close(next)
	wg.Wait()
}

// run compares the exchanges of one run up to the first that fails.
func (c *comparison) run(run []*trial) {
	if c.failures() >= 3 {
		return
	}
	if i, diff, plain, seen := c.compare(run); diff != "" {
		alone := "agrees"
		switch _, again, _, _ := c.compare(run[i : i+1]); again {
		case "":
		case diff:
			alone = "fails the same"
		default:
			alone = "fails otherwise: " + again
		}
		c.fail()
		tr := run[i]
		c.t.Errorf("seed %d, exchange %d, number %d of its run; alone on fresh connections it %s\n%s\n"+
			"sent: %s\nbody: %s\nin pieces of %v\nwithout the proxy:\n%vthrough the proxy:\n%v"+
			"again by: go test ./proxy -run %s -differential.seed=%d -differential.only=%d",
			c.seed, tr.index, i, alone, diff, shorten(string(tr.head)), shorten(string(tr.body)), tr.pieces, plain, seen,
			c.t.Name(), c.seed, tr.index)
	}
}

func (c *comparison) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
}

func (c *comparison) failures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// compare sends a run both ways, and returns where and how the first exchange
// differs from what it must be.
func (c *comparison) compare(run []*trial) (i int, diff string, plain, seen *sight) {
	without, with := c.perform(c.direct, run), c.perform(c.proxied, run)
	for i, t := range run {
		if i >= len(without) || without[i].fault != nil || without[i].request == nil {
			plain = at(without, i)
			return i, "the test itself is at fault: the direct exchange failed", plain, at(with, i)
		}
		if diff := c.judge(t, &without[i], at(with, i)); diff != "" {
			return i, diff, &without[i], at(with, i)
		}
	}
	return 0, "", nil, nil
}

// at returns the sight of a position, an empty one if there is none.
func at(sights []sight, i int) *sight {
	if i < len(sights) {
		return &sights[i]
	}
	return &sight{fault: errors.New("it was not sent, or not answered")}
}

// judge returns how an exchange differs from what it must be.
func (c *comparison) judge(t *trial, plain, seen *sight) string {
	if d := t.differs(plain); d != "" {
		return "the test itself is at fault: without the proxy, " + d
	}
	x := &passage{trial: t, request: plain.request, port: c.port}
	want := applied(c.differences, plain.request, x, false)
	if seen.request != nil {
		if id := seen.request.hideID(); id != "" && !c.fresh(id) {
			return "two requests have the same identifier: " + id
		}
	}
	if d := firstDifference(want, seen.request); d != "" {
		return "request, " + d
	}
	for i := range max(len(plain.answers), len(seen.answers)) {
		if i >= len(plain.answers) || i >= len(seen.answers) {
			return fmt.Sprintf("%d answers, want %d", len(seen.answers), len(plain.answers))
		}
		want := applied(c.differences, plain.answers[i], x, true)
		if d := firstDifference(want, seen.answers[i]); d != "" {
			return fmt.Sprintf("answer %d, %s", i, d)
		}
	}
	if seen.fault != nil {
		return seen.fault.Error()
	}
	return ""
}

// fresh notes an identifier and reports whether it is new.
func (c *comparison) fresh(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids == nil {
		c.ids = make(map[string]bool)
	}
	old := c.ids[id]
	c.ids[id] = true
	return !old
}

// differs says how what was seen without the proxy is not what was sent, which
// it must be.
func (t *trial) differs(s *sight) string {
	br := bufio.NewReader(strings.NewReader(string(t.head) + string(t.body)))
	m, err := readWireHead(br)
	if err == nil && !t.denied {
		err = m.readBody(br, m.requestEnd())
	}
	if err != nil {
		return "request, " + err.Error()
	}
	if d := firstDifference(m, s.request); d != "" {
		return "request, " + d
	}
	sc := t.scriptFor(s.request)
	br = bufio.NewReader(strings.NewReader(string(sc.interim) + string(sc.final)))
	for i, got := range s.answers {
		m, err := readWireHead(br)
		if err == nil {
			err = m.readBody(br, m.answerEnd(t.method))
		}
		if err != nil {
			return err.Error()
		}
		if d := firstDifference(m, got); d != "" {
			return fmt.Sprintf("answer %d, %s", i, d)
		}
	}
	if _, err := br.Peek(1); err == nil {
		return "an answer is missing"
	}
	return ""
}

// scriptFor returns what the origin does with a request as it arrived.
func (t *trial) scriptFor(m *wireMessage) *script {
	if m.old() {
		return &t.older
	}
	return &t.answer
}

// perform sends a run to an address and returns what was seen, up to the first
// exchange that failed.
func (c *comparison) perform(address string, run []*trial) (sights []sight) {
	k := &scriptedClient{t: c.t, address: address}
	defer k.hangUp()
	for len(run) > 0 {
		n := together(run)
		visits := c.origin.expect(run[:n])
		got := k.send(run[:n])
		for i := range got {
			s := &got[i]
			if s.request = visits[i].arrived(run[i].denied && s.fault == nil); s.fault == nil && len(visits[i].seen) > 0 {
				s.fault = errors.New("the request arrived more than once")
			}
		}
		c.origin.forget(run[:n])
		sights = append(sights, got...)
		if len(got) < n || got[n-1].fault != nil {
			return sights
		}
		run = run[n:]
	}
	return sights
}

// together returns how many trials of a run are sent without waiting for
// answers in between.
func together(run []*trial) int {
	n := 1
	for n < len(run) && n < 12 && run[n].joins && !run[n].waits && run[n-1].goesOn() {
		n++
	}
	return n
}

// goesOn reports whether the connection is there for another exchange, with
// the proxy and without, which the client knows beforehand.
func (t *trial) goesOn() bool { return t.keep && !t.old && !t.waits && !t.answer.closes }
