// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

func TestTablesAreServedAndAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		s := c.welcomed()
		if h := s.hello; h.GetNode() != "edge-1" || h.GetProtocol() != 1 || h.GetServes() != nil || len(h.GetHeld()) != 0 {
			t.Errorf("Hello = %v, want edge-1 that holds nothing", h)
		}
		if st := b.agent.Status(); st.Connected {
			t.Errorf("Status() = %+v before the first table, want not connected", st)
		}
		first := s.complete(table(1, gateway("a", 9001, 2), gateway("b", 9002, 1)))
		s.wantAnswer("1.1 serves [a b]")
		b.wantServes("1.1 a:2 b:1")
		if st := b.agent.Status(); !st.Connected || st.Version != "1.1" || st.Received != "1.1" || st.Name != "cp" {
			t.Errorf("Status() = %+v, want connected with 1.1", st)
		}

		second := s.since(first, table(3, gateway("a", 9001, 3)))
		s.wantAnswer("1.3 serves [a]")
		b.wantServes("1.3 a:3")

		// A form that does not compile: the one before serves on.
		broken := gateway("a", 9001, 4)
		broken.Routes[0].Condition = "has"
		third := s.since(second, table(4, broken, gateway("c", 9003, 1)))
		s.wantAnswer("refused a: " + b.snapshotFault(broken) + "; 1.4 serves [c]")
		b.wantServes("1.4 a:3 c:1")
		if r := b.agent.Status().Refused; len(r) != 1 || r[0].Gateway != "a" || len(r[0].Reasons) == 0 {
			t.Errorf("Status().Refused = %+v, want a with a reason", r)
		}

		s.since(third, table(5, gateway("a", 9001, 4), gateway("c", 9003, 1)))
		s.wantAnswer("1.5 serves [a]")
		b.wantServes("1.5 a:4 c:1")
		if r := b.agent.Status().Refused; len(r) != 0 {
			t.Errorf("Status().Refused = %+v, want none", r)
		}
	})
}

// snapshotFault returns the code of the fault of a gateway.
func (b *bed) snapshotFault(g *routing.Gateway) string {
	b.t.Helper()
	_, faults := routing.Compile(nil, table(1, g), routing.CompileOptions{})
	if len(faults) == 0 {
		b.t.Fatalf("%s compiles", g.Name)
	}
	return faults[0].Code
}

func TestAckTellsWhichChangesAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		start(t, options(c))
		s := c.welcomed()
		next, _ := wire.Encode(nil, table(1, gateway("a", 9001, 1)))
		u := next.Complete(nil)
		u.Changes = []*controlpb.Change{{Id: 7}, {Id: 9}}
		for _, part := range wire.Parts(u, 10) {
			s.update(part)
		}
		if got := s.hear().GetAck().GetChanges(); !slices.Equal(got, []uint64{7, 9}) {
			t.Errorf("changes %v are acknowledged, want 7 and 9", got)
		}
	})
}

func TestGatewayThatCannotTakeTrafficIsRefusedUntilItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		b.unserve(map[string]error{"a": errors.New("port 9001 is taken")})
		s := c.welcomed()
		first := s.complete(table(1, gateway("a", 9001, 1), gateway("b", 9002, 1)))
		s.wantAnswer("refused a: GatewayUnserved; 1.1 serves [b]")

		// It stays so: nothing more is told, also with the next table.
		s.since(first, table(2, gateway("a", 9001, 1), gateway("b", 9002, 2)))
		s.wantAnswer("1.2 serves [b]")

		b.unserve(nil)
		s.wantAnswer("1.2 serves [a]")

		// Another one is lost later, without a table.
		b.unserve(map[string]error{"b": errors.New("port 9002 is lost")})
		n := s.hear().GetNack()
		if n.GetGateway().GetGateway() != "b" || n.GetReasons()[0].GetProblem() != "port 9002 is lost" || n.GetVersion().GetRevision() != 2 {
			t.Errorf("%v is told, want that b is lost", n)
		}
	})
}

func TestLossOfTheControlPlaneChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		s := c.welcomed()
		s.complete(table(1, gateway("a", 9001, 2), gateway("b", 9002, 1)))
		s.wantAnswer("1.1 serves [a b]")
		began := time.Now()
		s.lose()
		synctest.Wait()
		st := b.agent.Status()
		if st.Connected || !st.Since.Equal(began) || !strings.Contains(st.Why, "broken") {
			t.Errorf("Status() = %+v, want stale since %s with the reason", st, began)
		}
		b.wantServes("1.1 a:2 b:1")

		// The next session is for what has changed alone.
		s = c.welcomed()
		if v := wire.ToVersion(s.hello.GetServes()); v.String() != "1.1" || len(s.hello.GetHeld()) != 2 {
			t.Errorf("Hello = %v, want that it serves 1.1 and holds two gateways", s.hello)
		}
		s.complete(table(2, gateway("a", 9001, 2), gateway("b", 9002, 5)))
		s.wantAnswer("1.2 serves [b]")
		b.wantServes("1.2 a:2 b:5")
		if st := b.agent.Status(); !st.Connected || st.Reconnects != 1 {
			t.Errorf("Status() = %+v, want connected again", st)
		}
	})
}

func TestRefusalsThatStandAreToldToEverySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		start(t, options(c))
		broken := gateway("a", 9001, 1)
		broken.Routes[0].Condition = "has"
		now := table(1, broken, gateway("b", 9002, 1))
		s := c.welcomed()
		s.complete(now)
		want := s.answer()
		s.lose()
		s = c.welcomed()
		s.complete(now)
		if got := s.answer(); !strings.HasPrefix(want, "refused a: ") || !strings.HasPrefix(got, "refused a: ") {
			t.Errorf("the first session hears %q, the second %q, want both that a is refused", want, got)
		}
	})
}

// Attempts come after a time between 0 and a bound that grows with each round
// of all servers, up to 30 s, and begins anew with a session that was of use.
func TestAttemptsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		o := options(c)
		o.Servers = []string{"127.0.0.1:1", "127.0.0.1:2"}
		o.Draw = func() float64 { return 0.99999 }
		tries := &attempts{dial: o.Dial, last: time.Now()}
		o.Dial = tries.attempt
		start(t, o)
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		var want []time.Duration
		for _, seconds := range []int{0, 1, 2, 2, 4, 4, 8, 8, 16, 16, 30, 30, 30} {
			want = append(want, time.Duration(seconds)*time.Second)
		}
		waits, tried := tries.take(true)
		if !slices.Equal(waits[:len(want)], want) {
			t.Errorf("attempts come after %v, want %v", waits, want)
		}
		for i := range tried[1:] {
			if tried[i] == tried[i+1] {
				t.Errorf("%v are tried, want one after the other in turn", tried)
				break
			}
		}

		s := c.welcomed()
		s.complete(table(1))
		s.wantAnswer("1.1 serves []")
		tries.take(true)
		s.lose()
		c.welcomed()
		if waits, _ := tries.take(true); len(waits) != 1 || waits[0] > time.Second {
			t.Errorf("the attempt after a good session comes after %v, want 1s at most", waits)
		}
	})
}

// attempts are connections that were asked for.
type attempts struct {
	dial func(context.Context, string) (net.Conn, error)

	mu    sync.Mutex // guards the fields below
	up    bool       // they succeed, and all lead to the first server
	last  time.Time
	waits []time.Duration // each time since the one before, or since take
	tried []string
}

func (a *attempts) attempt(ctx context.Context, server string) (net.Conn, error) {
	a.mu.Lock()
	a.waits, a.tried = append(a.waits, time.Since(a.last).Round(10*time.Millisecond)), append(a.tried, server)
	a.last = time.Now()
	up := a.up
	a.mu.Unlock()
	if !up {
		return nil, errors.New("connection refused")
	}
	return a.dial(ctx, "127.0.0.1:1")
}

// take returns the attempts so far, and says whether the next ones succeed.
func (a *attempts) take(up bool) (waits []time.Duration, tried []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	waits, tried = a.waits, a.tried
	a.waits, a.tried, a.last, a.up = nil, nil, time.Now(), up
	return waits, tried
}

func TestLeaveIsHonouredAmongTheServersThatAreConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, evil := newControl(t), newControl(t), newControl(t)
		o := options(one)
		o.Servers = []string{"127.0.0.1:1", "127.0.0.1:2"}
		o.Dial = servers{"127.0.0.1:1": one, "127.0.0.1:2": two, "127.0.0.1:3": evil}.dial
		o.Draw = func() float64 { return 0 } // the order as it is
		b := start(t, o)
		s := one.welcomed()
		s.complete(table(1, gateway("a", 9001, 1)))
		s.wantAnswer("1.1 serves [a]")
		began := time.Now()
		s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Leave{Leave: &controlpb.Leave{
			Reason: "maintenance", Servers: []string{"127.0.0.1:3", "127.0.0.1:1"}, AfterNs: int64(40 * time.Second),
		}}})
		s.gone()
		synctest.Wait()
		if why := b.agent.Status().Why; !strings.Contains(why, "maintenance") {
			t.Errorf("Status().Why = %q, want the reason", why)
		}
		one.welcomed()
		if took := time.Since(began); took < 40*time.Second {
			t.Errorf("the proxy is back after %s, want 40s at least", took)
		}
		b.wantServes("1.1 a:1")
	})
}

func TestPingIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		start(t, options(c))
		s := c.welcomed()
		s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Ping{Ping: &controlpb.Ping{Number: 42}}})
		if n := s.hear().GetPong().GetNumber(); n != 42 {
			t.Errorf("Pong says %d, want 42", n)
		}
	})
}

func TestCountersAreSentEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		o := options(c)
		fresh, count := 0, 0.0
		o.Fresh = func() { fresh++ }
		o.Counters = func() *controlpb.Counters {
			count++
			return &controlpb.Counters{Series: []*controlpb.Series{{Name: "n", Value: count}}}
		}
		o.Health = func() *controlpb.Health { return nil }
		b := start(t, o)
		s := c.welcomed()
		s.complete(table(1))
		s.wantAnswer("1.1 serves []")
		for i := range 3 {
			m, err := s.stream.Recv()
			if err != nil || m.GetCounters().GetSeries()[0].GetValue() != float64(i+1) {
				t.Fatalf("message %d is %v (%v), want counters", i, m, err)
			}
		}
		// The last ones are told before the end.
		b.stop()
		m, err := s.stream.Recv()
		if err != nil || m.GetCounters() == nil {
			t.Errorf("at the end comes %v (%v), want counters", m, err)
		}
		b.halt()
		if fresh != 1 {
			t.Errorf("Fresh was called %d times for one session", fresh)
		}
	})
}

// A server that takes nothing gets no counters heaped upon it.
func TestCountersWaitForASlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		o := options(c)
		asked := 0
		o.Counters = func() *controlpb.Counters {
			asked++
			return &controlpb.Counters{Series: []*controlpb.Series{{Name: strings.Repeat("n", 1<<20)}}}
		}
		start(t, o)
		s := c.welcomed()
		s.complete(table(1))
		s.wantAnswer("1.1 serves []")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if asked > 3 {
			t.Errorf("counters are asked for %d times while the server reads nothing, want until its window is full", asked)
		}
	})
}

func TestServerThatIsSilentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		s := c.next()
		s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: &controlpb.Welcome{Protocol: 1, KeepaliveNs: int64(10 * time.Second)}}})
		s.complete(table(1, gateway("a", 9001, 1)))
		began := time.Now()
		s.wantAnswer("1.1 serves [a]")
		s.gone()
		if took := time.Since(began).Round(time.Second); took != 20*time.Second {
			t.Errorf("the session ends after %s of silence, want 20s", took)
		}
		synctest.Wait()
		if why := b.agent.Status().Why; !strings.Contains(why, "nothing was heard for 20s") {
			t.Errorf("Status().Why = %q, want the silence", why)
		}
		b.wantServes("1.1 a:1")
	})
}

// A connection that carries nothing any more, without an end, is seen by
// keepalive.
func TestSilentPartitionIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		o := options(c)
		cut := make(chan struct{})
		dial := o.Dial
		o.Dial = func(ctx context.Context, server string) (net.Conn, error) {
			conn, err := dial(ctx, server)
			return &partitioned{Conn: conn, cut: cut}, err
		}
		b := start(t, o)
		s := c.welcomed()
		s.complete(table(1, gateway("a", 9001, 1)))
		s.wantAnswer("1.1 serves [a]")
		synctest.Wait()
		began := time.Now()
		close(cut)
		for b.agent.Status().Connected {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the partition is seen after %s, want 30s at most", took)
		}
		if why := b.agent.Status().Why; !strings.Contains(why, "keepalive") {
			t.Errorf("Status().Why = %q, want that there was no sign of life", why)
		}
		b.wantServes("1.1 a:1")
	})
}

func TestServerThatNeverGreetsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		began := time.Now()
		c.next().gone()
		if took := time.Since(began).Round(time.Second); took != 10*time.Second {
			t.Errorf("the session ends after %s, want 10s", took)
		}
		synctest.Wait()
		if why := b.agent.Status().Why; !strings.Contains(why, "no answer within 10s") {
			t.Errorf("Status().Why = %q, want that there was no answer", why)
		}
	})
}

func TestRefusalOfTheProxyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		b := start(t, options(c))
		c.next().end <- status.Error(codes.PermissionDenied, "edge-1 is not for default/default")
		synctest.Wait()
		if why := b.agent.Status().Why; !strings.HasSuffix(why, "edge-1 is not for default/default") {
			t.Errorf("Status().Why = %q, want what the server says", why)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	c := func(f func(*agent.Options)) agent.Options {
		o := agent.Options{Servers: []string{"127.0.0.1:8091"}, Node: "n", Namespaces: []string{"a/b"}}
		f(&o)
		return o
	}
	for _, tt := range []struct {
		name string
		o    agent.Options
		want string // part of the error
	}{
		{"a server is needed", c(func(o *agent.Options) { o.Servers = nil }), "no address"},
		{"an address has a port", c(func(o *agent.Options) { o.Servers = []string{"127.0.0.1"} }), "not an address"},
		{"and a host", c(func(o *agent.Options) { o.Servers = []string{":8091"} }), "not an address"},
		{"the port is a number", c(func(o *agent.Options) { o.Servers = []string{"a:http"} }), "not an address"},
		{"an address is there once", c(func(o *agent.Options) { o.Servers = []string{"[::1]:1", "[::1]:1"} }), "named twice"},
		{"other machines are not spoken to in clear", c(func(o *agent.Options) { o.Servers = []string{"10.0.0.1:8091"} }), "in clear"},
		{"nor by name", c(func(o *agent.Options) { o.Servers = []string{"control.example:8091"} }), "sluice pki issue"},
		{"a token is not sent in clear", c(func(o *agent.Options) { o.Token = func() (string, error) { return "t", nil } }), "join token"},
		{"a proxy has a name", c(func(o *agent.Options) { o.Node = "" }), "node"},
		{"and namespaces", c(func(o *agent.Options) { o.Namespaces = nil }), "namespaces"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := agent.New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}
