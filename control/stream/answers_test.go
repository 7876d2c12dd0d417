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

// Of a table that was let go of it is not known which forms it had. What a
// proxy then says of gateways that there may never have been is believed within
// bounds, and told nobody.
func TestRefusalsAtATableThatWasLetGo(t *testing.T) {
	var mu sync.Mutex
	var told []string
	registry := metrics.New(metrics.Options{})
	b := serve(t, stream.Options{Patience: time.Hour, Registry: registry, Hooks: stream.Hooks{Refused: func(_ stream.Proxy, r stream.Refusal) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Gateway)
	}}})
	strays := func() int { return counted(registry, metrics.ControlMessagesDropped.Name, "stray") }
	const kept = 32
	var old *streamtest.Proxy
	var table *wire.Received
	revision := uint64(0)
	publish := func() {
		t.Helper()
		revision++
		next := version(revision)
		b.Publish(plan(home, revision, gateway("a", strconv.FormatUint(revision, 10)), gateway("b", "1")))
		until(t, "it is published", func() bool { return revision == 1 || b.Current(home) == next })
	}
	for i := range kept + 2 { // each is used by one proxy, which does not answer
		publish()
		p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello(fmt.Sprintf("edge-%02d", i))})
		r := p.Receive()
		if i == 0 {
			old, table = p, r
		}
	}
	publish()
	refuse := func(gateway string) {
		old.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{
			Version: wire.FromVersion(table.Table.Version), Number: table.Number, Gateway: &controlpb.Held{Gateway: gateway, Hash: make([]byte, 16)},
		}}})
	}
	take := func(gateway string) {
		old.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{
			Version: wire.FromVersion(table.Table.Version), Number: table.Number, Served: []*controlpb.Held{{Gateway: gateway}},
		}}})
	}
	refusals := func() (names []string) {
		for _, r := range b.Proxies()[0].Refusals {
			names = append(names, r.Gateway)
		}
		return names
	}
	refuse(strings.Repeat("x", 513))
	until(t, "a name that is too long does not count", func() bool { return strays() == 1 })
	for _, name := range []string{"made up", "another", "a third"} {
		refuse(name)
	}
	until(t, "more than there are do not count", func() bool { return strays() == 2 })
	if got, want := refusals(), []string{"another", "made up"}; !slices.Equal(got, want) {
		t.Errorf("it refuses %q, want %q", got, want)
	}
	take("another")
	until(t, "it is taken", func() bool { return len(refusals()) == 1 })
	take("made up")
	until(t, "all is taken", func() bool { return len(refusals()) == 0 })
	for i := range 100 {
		refuse(fmt.Sprint("in turn ", i))
		take(fmt.Sprint("in turn ", i))
	}
	refuse("the last")
	until(t, "it is refused", func() bool { return slices.Equal(refusals(), []string{"the last"}) })
	mu.Lock()
	defer mu.Unlock()
	if len(told) > 0 {
		t.Errorf("it was told of refusals of %q, which no table had", told)
	}
}

// What a proxy refuses is shown in part, the first by name, and who is told of
// one refusal is not shown the others: to sort them for each would take the
// control plane seconds.
func TestTheFirstRefusalsAreShown(t *testing.T) {
	const all, shown = 1000, 200
	said := make(chan stream.Proxy, all+1)
	b := serve(t, stream.Options{Hooks: stream.Hooks{Refused: func(p stream.Proxy, _ stream.Refusal) { said <- p }}})
	var gateways []*routing.Gateway
	var want []string
	for i := range all {
		name := fmt.Sprintf("g%04d", i)
		gateways = append(gateways, gateway(name, "1"))
		if i < shown {
			want = append(want, name)
		}
	}
	b.Publish(plan(home, 1, gateways[0]))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	p.Follow(version(1)) // of one gateway it takes all, and of the next table nothing
	b.Publish(plan(home, 2, gateways...))
	r := p.Receive()
	held := p.Receiver.Held()
	for i := range held { // in no order
		p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{
			Version: wire.FromVersion(r.Table.Version), Number: r.Number, Gateway: held[i*7%all],
		}}})
	}
	until(t, "all are told", func() bool { return len(said) == all })
	one := b.Proxies()[0]
	got := make([]string, 0, shown)
	for _, r := range one.Refusals {
		got = append(got, r.Gateway)
	}
	if !slices.Equal(got, want) || one.Gateways != 0 {
		t.Errorf("of a proxy that takes %d gateways %d refusals are shown: %q, want 0 and the first %d", one.Gateways, len(got), got, shown)
	}
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Version: wire.FromVersion(version(2))}}})
	until(t, "the refusal of the table is told, too", func() bool { return len(said) == all+1 })
	if list := b.Proxies()[0].Refusals; len(list) != shown+1 || list[0].Gateway != "" || list[1].Gateway != want[0] {
		t.Errorf("then %d refusals are shown, of which the first are of %q and %q, want that of the table before %d others", len(list), list[0].Gateway, list[1].Gateway, shown)
	}
	for len(said) > 0 {
		if p := <-said; p.Node != "edge" || !slices.Equal(p.Namespaces, []string{home}) || len(p.Refusals) > 0 {
			t.Fatalf("who is told of a refusal is shown %s of %q with %d refusals, want edge of default/default with none", p.Node, p.Namespaces, len(p.Refusals))
		}
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
