// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// A write that changes two namespaces makes two tables of one version, where
// the two are planned one after the other. An answer to the first says nothing
// of the second, however late it comes.
func TestTablesOfOneVersion(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Millisecond})
	b.Publish(plan("a/x", 1, gateway("x", "1")))
	b.Publish(plan("a/y", 1, gateway("y", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("edge", "a/x", "a/y")})
	p.Follow(version(1))
	b.Publish(with(plan("a/x", 5, gateway("x", "2")), 1))
	first := p.Receive()
	b.Publish(with(plan("a/y", 5, gateway("y", "2")), 2))
	second := p.Receive()
	if first.Table.Version != version(5) || second.Table.Version != version(5) || first.Number >= second.Number {
		t.Fatalf("the tables are %v number %d and %v number %d, want one version and two numbers", first.Table.Version, first.Number, second.Table.Version, second.Number)
	}
	state := func(change uint64) stream.State {
		c, _ := b.Convergence(change)
		return c.State
	}
	p.Ack(first)
	until(t, "the first is served", func() bool { return state(1) == stream.Converged })
	if got := state(2); got != stream.Planned {
		t.Errorf("after an answer to the first table the second change is %s", got)
	}
	// What serves better by now is told under the number of the first, too.
	p.Nack(first, "x", "its port is taken")
	until(t, "x is refused", func() bool { return len(b.Proxies()[0].Refusals) == 1 })
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{
		Version: wire.FromVersion(version(5)), Number: first.Number, Served: []*controlpb.Held{{Gateway: "x"}},
	}}})
	until(t, "x is served", func() bool { return len(b.Proxies()[0].Refusals) == 0 })
	if got := state(2); got != stream.Planned {
		t.Errorf("after a second answer to the first table the second change is %s", got)
	}
	p.Ack(second)
	until(t, "the second is served", func() bool { return state(2) == stream.Converged })
}

// A proxy of before there were numbers is believed to speak of the newest table
// of a version.
func TestAnswersWithoutANumber(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(with(plan(home, 1, gateway("a", "1")), 1))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	r := p.Receive()
	r.Number = 0
	p.Ack(r)
	b.converges(t, 1)
	b.Publish(with(plan(home, 2, gateway("a", "2")), 2))
	p.Receive()
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Version: wire.FromVersion(version(2))}}})
	if c := b.converges(t, 2); c.State != stream.Refused {
		t.Errorf("the change is %+v, want it refused", c)
	}
}

// Whoever answers without end is read slowly, and nothing of it is dropped.
func TestAnswersAreBounded(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	b := serve(t, stream.Options{Registry: registry})
	b.AnswersAtOnce(10)
	p := streamtest.Join(t, b.address, streamtest.Options{})
	for range 50 {
		p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{}}})
		p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{}}})
	}
	strays := func() int { return counted(registry, metrics.ControlMessagesDropped.Name, "stray") }
	until(t, "the first are read", func() bool { return strays() == 10 })
	p.Close()
	until(t, "the session has ended", func() bool { return !b.Proxies()[0].Connected })
	if n := strays(); n != 10 {
		t.Errorf("%d answers were read at once, want 10", n)
	}
	if n := counted(registry, metrics.ControlMessagesDropped.Name, "rate"); n != 0 {
		t.Errorf("%d answers were dropped", n)
	}
}

// A proxy that takes and refuses a gateway in turn is told of once.
func TestRefusalsAreToldOnce(t *testing.T) {
	refused := make(chan stream.Refusal, 100)
	b := serve(t, stream.Options{Hooks: stream.Hooks{Refused: func(_ stream.Proxy, r stream.Refusal) { refused <- r }}})
	b.Publish(plan(home, 1, gateway("a", "1"), gateway("b", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	r := p.Receive()
	p.Ack(r)
	refuse := func(gateway, problem string) {
		t.Helper()
		p.Nack(r, gateway, problem)
		until(t, "it is refused", func() bool {
			list := b.Proxies()[0].Refusals
			return len(list) == 1 && list[0].Reasons[0].Problem == problem
		})
	}
	take := func() {
		t.Helper()
		p.Ack(r)
		until(t, "it is taken", func() bool { return len(b.Proxies()[0].Refusals) == 0 })
	}
	for turn := range 5 {
		refuse("a", fmt.Sprintf("first %d", turn))
		take()
	}
	refuse("b", "another")
	take()
	b.Publish(plan(home, 2, gateway("a", "2"), gateway("b", "1")))
	r = p.Receive()
	p.Ack(r)
	refuse("a", "second")
	refuse("a", "second, again")
	var told []string
	for len(refused) > 0 {
		told = append(told, (<-refused).Reasons[0].Problem)
	}
	if want := []string{"first 0", "another", "second"}; !slices.Equal(told, want) {
		t.Errorf("it was told of %q, want %q", told, want)
	}
}

// diary notes in which order it is told of proxies.
type diary struct {
	mu      sync.Mutex
	lines   []string
	leaving chan struct{} // Left waits for it, unless it is nil
	left    chan struct{} // Left has begun
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) Counters(_ string, _ func(string) string, c *controlpb.Counters) {
	d.note(c.GetSeries()[0].GetName())
}

func (d *diary) Health(string, func(string) string, *controlpb.Health) {}

func (d *diary) Left(string) {
	if d.leaving != nil {
		d.left <- struct{}{}
		<-d.leaving
	}
	d.note("left")
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

func counts(name string) *controlpb.FromProxy {
	return &controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: &controlpb.Counters{Series: []*controlpb.Series{{Name: name}}}}}
}

// Whoever adds up what proxies count hears the end of a session before anything
// of the next one, though the proxy is back before that is told.
func TestAnEndIsToldBeforeWhatComesNext(t *testing.T) {
	d := &diary{leaving: make(chan struct{}), left: make(chan struct{}, 10)}
	b := serve(t, stream.Options{Heard: d, Hooks: stream.Hooks{
		Joined: func(stream.Proxy) { d.note("joined") },
		Left:   func(stream.Proxy) { d.note("gone") },
	}})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	p.Say(counts("one"))
	until(t, "it is heard", func() bool { return d.String() == "joined one" })
	p.Close()
	<-d.left // and is not told yet
	p = streamtest.Dial(t, b.address, streamtest.Options{})
	p.Say(hello(streamtest.Hello("edge")))
	p.Say(counts("two"))
	until(t, "it has its place", func() bool { return b.Proxies()[0].Connected })
	close(d.leaving)
	until(t, "it is heard again", func() bool { return strings.HasSuffix(d.String(), "two") })
	if got, want := d.String(), "joined one left gone joined two"; got != want {
		t.Errorf("it was told %q, want %q", got, want)
	}
}

// A session that takes the place of another ends that one for who adds up.
func TestATakeOverEndsWhatWasCounted(t *testing.T) {
	d := &diary{}
	b := serve(t, stream.Options{Heard: d})
	streamtest.Join(t, b.address, streamtest.Options{}).Say(counts("one"))
	until(t, "it is heard", func() bool { return d.String() == "one" })
	second := streamtest.Join(t, b.address, streamtest.Options{})
	second.Say(counts("two"))
	until(t, "the second is heard", func() bool { return d.String() == "one left two" })
	second.Close()
	until(t, "the second left", func() bool { return d.String() == "one left two left" })
}

// Proxies that stand at tables of long ago cost one update together, and none
// once it was sent a while ago.
func TestUpdatesAreLetGo(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Hour})
	const stand, kept = 40, 32
	proxies := make([]*streamtest.Proxy, stand)
	tables := make([]*wire.Received, stand)
	for i := range proxies {
		b.Publish(plan(home, uint64(i+1), gateway("a", strconv.Itoa(i))))
		until(t, "it is published", func() bool { return i == 0 || b.Current(home) == version(uint64(i+1)) })
		proxies[i] = streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello(fmt.Sprintf("edge-%d", i))})
		tables[i] = proxies[i].Receive() // and does not say that it serves it
	}
	last := uint64(stand + 1)
	b.Publish(plan(home, last, gateway("a", "last")))
	until(t, "it is published", func() bool { return b.Current(home) == version(last) })
	for i, p := range proxies {
		p.Ack(tables[i])
		if got := p.Follow(version(last)); got.Table.Version != version(last) {
			t.Errorf("proxy %d got %v", i, got.Table.Version)
		}
	}
	if n := b.Parcels(time.Now()); n < 2 || n > kept+1 {
		t.Errorf("%d updates are kept, want one for each of the last %d tables at most, and one for all before", n, kept)
	}
	if n := b.Parcels(time.Now().Add(time.Hour)); n != 0 {
		t.Errorf("%d updates are kept that were made long ago", n)
	}
	late := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("late")})
	if got := late.Receive().Table.Version; got != (routing.Version{Epoch: 7, Revision: last}) {
		t.Errorf("a proxy that comes then gets %v", got)
	}
}
