// SPDX-License-Identifier: Apache-2.0

// Package streamtest has a proxy that says what a test has it say.
package streamtest

import (
	"context"
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// Patience is how long what must come is waited for.
const Patience = time.Minute

// Options shape a Proxy. The zero Options are those of a node "edge" of
// default/default, in plain text.
type Options struct {
	// Hello is what it says first; nil means what Hello gives.
	Hello *controlpb.Hello
	// TLS is how it connects; nil means plain text.
	TLS *tls.Config
	// Token is the join token that it shows, empty for none.
	Token string
	// Dial are further options of the connection.
	Dial []grpc.DialOption
}

// Hello returns what a node says first that holds nothing; without namespaces
// it is of default/default.
func Hello(node string, namespaces ...string) *controlpb.Hello {
	if len(namespaces) == 0 {
		namespaces = []string{"default/default"}
	}
	return &controlpb.Hello{Protocol: 1, Node: node, Namespaces: namespaces}
}

// Proxy is the end of a session at a proxy. Its methods are for one goroutine,
// but for Close.
type Proxy struct {
	Receiver wire.Receiver
	Stream   grpc.BidiStreamingClient[controlpb.FromProxy, controlpb.ToProxy]

	tb     testing.TB
	conn   *grpc.ClientConn
	cancel context.CancelFunc
	once   sync.Once
}

// Dial connects to a control plane and begins a stream; it does not say Hello.
// The proxy is closed at the end of the test.
func Dial(tb testing.TB, address string, o Options) *Proxy {
	tb.Helper()
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	conn, err := grpc.NewClient(address, append([]grpc.DialOption{grpc.WithTransportCredentials(creds)}, o.Dial...)...)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{tb: tb, conn: conn}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	tb.Cleanup(p.Close)
	if o.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+o.Token)
	}
	if p.Stream, err = controlpb.NewControlClient(conn).Connect(ctx, grpc.WaitForReady(o.TLS == nil)); err != nil {
		tb.Fatal(err)
	}
	return p
}

// Join connects, says Hello and hears Welcome.
func Join(tb testing.TB, address string, o Options) *Proxy {
	tb.Helper()
	p := Dial(tb, address, o)
	if o.Hello == nil {
		o.Hello = Hello("edge")
	}
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Hello{Hello: o.Hello}})
	m, err := p.Next()
	if err != nil {
		tb.Fatalf("after Hello: %v", err)
	}
	if m.GetWelcome() == nil {
		tb.Fatalf("after Hello came %v, want Welcome", m)
	}
	return p
}

// Close ends the connection at once.
func (p *Proxy) Close() {
	p.once.Do(func() {
		p.cancel()
		_ = p.conn.Close()
	})
}

// Say sends a message. Errors show when the next message is waited for.
func (p *Proxy) Say(m *controlpb.FromProxy) { _ = p.Stream.Send(m) }

// Next returns the next message, pings left out, which it answers. It fails
// the test if none comes in time. The error is that of the stream.
func (p *Proxy) Next() (*controlpb.ToProxy, error) {
	p.tb.Helper()
	timer := time.AfterFunc(Patience, p.Close)
	defer timer.Stop()
	for {
		m, err := p.Stream.Recv()
		if err != nil {
			return nil, err
		}
		ping := m.GetPing()
		if ping == nil {
			return m, nil
		}
		p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Pong{Pong: &controlpb.Pong{Number: ping.GetNumber()}}})
	}
}

// Receive returns the next table, all parts of it.
func (p *Proxy) Receive() *wire.Received {
	p.tb.Helper()
	for {
		m, err := p.Next()
		if err != nil {
			p.tb.Fatalf("waiting for a table: %v", err)
		}
		if m.GetUpdate() == nil {
			p.tb.Fatalf("waiting for a table came %v", m)
		}
		got, err := p.Receiver.Receive(m.GetUpdate())
		if err != nil {
			p.tb.Fatal(err)
		}
		if got != nil {
			return got
		}
	}
}

// Ack tells that a table is served.
func (p *Proxy) Ack(r *wire.Received) {
	ack := &controlpb.Ack{Version: wire.FromVersion(r.Table.Version), Served: r.Served, Number: r.Number}
	for _, c := range r.Changes {
		ack.Changes = append(ack.Changes, c.GetId())
	}
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: ack}})
}

// Nack tells that a gateway of a table is refused, for a problem.
func (p *Proxy) Nack(r *wire.Received, gateway, problem string) {
	for _, held := range p.Receiver.Held() {
		if held.GetGateway() == gateway {
			p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{
				Gateway: held, Version: wire.FromVersion(r.Table.Version), Reasons: []*controlpb.Reason{{Problem: problem}},
			}}})
			return
		}
	}
	p.tb.Fatalf("there is no gateway %s to refuse", gateway)
}

// Follow takes and acknowledges tables until one has at least a version, and
// returns that.
func (p *Proxy) Follow(v routing.Version) *wire.Received {
	p.tb.Helper()
	for {
		r := p.Receive()
		p.Ack(r)
		if got := r.Table.Version; got.Epoch == v.Epoch && got.Revision >= v.Revision {
			return r
		}
	}
}
