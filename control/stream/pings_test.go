// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
)

// local is a listener of pipes that stands on this machine, and is closed.
type local struct {
	pipes

	once *sync.Once
}

func (local) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l local) Close() error {
	l.once.Do(func() { close(l.calls) })
	return nil
}

// A proxy asks for a sign of life as often as it likes to know, however long the
// server is content with silence.
func TestIdleProxiesMayAskForSignsOfLife(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 10 * time.Second, time.Minute, time.Hour} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := stream.New(stream.Options{Keepalive: every})
				if err != nil {
					t.Fatal(err)
				}
				ln := local{pipes{calls: make(chan net.Conn)}, new(sync.Once)}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- s.Serve(ctx, ln) }()
				p := streamtest.Join(t, "passthrough:///server", streamtest.Options{Dial: []grpc.DialOption{
					grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return ln.call(), nil }),
					grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
				}})
				stay := time.AfterFunc(5*time.Minute, p.Close)
				m, err := p.Stream.Recv()
				for ; err == nil; m, err = p.Stream.Recv() {
					p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Pong{Pong: &controlpb.Pong{Number: m.GetPing().GetNumber()}}})
				}
				if stay.Stop() {
					t.Errorf("it is sent away: %v", err)
				}
				p.Close()
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
