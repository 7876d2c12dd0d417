// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// maxMessage bounds a message of a proxy: a Hello that names 100,000
	// gateways, with names of up to some 130 bytes.
	maxMessage = 16 << 20
	// What a proxy may count and see: so many messages and bytes at once, and
	// so many a second.
	burstMessages, messagesPerSecond = 200, 20
	burstBytes, bytesPerSecond       = 64 << 20, 4 << 20
	// All that it says else is not dropped when it is more, since the state of
	// the proxy would be another one than is known; it is read more slowly, and
	// in the end the proxy cannot send more. A table of which every gateway is
	// refused is answered at once up to the burst.
	burstAnswers, answersPerSecond = 10_000, 1000
	// maxTold bounds the refusals of a session that were told of and stand.
	// Those beyond it are shown, and not told of.
	maxTold = 10_000
	// maxRefusals bounds the refusals of a proxy whose reasons are kept, and
	// maxReasons those of one.
	maxRefusals = 200
	maxReasons  = 10
	// maxText bounds the texts in a reason.
	maxText = 500
	// maxUnknown bounds the name of a gateway of which it is not known any more
	// whether there was one.
	maxUnknown = 512
)

// receive takes in what the proxy says until the session ends.
func (c *session) receive() {
	messages, bytes := newAllowance(burstMessages, messagesPerSecond), newAllowance(burstBytes, bytesPerSecond)
	answers, answerBytes := newAllowance(c.s.burstAnswers, c.s.answersPerSecond), newAllowance(burstBytes, bytesPerSecond)
	for {
		var in incoming
		if err := c.stream.RecvMsg(&in); err != nil {
			c.finish(endOfReceiving(err))
			return
		}
		if in.err != nil {
			c.finish(malformed("a message cannot be read: %v", in.err))
			return
		}
		c.heard.Store(c.elapsed())
		now := time.Now()
		switch in.msg.GetMessage().(type) {
		case *controlpb.FromProxy_Hello:
			c.finish(malformed("Hello is the first message only"))
			return
		case *controlpb.FromProxy_Counters, *controlpb.FromProxy_Health:
			if !messages.take(now, 1) || !bytes.take(now, float64(in.size)) {
				c.s.dropped("rate")
				continue
			}
		default:
			if !c.pause(max(answers.borrow(now, 1), answerBytes.borrow(now, float64(in.size)))) {
				return
			}
		}
		c.take(&in.msg)
	}
}

// pause waits, and reports whether the session goes on.
func (c *session) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.over:
		return false
	}
}

// take takes in a message and has told what comes of it, unless the session is
// over by then.
func (c *session) take(m *controlpb.FromProxy) {
	c.telling.Lock()
	defer c.telling.Unlock()
	switch one := m.GetMessage().(type) {
	case *controlpb.FromProxy_Ack:
		c.s.ack(c, one.Ack).run()
	case *controlpb.FromProxy_Nack:
		c.s.nack(c, one.Nack).run()
	case *controlpb.FromProxy_Counters, *controlpb.FromProxy_Health:
		c.hear(m)
	}
}

// hear hands on what the proxy counts and sees.
func (c *session) hear(m *controlpb.FromProxy) {
	h := c.s.o.Heard
	if h == nil || c.unseated.Load() {
		return
	}
	if counters := m.GetCounters(); counters != nil {
		h.Counters(c.key, c.view.namespaceOf, counters)
	} else if health := m.GetHealth(); health != nil {
		h.Health(c.key, c.view.namespaceOf, health)
	}
}

// silence tells that nothing more is heard of a session that has lost its
// place, once that is so.
func (c *session) silence() {
	c.telling.Lock() // what is being told is told to its end
	defer c.telling.Unlock()
	if c.s.o.Heard != nil {
		c.s.o.Heard.Left(c.key)
	}
}

// ack takes in what a proxy serves.
func (s *Server) ack(c *session, m *controlpb.Ack) (after calls) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.unseated.Load() {
		return nil
	}
	n, v := m.GetNumber(), wire.ToVersion(m.GetVersion())
	at := c.unackedAt(n, v)
	if at < 0 && (c.acked == nil || !c.acked.is(n, v)) {
		s.dropped("stray")
		return nil
	}
	changed := false
	for _, served := range m.GetServed() {
		if len(c.refusals) == 0 {
			break
		}
		if r := c.refusals[served.GetGateway()]; r != nil {
			c.heal(r)
			changed = true
		}
	}
	if at >= 0 {
		changed = c.prune(c.unacked[at]) || changed
	}
	if changed {
		after = s.reconsider(c)
	}
	if at >= 0 {
		after = append(after, s.advance(c, at)...)
	}
	return after
}

// unackedAt returns which of the editions that were sent has a number and a
// version, -1 if none has. Of a proxy that knows no numbers, which are 0, it is
// the newest of the version.
func (c *session) unackedAt(number uint64, v routing.Version) int {
	for at, e := range slices.Backward(c.unacked) {
		if e.is(number, v) {
			return at
		}
	}
	return -1
}

// is reports whether an answer is about the edition.
func (e *edition) is(number uint64, v routing.Version) bool {
	return e.version == v && (number == 0 || number == e.seq)
}

// advance takes an edition for served. The server is locked.
func (s *Server) advance(c *session, at int) calls {
	e, from := c.unacked[at], c.ackedSeq()
	c.acked = e
	c.answered(at)
	c.tableRefusal = nil
	if e == c.view.current {
		c.behind = time.Time{}
	}
	return s.crossed(c, from, e.seq)
}

// answered notes that nothing more is to come of an edition and those before
// it.
func (c *session) answered(at int) {
	if c.unacked[at] == c.sent {
		c.underWay = time.Time{}
		if c.view.current != c.sent {
			c.nudge()
		}
	}
	c.unacked = slices.Delete(c.unacked, 0, at+1)
}

// prune drops the refusals of forms that an edition does not have, also from
// those that were told of, and reports whether there were any.
func (c *session) prune(e *edition) (changed bool) {
	if e.table == nil {
		return false
	}
	for name, r := range c.refusals {
		if h, ok := e.table.Hash(name); !ok || h != r.hash {
			c.heal(r)
			changed = true
		}
	}
	for name, of := range c.told {
		if h, ok := e.table.Hash(name); !ok || h != of {
			delete(c.told, name)
		}
	}
	return changed
}

// heal drops a refusal.
func (c *session) heal(r *refusal) {
	delete(c.refusals, r.Gateway)
	if len(r.Reasons) > 0 {
		c.detailed--
	}
}

// nack takes in what a proxy refuses.
func (s *Server) nack(c *session, m *controlpb.Nack) (after calls) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.unseated.Load() {
		return nil
	}
	if m.GetGateway().GetGateway() == "" {
		return s.nackTable(c, m)
	}
	name, hash := m.GetGateway().GetGateway(), m.GetGateway().GetHash()
	if len(hash) != len(wire.Hash{}) {
		s.dropped("stray")
		return nil
	}
	may, known := c.has(name, wire.Hash(hash))
	if !may {
		s.dropped("stray")
		return nil
	}
	name = strings.Clone(name) // the message that it came in is not kept
	old := c.refusals[name]
	if old != nil {
		c.heal(old)
	}
	r := s.newRefusal(c, m)
	r.Gateway, r.hash, r.namespace = name, wire.Hash(hash), c.view.namespaceOf(name)
	r.Namespace = r.namespace
	if old != nil && old.hash == r.hash {
		r.Since = old.Since
	}
	if c.refusals == nil {
		c.refusals = make(map[string]*refusal)
	}
	c.refusals[name] = r
	if len(r.Reasons) > 0 {
		c.detailed++
	}
	after = s.reconsider(c)
	if tell := s.o.Hooks.Refused; tell != nil && known && c.news(name, r.hash) {
		p := c.summary()
		after = append(after, func() { tell(p, r.Refusal) })
	}
	return after
}

// news reports whether the refusal of a form was not told of yet, and notes
// that it is: a proxy that takes it and refuses it in turn does not fill the
// events. The form is one that a table has: names that a proxy makes up are not
// kept here, from where only an answer to a table that is still held drops them.
func (c *session) news(gateway string, h wire.Hash) bool {
	of, known := c.told[gateway]
	if known && of == h || !known && len(c.told) >= maxTold {
		return false
	}
	if c.told == nil {
		c.told = make(map[string]wire.Hash)
	}
	c.told[gateway] = h
	return true
}

// nackTable takes in that a proxy refuses a whole table. The server is locked.
func (s *Server) nackTable(c *session, m *controlpb.Nack) (after calls) {
	at := c.unackedAt(m.GetNumber(), wire.ToVersion(m.GetVersion()))
	if at < 0 {
		s.dropped("stray")
		return nil
	}
	c.tableRefusal, c.refusedSeq = s.newRefusal(c, m), c.unacked[at].seq
	c.answered(at)
	s.tell()
	s.o.Log.Warn("a proxy refuses a table", "node", c.hello.GetNode(), "version", wire.ToVersion(m.GetVersion()).String(), "reason", c.tableRefusal.why())
	if tell := s.o.Hooks.Refused; tell != nil {
		p, r := c.summary(), c.tableRefusal.Refusal
		after = append(after, func() { tell(p, r) })
	}
	return after
}

// has reports whether the proxy may refuse a form of a gateway, since it was sent
// it, and whether that is known. It is not of a table that was let go of, of
// which the proxy is believed as long as its refusals are no more than there
// are gateways, and bounded in their names. The server is locked.
func (c *session) has(name string, h wire.Hash) (may, known bool) {
	lost, most := false, 0
	look := func(e *edition) {
		most += e.size
		if e.table == nil {
			lost = true
		} else if of, ok := e.table.Hash(name); ok && of == h {
			known = true
		}
	}
	for _, e := range c.unacked {
		look(e)
	}
	if c.acked != nil {
		look(c.acked)
	}
	if _, again := c.refusals[name]; !again && len(c.refusals) >= most {
		return false, known
	}
	return known || lost && len(name) <= maxUnknown, known
}

// newRefusal keeps the reasons of a refusal, within bounds. What it is of is the
// whole table, unless the caller says otherwise.
func (s *Server) newRefusal(c *session, m *controlpb.Nack) *refusal {
	r := &refusal{Refusal: Refusal{
		Node: c.hello.GetNode(), Since: s.o.Clock(),
		More: int(m.GetMore()) + len(m.GetReasons()),
	}}
	if c.detailed >= maxRefusals {
		return r
	}
	for _, one := range m.GetReasons()[:min(len(m.GetReasons()), maxReasons)] {
		reason := Reason{Path: short(one.GetPath()), Problem: short(one.GetProblem()), Allowed: short(one.GetAllowed()), Code: short(one.GetCode())}
		if at := one.GetAt(); at != nil {
			reason.At = routing.Position{Source: short(at.GetSource()), Line: int(at.GetLine()), Column: int(at.GetColumn())}.String()
		}
		r.Reasons = append(r.Reasons, reason)
		r.More--
	}
	return r
}

// short returns a text of at most maxText bytes, as a copy: the message that
// it came in is not kept.
func short(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText-len("…")], "") + "…"
	}
	return strings.Clone(text)
}

// allowance is what may be taken of something that comes back with time.
type allowance struct {
	most, perSecond float64
	left            float64
	at              time.Time
}

func newAllowance(most, perSecond float64) *allowance {
	return &allowance{most: most, perSecond: perSecond, left: most, at: time.Now()}
}

// take takes n, and reports whether there was as much.
func (a *allowance) take(now time.Time, n float64) bool {
	a.left = min(a.most, a.left+now.Sub(a.at).Seconds()*a.perSecond)
	a.at = now
	if a.left < n {
		return false
	}
	a.left -= n
	return true
}

// borrow takes n, and returns how long it takes until there was as much. Who
// waits for that owes no more than n at a time.
func (a *allowance) borrow(now time.Time, n float64) time.Duration {
	a.left = min(a.most, a.left+now.Sub(a.at).Seconds()*a.perSecond) - n
	a.at = now
	if a.left >= 0 {
		return 0
	}
	return time.Duration(-a.left / a.perSecond * float64(time.Second))
}
