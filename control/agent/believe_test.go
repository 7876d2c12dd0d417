// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// What cannot be ends the session, and nothing else.
func TestWrongMessagesEndTheSessionAlone(t *testing.T) {
	version := &controlpb.Version{Epoch: 1, Revision: 2}
	update := func(u *controlpb.Update) []*controlpb.ToProxy {
		return []*controlpb.ToProxy{{Message: &controlpb.ToProxy_Update{Update: u}}}
	}
	welcome := func(protocol uint32) *controlpb.ToProxy {
		return &controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: &controlpb.Welcome{Protocol: protocol}}}
	}
	hash := make([]byte, 16)
	for _, tt := range []struct {
		name      string
		messages  []*controlpb.ToProxy
		ungreeted bool // they are the first ones
	}{
		{"an update before Welcome", update(&controlpb.Update{Version: version, Complete: true, Ordered: true}), true},
		{"a ping before Welcome", []*controlpb.ToProxy{{Message: &controlpb.ToProxy_Ping{Ping: &controlpb.Ping{}}}}, true},
		{"another protocol", []*controlpb.ToProxy{welcome(2)}, true},
		{"Welcome twice", []*controlpb.ToProxy{welcome(1)}, false},
		{"a table without a version", update(&controlpb.Update{Complete: true, Ordered: true}), false},
		{"a complete update without names", update(&controlpb.Update{Version: version, Complete: true}), false},
		{"a name that is neither held nor brought", update(&controlpb.Update{Version: version, Complete: true, Ordered: true, Names: []string{"x"}}), false},
		{"a gateway without a hash", update(&controlpb.Update{Version: version, Changed: []*controlpb.Named{{Name: "a"}}}), false},
		{"a gateway that comes and goes", update(&controlpb.Update{Version: version, Gone: []string{"a"}, Changed: []*controlpb.Named{{Name: "a", Hash: hash}}}), false},
		{"parts of different tables", append(
			update(&controlpb.Update{Version: version, More: true}),
			update(&controlpb.Update{Version: &controlpb.Version{Epoch: 1, Revision: 3}})...), false},
		{"a message that is too large", update(&controlpb.Update{Version: version, Broken: []string{strings.Repeat("x", 17<<20)}}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newControl(t)
				b := start(t, options(c))
				s := c.welcomed()
				s.complete(table(1, gateway("a", 9001, 2)))
				s.wantAnswer("1.1 serves [a]")
				s.lose()

				next := c.welcomed
				if tt.ungreeted {
					next = c.next
				}
				s = next()
				for _, m := range tt.messages {
					_ = s.stream.Send(m) // the session may have ended already
				}
				s.gone()
				b.wantServes("1.1 a:2")
				synctest.Wait()
				if st := b.agent.Status(); st.Connected || st.Why == "" {
					t.Errorf("Status() = %+v, want stale with a reason", st)
				}

				s = c.welcomed()
				if len(s.hello.GetHeld()) != 1 || s.hello.GetServes().GetRevision() != 1 {
					t.Errorf("Hello = %v, want that it holds a and serves 1.1", s.hello)
				}
				s.complete(table(4, gateway("a", 9001, 3)))
				s.wantAnswer("1.4 serves [a]")
				b.wantServes("1.4 a:3")
			})
		})
	}
}

// A server that says what cannot be again and again is asked less and less
// often, though each session begins with a table.
func TestWrongSessionsAreFurtherAndFurtherApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		began := time.Now()
		for range 8 {
			s := c.welcomed()
			s.complete(table(1))
			s.wantAnswer("1.1 serves []")
			s.update(&controlpb.Update{Version: &controlpb.Version{Epoch: 1, Revision: 2}, Changed: []*controlpb.Named{{}}})
			s.gone()
		}
		// Half of 2, 4, 8, 16, 30, 30, 30.
		if took := time.Since(began).Round(time.Second); took != 60*time.Second {
			t.Errorf("8 sessions take %s, want 1m0s", took)
		}
		synctest.Wait()
		if n := b.agent.Status().Ignored["wrong"]; n != 8 {
			t.Errorf("%d sessions are counted as wrong, want 8", n)
		}
	})
}

// Two tables may be of one version: an answer names the update that it is
// about.
func TestAnswersNameTheUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		s := c.welcomed()
		numbered := func(number, revision uint64, weight int) {
			t.Helper()
			next, errs := wire.Encode(nil, table(revision, gateway("a", 9001, weight)))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			u := next.Complete(nil)
			u.Number = number
			s.update(u)
		}
		acked := func(want uint64) {
			t.Helper()
			if m := s.hear(); m.GetAck() == nil || m.GetAck().GetNumber() != want {
				t.Errorf("the answer is %v, want an ack of update %d", m, want)
			}
		}
		numbered(3, 5, 1)
		acked(3)
		numbered(4, 5, 2)
		acked(4)
		numbered(6, 1, 2)
		if m := s.hear(); m.GetNack().GetNumber() != 6 {
			t.Errorf("the answer is %v, want that update 6 is refused", m)
		}
		b.unserve(map[string]error{"a": errors.New("its port is taken")})
		if m := s.hear(); m.GetNack().GetGateway().GetGateway() != "a" {
			t.Errorf("the answer is %v, want that a is refused", m)
		}
		b.unserve(nil)
		acked(4) // what was refused between does not serve
	})
}

func TestOlderTableIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		s := c.welcomed()
		s.complete(table(7, gateway("a", 9001, 7), gateway("b", 9002, 1)))
		s.wantAnswer("1.7 serves [a b]")
		s.lose()

		s = c.welcomed()
		old := s.complete(table(6, gateway("a", 9001, 6)))
		s.wantAnswer("refused : OlderTable")
		b.wantServes("1.7 a:7 b:1")
		synctest.Wait()
		if st := b.agent.Status(); st.Ignored["older"] != 1 || st.Connected || st.Version != "1.7" || st.Received != "1.6" {
			t.Errorf("Status() = %+v, want one older table that is not taken", st)
		}
		if n := b.registry.TableIgnored("older").Value(); n != 1 {
			t.Errorf("sluice_table_ignored_total = %d, want 1", n)
		}

		// The session goes on, and what changed since the older table is right on
		// top of that one.
		next := s.since(old, table(7, gateway("a", 9001, 6), gateway("c", 9003, 1)))
		s.wantAnswer("1.7 serves [c]")
		b.wantServes("1.7 a:6 c:1")
		s.since(next, table(8, gateway("a", 9001, 8), gateway("c", 9003, 1)))
		s.wantAnswer("1.8 serves [a]")
		b.wantServes("1.8 a:8 c:1")
	})
}

func TestSameTableAgainChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		for range 3 {
			s := c.welcomed()
			s.complete(table(1, gateway("a", 9001, 2)))
			s.answer()
			s.lose()
		}
		if len(b.tables) != 1 {
			t.Errorf("%d tables were served, want one", len(b.tables))
		}
	})
}

// epochBed returns an agent that serves 1.9 with a (4 instances), b and c, and
// the session in which another epoch may begin.
func epochBed(t *testing.T) (*bed, *control, *talk) {
	t.Helper()
	c := newControl(t)
	b := start(t, options(c))
	s := c.welcomed()
	s.complete(table(9, gateway("a", 9001, 4), gateway("b", 9002, 1), gateway("c", 9003, 2)))
	s.wantAnswer("1.9 serves [a b c]")
	s.lose()
	return b, c, c.welcomed()
}

func TestAnotherEpochPassesByRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, s := epochBed(t)
		// a has lost three of four instances, b is missing, c has lost one of two,
		// d is new.
		began := time.Now()
		s.complete(another(2, gateway("c", 9003, 1), gateway("a", 9001, 1), gateway("d", 9004, 1)))
		s.wantAnswer("refused a: GatewayHeldBack; 2.2 serves [c d]")
		b.wantServes("2.2 c:1 a:4 d:1 b:1")
		b.wantHeld("a", "b")
		h := b.agent.Status().HeldBack
		if h[0].Why == h[1].Why || !h[0].Since.Equal(began) || !h[0].Until.Equal(began.Add(time.Minute)) {
			t.Errorf("held back are %+v, want each with its reason for a minute", h)
		}

		// After a minute it is believed.
		s.wantAnswer("2.2 serves [a]")
		if took := time.Since(began); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("it is believed after %s, want 1m, looked at each second", took)
		}
		b.wantServes("2.2 c:1 a:1 d:1")
		b.wantHeld()
	})
}

func TestHeldBackIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, s := epochBed(t)
		s.complete(another(2, gateway("a", 9001, 4)))
		s.wantAnswer("2.2 serves []")
		b.wantServes("2.2 a:4 b:1 c:2")
		if n := b.agent.Confirm(); n != 2 {
			t.Errorf("Confirm() = %d, want 2", n)
		}
		b.wantServes("2.2 a:4")
		b.wantHeld()
		if n := b.agent.Confirm(); n != 0 {
			t.Errorf("Confirm() = %d when nothing is held back, want 0", n)
		}
	})
}

func TestWhatComesBackIsNotHeldAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, s := epochBed(t)
		one := s.complete(another(2, gateway("a", 9001, 1)))
		s.wantAnswer("refused a: GatewayHeldBack; 2.2 serves []")
		b.wantHeld("a", "b", "c")
		two := s.since(one, another(3, gateway("a", 9001, 2), gateway("b", 9002, 0)))
		s.wantAnswer("refused b: GatewayHeldBack; 2.3 serves [a]")
		b.wantHeld("b", "c")
		b.wantServes("2.3 a:2 b:1 c:2")

		// What was there once and goes is gone, and c comes back broken: it is
		// asked for.
		last := another(4, gateway("b", 9002, 1))
		last.Broken = []string{"c"}
		s.since(two, last)
		s.wantAnswer("2.4 serves [b]")
		b.wantHeld()
		b.wantServes("2.4 b:1 c:2")
		if log := b.log.String(); !strings.Contains(log, "all that was held back is there again") {
			t.Errorf("the log does not tell that nothing is held back any more:\n%s", log)
		}
	})
}

func TestHeldBackStaysWhileThereIsNoControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, s := epochBed(t)
		s.complete(another(2))
		s.wantAnswer("2.2 serves []")
		s.lose()
		s = c.next() // and nothing comes
		time.Sleep(3 * time.Minute)
		b.wantServes("2.2 a:4 b:1 c:2")
		b.wantHeld("a", "b", "c")
		for s.stream.Context().Err() != nil {
			s = c.next()
		}
		s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: &controlpb.Welcome{Protocol: 1}}})
		// The store still says so, after all that time.
		s.complete(another(3, gateway("a", 9001, 4)))
		s.wantAnswer("2.3 serves [a]")
		b.wantServes("2.3 a:4")
		b.wantHeld()
	})
}

func TestYetAnotherEpochBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, s := epochBed(t)
		s.complete(another(2))
		s.wantAnswer("2.2 serves []")
		time.Sleep(50 * time.Second)
		s.lose()
		s = c.welcomed()
		// The old store is back, somewhat older, and has all but c.
		began := time.Now()
		s.complete(table(5, gateway("a", 9001, 4), gateway("b", 9002, 1)))
		s.wantAnswer("1.5 serves [a b]")
		b.wantServes("1.5 a:4 b:1 c:2")
		b.wantHeld("c")
		if until := b.agent.Status().HeldBack[0].Until; !until.Equal(began.Add(time.Minute)) {
			t.Errorf("c is held back until %s, want a minute from %s on", until, began)
		}
	})
}

func TestEmptyTableOfTheSameEpoch(t *testing.T) {
	t.Run("only seems so when a session begins with it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, c, s := epochBed(t)
			s.complete(table(10))
			s.wantAnswer("1.10 serves []")
			b.wantServes("1.10 a:4 b:1 c:2")
			b.wantHeld("a", "b", "c")
			// Neither does it when the next one does; the minute goes on.
			time.Sleep(30 * time.Second)
			s.lose()
			s = c.welcomed()
			s.complete(table(10))
			s.answer()
			b.wantHeld("a", "b", "c")
			time.Sleep(30 * time.Second)
			b.wantServes("1.10 ")
			b.wantHeld()
		})
	})
	t.Run("is believed when it is said", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, s := epochBed(t)
			one := s.complete(table(10, gateway("a", 9001, 4)))
			s.wantAnswer("1.10 serves []")
			b.wantServes("1.10 a:4")
			s.since(one, table(11))
			s.wantAnswer("1.11 serves []")
			b.wantServes("1.11 ")
			b.wantHeld()
		})
	})
}

// FuzzSession has a control plane say anything. Whatever it says, the proxy
// goes on: the next session is one in which a table is taken as it is sent.
func FuzzSession(f *testing.F) {
	good, _ := wire.Encode(nil, table(2, gateway("a", 9001, 1), gateway("b", 9002, 1)))
	next, _ := wire.Encode(good, another(3, gateway("b", 9002, 3)))
	for _, u := range []*controlpb.Update{
		good.Complete(nil), next.Since(good), next.Complete(nil), {Version: &controlpb.Version{Epoch: 1, Revision: 9}, Complete: true, Ordered: true},
	} {
		b, err := proto.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(1))
		f.Add(b[:len(b)/2], uint64(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, epoch uint64) {
		u := &controlpb.Update{}
		if proto.Unmarshal(text, u) != nil {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			c := newControl(t)
			b := start(t, options(c))
			s := c.welcomed()
			s.complete(table(1, gateway("a", 9001, 2)))
			s.wantAnswer("1.1 serves [a]")
			_ = s.stream.Send(&controlpb.ToProxy{Message: &controlpb.ToProxy_Update{Update: u}})
			synctest.Wait()
			select {
			case s.end <- nil:
			case <-s.stream.Context().Done():
			}
			// Of an epoch that was not seen before, so that it is newer.
			epoch |= 1 << 63
			if v := u.GetVersion().GetEpoch(); epoch == v {
				epoch ^= 1
			}
			s = c.welcomed()
			s.complete(&routing.Table{Version: routing.Version{Epoch: epoch, Revision: 1}, Gateways: []*routing.Gateway{gateway("z", 9009, 5)}})
			s.answer()
			synctest.Wait()
			b.agent.Confirm()
			b.wantServes(routing.Version{Epoch: epoch, Revision: 1}.String() + " z:5")
		})
	})
}
