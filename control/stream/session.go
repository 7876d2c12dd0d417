// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
)

const (
	// deaf is how many keepalives a proxy may say nothing, or take nothing.
	deaf = 6
	// leaving is how long a proxy has to go that was asked to.
	leaving = 2 * time.Second
	// maxUnacked bounds the updates that may yet be acknowledged.
	maxUnacked = 8
	// recheckTokens is how often a token is looked up anew.
	recheckTokens = time.Minute
)

// session is the stream of one proxy. Three goroutines work for it: run, send
// and receive.
type session struct {
	s        *Server
	stream   grpc.ServerStream
	key      string // names the proxy
	hello    *controlpb.Hello
	identity auth.Identity
	token    string
	proof    string
	address  string
	since    time.Time // by the clock of the server's Options
	began    time.Time // by time.Now
	view     *view     // set before the session is known to others

	wake     chan struct{} // for send; one is enough
	heard    atomic.Int64  // when something came last, since began
	blocked  atomic.Int64  // since when a message is being sent, since began; 0 if none is
	unseated atomic.Bool   // another has its place, or it has ended: what it says does not count
	telling  sync.Mutex    // held while something that the proxy said is told
	settled  chan struct{} // closed when it is told that the session began, and what was before it
	parted   chan struct{} // closed when it is told that it ended
	once     sync.Once     // for what follows
	over     chan struct{} // closed when the session has ended
	why      *ending       // set before that

	// The fields below are guarded by the server's mu.
	held         *holding      // until the first update
	sent         *edition      // the last that was sent, or is about to be
	acked        *edition      // the last that is served
	secrets      *wire.Secrets // the last that were sent, or are about to be; nil if none
	unacked      []*edition    // sent since, oldest first
	underWay     time.Time     // since when an answer is waited for; zero if none is
	behind       time.Time     // since when acked is not the newest; zero if it is
	refusals     map[string]*refusal
	detailed     int                  // refusals whose reasons are kept
	told         map[string]wire.Hash // refused forms that were told of, by gateway
	tableRefusal *refusal             // of a whole table
	refusedSeq   uint64               // of that table
	leave        *controlpb.Leave
	leaveFor     *ending
	departing    chan struct{} // closed when leave is set
}

// refusal is a Refusal of a form.
type refusal struct {
	Refusal
	namespace string
	hash      wire.Hash
}

// why returns the first reason, after a colon.
func (r *refusal) why() string {
	if len(r.Reasons) == 0 {
		return ""
	}
	return ": " + r.Reasons[0].String()
}

// ackedSeq returns the pass up to which everything is served. The server is
// locked.
func (c *session) ackedSeq() uint64 {
	if c.acked == nil {
		return 0
	}
	return c.acked.seq
}

// nudge has send look for work.
func (c *session) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// elapsed is the time since the session began.
func (c *session) elapsed() int64 { return int64(time.Since(c.began)) + 1 }

// stuckFor is how long the message has taken that is being sent.
func (c *session) stuckFor() time.Duration {
	if since := c.blocked.Load(); since != 0 {
		return time.Duration(c.elapsed() - since)
	}
	return 0
}

// finish ends the session, the first time that it is called.
func (c *session) finish(why *ending) {
	c.once.Do(func() {
		c.why = why
		close(c.over)
	})
}

// depart asks the proxy to leave; why is what the session then ended for. The
// server is locked.
func (c *session) depart(leave *controlpb.Leave, why *ending) {
	if c.leave != nil {
		return
	}
	c.leave, c.leaveFor = leave, why
	close(c.departing)
	c.nudge()
}

// run holds the session until it ends.
func (c *session) run(ctx context.Context) *ending {
	c.s.running.Go(func() { c.guard(c.send) })
	c.s.running.Go(func() { c.guard(c.receive) })
	tick := time.NewTicker(c.s.o.Keepalive)
	defer tick.Stop()
	asked := c.departing
	var grace <-chan time.Time
	looked := time.Now()
	for {
		select {
		case <-c.over:
			return c.ended()
		case <-ctx.Done(): // receive may know more
			select {
			case <-c.over:
			case <-time.After(leaving):
				c.finish(endf(endLost, codes.Unavailable, "the connection was lost"))
			}
		case <-asked:
			asked = nil
			timer := time.NewTimer(leaving)
			defer timer.Stop()
			grace = timer.C
		case <-grace:
			c.finish(endf(endClosed, codes.OK, ""))
		case <-tick.C:
			again := time.Since(looked) >= c.s.recheck
			if again {
				looked = time.Now()
			}
			c.check(ctx, again)
		}
	}
}

// ended returns why the session is over.
func (c *session) ended() *ending {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.leaveFor != nil && c.why.reason != endPanic {
		return c.leaveFor
	}
	return c.why
}

// guard runs a part of the session, and ends it if that panics.
func (c *session) guard(part func()) {
	defer func() {
		if fault := recover(); fault != nil {
			c.finish(c.s.panicked(fault))
		}
	}()
	part()
}

// check ends sessions of the dead and of those whose time is over.
func (c *session) check(ctx context.Context, again bool) {
	most := deaf * c.s.o.Keepalive
	now := c.s.o.Clock()
	switch {
	case time.Duration(c.elapsed()-c.heard.Load()) > most:
		c.finish(endf(endSilent, codes.DeadlineExceeded, "nothing was heard of the proxy for %v", most))
	case c.stuckFor() > most:
		c.finish(endf(endStalled, codes.DeadlineExceeded, "the proxy took nothing for %v", most))
	case !c.identity.Expires.IsZero() && !now.Before(c.identity.Expires):
		c.finish(endf(endExpired, codes.Unauthenticated, "what proved who the proxy is has expired at %v; connect again with what holds", c.identity.Expires))
	case again && c.identity.Token != "":
		err := c.s.holds(ctx, c.token)
		if err != nil {
			c.finish(endf(endRevoked, codes.Unauthenticated, "%v", err))
		}
	}
}

// holds returns why a token is not taken any more. Errors of looking it up do
// not count.
func (s *Server) holds(ctx context.Context, token string) error {
	_, err := s.o.Tokens.Identify(ctx, noCertificate, token, auth.Claim{})
	if _, refused := errors.AsType[*auth.TokenError](err); refused || errors.Is(err, auth.ErrUnknownToken) {
		return err
	}
	return nil
}

// show returns what is told of the session. The server is locked.
func (c *session) show() Proxy {
	p := c.summary()
	p.Refusals = c.firstRefusals()
	if c.tableRefusal != nil {
		p.Refusals = append([]Refusal{c.tableRefusal.Refusal}, p.Refusals...)
	}
	return p
}

// summary is show without the refusals. The server is locked.
func (c *session) summary() Proxy {
	p := Proxy{
		Node: c.hello.GetNode(), Zone: c.hello.GetZone(), Namespaces: slices.Clone(c.hello.GetNamespaces()),
		Build: c.hello.GetBuild(), Address: c.address, Identity: c.proof, Expires: c.identity.Expires,
		Connected: true, Since: c.since, Behind: c.behind,
	}
	if len(c.hello.GetLabels()) > 0 {
		p.Labels = make(map[string]string, len(c.hello.GetLabels()))
		for _, l := range c.hello.GetLabels() {
			p.Labels[l.GetName()] = l.GetValue()
		}
	}
	if c.acked != nil {
		// It may refuse gateways of a table that it has not acknowledged yet.
		p.Version, p.Gateways = c.acked.version, max(0, c.acked.size-len(c.refusals))
	}
	return p
}

// firstRefusals returns the first maxRefusals by name. Of the others, which may
// be very many, none is copied. The server is locked.
func (c *session) firstRefusals() []Refusal {
	var first []*refusal
	sorted := func() []*refusal {
		slices.SortFunc(first, func(a, b *refusal) int { return strings.Compare(a.Gateway, b.Gateway) })
		return first[:min(len(first), maxRefusals)]
	}
	for _, r := range c.refusals {
		if first = append(first, r); len(first) == 2*maxRefusals {
			first = sorted()
		}
	}
	var list []Refusal
	for _, r := range sorted() {
		list = append(list, r.Refusal)
	}
	return list
}
