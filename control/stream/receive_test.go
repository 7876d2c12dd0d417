// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// raw is a codec by which a client sends bytes as they are.
type raw struct{ encoding.CodecV2 }

func (r raw) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return r.CodecV2.Marshal(v)
}

// rawly is a client that may send bytes.
func rawly() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{encoding.GetCodecV2("proto")}), grpc.MaxCallSendMsgSize(1<<30))}
}

func TestMessagesThatEndASession(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	heard := &listener{fault: "panics"}
	b := serve(t, stream.Options{Registry: registry, Heard: heard})
	b.Publish(plan(home, 1, gateway("a", "1")))
	other := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("other")})
	other.Follow(version(1))
	for i, tt := range []struct {
		name, reason string
		say          func(p *streamtest.Proxy)
		code         codes.Code
		text         string
	}{
		{"bytes that are no message", "malformed", func(p *streamtest.Proxy) { _ = p.Stream.SendMsg([]byte{0xff, 0xff, 1}) }, codes.InvalidArgument, "cannot be read"},
		{"a second Hello", "malformed", func(p *streamtest.Proxy) { p.Say(hello(streamtest.Hello("edge"))) }, codes.InvalidArgument, "first message only"},
		{"a text that is not UTF-8", "malformed", func(p *streamtest.Proxy) {
			_ = p.Stream.SendMsg([]byte{0x1a, 5, 0x0a, 3, 0x0a, 1, 0xff}) // Nack{gateway: {gateway: "\xff"}}
		}, codes.InvalidArgument, "UTF-8"},
		{"too many bytes", "too_large", func(p *streamtest.Proxy) { _ = p.Stream.SendMsg(make([]byte, 17<<20)) }, codes.ResourceExhausted, "larger than max"},
		{"what our own code falls over", "panic", func(p *streamtest.Proxy) {
			p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: &controlpb.Counters{Series: []*controlpb.Series{{Name: "panics"}}}}})
		}, codes.Internal, "a fault of the control plane"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := streamtest.Join(t, b.address, streamtest.Options{Dial: rawly()})
			p.Follow(version(uint64(1 + i)))
			tt.say(p)
			refuses(t, p, tt.code, tt.text)
			until(t, "it is counted", func() bool { return counted(registry, metrics.ControlSessionsEnded.Name, tt.reason) > 0 })
			b.Publish(plan(home, uint64(2+i), gateway("a", tt.name))) // for others it goes on
			other.Follow(version(uint64(2 + i)))
		})
	}
}

// What says nothing about what was sent does not count, and ends nothing.
func TestStrayMessagesDoNotCount(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	b := serve(t, stream.Options{Registry: registry})
	b.Publish(with(plan(home, 5, gateway("a", "1")), 1))
	p := streamtest.Join(t, b.address, streamtest.Options{Dial: rawly()})
	r := p.Receive()
	hash := make([]byte, 16)
	for _, m := range []*controlpb.FromProxy{
		{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{}}},
		{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{Version: wire.FromVersion(version(4))}}},
		{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{Version: &controlpb.Version{Epoch: 8, Revision: 5}}}},
		{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Version: wire.FromVersion(version(4))}}},
		{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Gateway: &controlpb.Held{Gateway: "a", Hash: hash}}}},
		{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Gateway: &controlpb.Held{Gateway: "a"}}}},
		{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Gateway: &controlpb.Held{Gateway: "b", Hash: hash}}}},
	} {
		p.Say(m)
	}
	_ = p.Stream.SendMsg([]byte{0x7a, 0}) // a kind of message that is not known yet
	_ = p.Stream.SendMsg([]byte{})
	until(t, "all were looked at", func() bool { return counted(registry, metrics.ControlMessagesDropped.Name, "stray") == 7 })
	if list := b.Proxies(); list[0].Version != (routing.Version{}) || len(list[0].Refusals) != 0 {
		t.Errorf("the proxy is %+v", list[0])
	}
	p.Ack(r)
	b.converges(t, 1)
}

// listener notes what proxies count.
type listener struct {
	fault string // of a series: it panics
	mu    sync.Mutex
	said  []string
	left  []string
}

func (l *listener) Counters(proxy string, namespaceOf func(string) string, c *controlpb.Counters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range c.GetSeries() {
		if l.fault != "" && s.GetName() == l.fault {
			panic("it was asked for")
		}
		l.said = append(l.said, fmt.Sprintf("%s counts %s of %q", proxy, s.GetName(), namespaceOf(s.GetName())))
	}
}

func (l *listener) Health(proxy string, namespaceOf func(string) string, h *controlpb.Health) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range h.GetChanged() {
		l.said = append(l.said, fmt.Sprintf("%s sees %s of %q", proxy, i.GetAddress(), namespaceOf(i.GetGateway())))
	}
}

func (l *listener) Left(proxy string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = append(l.left, proxy)
}

func (l *listener) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(l.said, l.left...), "; ")
}

func TestHeard(t *testing.T) {
	l := &listener{}
	b := serve(t, stream.Options{Heard: l})
	b.Publish(plan("a/x", 1, gateway("one", "1")))
	b.Publish(plan("a/y", 2, gateway("one", "1"), gateway("two", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("edge", "a/y", "a/x")})
	p.Ack(p.Receive())
	count := func(gateways ...string) {
		c := &controlpb.Counters{}
		for _, g := range gateways {
			c.Series = append(c.Series, &controlpb.Series{Name: g})
		}
		p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: c}})
	}
	count("one", "two", "three")
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Health{Health: &controlpb.Health{Changed: []*controlpb.InstanceState{{Gateway: "two", Address: "10.0.0.1:80"}}}}})
	want := `edge a/x a/y counts one of "a/y"; edge a/x a/y counts two of "a/y"; edge a/x a/y counts three of ""; edge a/x a/y sees 10.0.0.1:80 of "a/y"`
	until(t, "all was heard", func() bool { return l.heard() == want })
	b.Publish(plan("a/y", 3, gateway("one", "1"))) // two has gone, and its last counts are still to come
	p.Ack(p.Receive())
	count("two")
	want += `; edge a/x a/y counts two of "a/y"`
	until(t, "the last counts were heard", func() bool { return l.heard() == want })
	p.Close()
	until(t, "it left", func() bool { return l.heard() == want+"; edge a/x a/y" })
}

func TestCountersAreBounded(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	l := &listener{}
	b := serve(t, stream.Options{Registry: registry, Heard: l})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	for range 1000 {
		p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: &controlpb.Counters{Series: []*controlpb.Series{{Name: "x"}}}}})
	}
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{}}})
	until(t, "all were looked at", func() bool { return counted(registry, metrics.ControlMessagesDropped.Name, "stray") == 1 })
	dropped := counted(registry, metrics.ControlMessagesDropped.Name, "rate")
	if dropped == 0 || dropped > 800 {
		t.Errorf("%d of 1,000 at once were dropped, want at most 800 and some", dropped)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.said)+dropped != 1000 {
		t.Errorf("%d were heard and %d dropped", len(l.said), dropped)
	}
}

func TestAHelloOf100000Gateways(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(plan(home, 1, gateway("a", "1")))
	h := streamtest.Hello("edge")
	for i := range 100_000 {
		h.Held = append(h.Held, &controlpb.Held{Gateway: fmt.Sprintf("%0100d", i), Hash: make([]byte, 16)})
	}
	if size := proto.Size(h); size > 16<<20 {
		t.Fatalf("it has %d bytes", size)
	}
	p := streamtest.Join(t, b.address, streamtest.Options{Hello: h})
	if got := names(p.Receive().Table); got != "a=1" {
		t.Errorf("the table is %q", got)
	}
}

// A proxy that reads nothing, its window and the buffers of the kernel full,
// costs one update, and gets the newest table in the end.
func TestAReaderThatStands(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Millisecond, Keepalive: time.Hour})
	conn := &standing{}
	wide := func(turn int) []*routing.Gateway {
		all := make([]*routing.Gateway, 4)
		for i := range all {
			all[i] = gateway(fmt.Sprintf("g%d", i), fmt.Sprintf("%d %s", turn, strings.Repeat("x", 20_000)))
		}
		return all
	}
	b.Publish(plan(home, 1, wide(1)...))
	slow := streamtest.Join(t, b.address, streamtest.Options{Dial: []grpc.DialOption{grpc.WithContextDialer(conn.dial)}})
	fast := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("fast")})
	slow.Follow(version(1))
	fast.Follow(version(1))
	conn.stop.Lock()
	stands := true
	defer func() {
		if stands {
			conn.stop.Unlock()
		}
	}()
	const versions = 1000
	change := func(revision int) {
		b.Publish(with(plan(home, uint64(revision), wide(revision)...), uint64(revision)))
		fast.Follow(version(uint64(revision)))
	}
	for revision := 2; revision < 100; revision++ {
		change(revision)
	}
	before := heap()
	for revision := 100; revision <= versions; revision++ {
		change(revision)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("after 100 tables %d MB are in use, after %d it is %d MB", before>>20, versions, after>>20)
	}
	until(t, "it is seen to stand", func() bool {
		c, _ := b.Convergence(versions)
		return len(c.Laggards) == 1 && strings.Contains(c.Laggards[0].Reason, "takes no data")
	})
	stands = false
	conn.stop.Unlock()
	if got := slow.Follow(version(versions)).Table.Version; got != version(versions) {
		t.Errorf("then came %v", got)
	}
	b.converges(t, versions)
}

// A connection that gives no sign of life is taken for lost, and what it did not
// serve is not waited for.
func TestSilentConnectionsEnd(t *testing.T) {
	b := serve(t, stream.Options{Keepalive: time.Second}) // gRPC has no shorter one
	conn := &standing{}
	b.Publish(plan(home, 1, gateway("a", "1")))
	lost := streamtest.Join(t, b.address, streamtest.Options{Dial: []grpc.DialOption{grpc.WithContextDialer(conn.dial)}})
	stays := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("stays")})
	lost.Follow(version(1))
	stays.Follow(version(1))
	conn.stop.Lock()
	defer conn.stop.Unlock()
	b.Publish(with(plan(home, 2, gateway("a", "2")), 1))
	stays.Follow(version(2))
	if c := b.converges(t, 1); c.State != stream.Converged || c.Proxies != 1 {
		t.Errorf("it is %+v", c)
	}
	if p := b.Proxies()[0]; p.Connected || p.Reason != "the connection was lost" {
		t.Errorf("the proxy is %+v", p)
	}
}

// A proxy whose connection lives, but which says nothing to pings, is ended,
// too.
func TestDeafProxiesEnd(t *testing.T) {
	b := serve(t, stream.Options{Keepalive: 100 * time.Millisecond})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	pings := 0
	for {
		m, err := p.Stream.Recv()
		if err != nil {
			if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "nothing was heard") || pings == 0 {
				t.Errorf("after %d pings it ends with %v", pings, err)
			}
			return
		}
		if m.GetPing() != nil {
			pings++
		}
	}
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// standing is a connection that may stop to read.
type standing struct {
	net.Conn
	stop sync.RWMutex // locked while it stands
}

func (s *standing) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	s.Conn = conn
	return s, nil
}

// Read waits while the connection stands.
func (s *standing) Read(p []byte) (int, error) {
	s.stop.RLock()
	s.stop.RUnlock() //nolint:staticcheck // waiting is all
	return s.Conn.Read(p)
}

// FuzzFromProxy has a proxy say anything: it ends its own session at most, and
// another one goes on.
func FuzzFromProxy(f *testing.F) {
	for _, m := range []proto.Message{
		hello(streamtest.Hello("edge")),
		&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{Version: wire.FromVersion(version(1)), Served: []*controlpb.Held{{Gateway: "a", Hash: make([]byte, 16)}}}}},
		&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Gateway: &controlpb.Held{Gateway: "a", Hash: make([]byte, 16)}, More: 1 << 31, Reasons: []*controlpb.Reason{{Problem: "p"}}}}},
		&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Version: wire.FromVersion(version(1))}}},
		&controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: &controlpb.Counters{Series: []*controlpb.Series{{Name: "x", Value: 1}}}}},
		&controlpb.FromProxy{Message: &controlpb.FromProxy_Pong{Pong: &controlpb.Pong{Number: 1}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint64(1))
	}
	registry := metrics.New(metrics.Options{})
	b := serve(f, stream.Options{Registry: registry, Heard: &listener{}, Patience: time.Millisecond})
	witness := streamtest.Join(f, b.address, streamtest.Options{Hello: streamtest.Hello("witness")})
	go func() { // follows all tables
		for {
			m, err := witness.Stream.Recv()
			if err != nil {
				return
			}
			if got, err := witness.Receiver.Receive(m.GetUpdate()); m.GetUpdate() != nil && err == nil && got != nil {
				witness.Ack(got)
			}
		}
	}()
	var mu sync.Mutex
	revision := uint64(0)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		mu.Lock()
		defer mu.Unlock()
		random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the fuzzer's own
		p := streamtest.Dial(t, b.address, streamtest.Options{Dial: rawly()})
		if seed%8 != 0 {
			p.Say(hello(streamtest.Hello("edge")))
		}
		ended := make(chan struct{})
		go func() { // whatever comes
			defer close(ended)
			for {
				if _, err := p.Stream.Recv(); err != nil {
					return
				}
			}
		}()
		// The bytes as one message, and cut into several at random.
		_ = p.Stream.SendMsg(data)
		for rest := data; len(rest) > 0 && seed%2 == 0; {
			n := 1 + random.IntN(len(rest))
			if p.Stream.SendMsg(rest[:n]) != nil {
				break
			}
			rest = rest[n:]
		}
		revision++
		b.Publish(plan(home, revision, gateway("a", strconv.FormatUint(revision, 10))))
		until(t, "another proxy goes on", func() bool {
			return slices.ContainsFunc(b.Proxies(), func(p stream.Proxy) bool { return p.Node == "witness" && p.Version == version(revision) })
		})
		_ = p.Stream.CloseSend()
		<-ended
		if n := counted(registry, metrics.ControlSessionsEnded.Name, "panic") + counted(registry, metrics.ControlSessionsRefused.Name, "panic"); n > 0 {
			t.Fatalf("%d sessions ended by a panic", n)
		}
	})
}

// A proxy that takes nothing does not keep the control plane from ending.
func TestServeEndsBesideAReaderThatStands(t *testing.T) {
	b := serve(t, stream.Options{Keepalive: time.Hour})
	conn := &standing{}
	b.Publish(plan(home, 1, gateway("a", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{Dial: []grpc.DialOption{grpc.WithContextDialer(conn.dial)}})
	p.Follow(version(1))
	conn.stop.Lock()
	defer conn.stop.Unlock()
	b.Publish(plan(home, 2, gateway("a", strings.Repeat("x", 30<<20>>2))))
	until(t, "it is being sent", func() bool { return b.Proxies()[0].Behind != time.Time{} })
	if err := b.stop(); err != nil {
		t.Error(err)
	}
}
