// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

// session is one of a proxy with a control plane that we are.
type session struct {
	grpc.BidiStreamingServer[controlpb.FromProxy, controlpb.ToProxy]
	hello *controlpb.Hello
}

func (s *session) welcome() error {
	return s.Send(&controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: &controlpb.Welcome{
		Server: "fake", Epoch: s.hello.GetServes().GetEpoch(), KeepaliveNs: int64(10 * time.Second), Protocol: 1,
	}}})
}

func (s *session) update(u *controlpb.Update) error {
	return s.Send(&controlpb.ToProxy{Message: &controlpb.ToProxy_Update{Update: u}})
}

// hear waits until the proxy says what is asked for. The error is how the
// session ended before that.
func (s *session) hear(what func(*controlpb.FromProxy) bool) error {
	for {
		m, err := s.Recv()
		if err != nil || what(m) {
			return err
		}
	}
}

// next returns a version after the one that the proxy serves.
func (s *session) next(n uint64) *controlpb.Version {
	v := s.hello.GetServes()
	return &controlpb.Version{Epoch: v.GetEpoch(), Revision: v.GetRevision() + n}
}

// fake is a control plane that says to each proxy what its script has.
type fake struct {
	controlpb.UnimplementedControlServer
	scripts map[string]func(*session) error

	mu    sync.Mutex       // guards what follows
	ends  map[string]error // of the first session of each proxy, by its script
	ended map[string]chan struct{}
}

// Connect runs the script of a proxy once; then the proxy is told that nobody
// is there.
func (f *fake) Connect(stream grpc.BidiStreamingServer[controlpb.FromProxy, controlpb.ToProxy]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	node := first.GetHello().GetNode()
	f.mu.Lock()
	script := f.scripts[node]
	_, done := f.ends[node]
	if script != nil && !done {
		f.ends[node] = nil // under way
	}
	f.mu.Unlock()
	if script == nil || done {
		return grpcstatus.Error(codes.Unavailable, "there is nothing to say any more")
	}
	err = script(&session{BidiStreamingServer: stream, hello: first.GetHello()})
	f.mu.Lock()
	f.ends[node] = err
	close(f.ended[node])
	f.mu.Unlock()
	<-stream.Context().Done() // the proxy, or the end of the test
	return nil
}

// serveFake serves scripts, by the node that they are for, where the control
// plane was.
func serveFake(t *testing.T, address string, scripts map[string]func(*session) error) *fake {
	t.Helper()
	f := &fake{scripts: scripts, ends: map[string]error{}, ended: map[string]chan struct{}{}}
	for node := range scripts {
		f.ended[node] = make(chan struct{})
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	controlpb.RegisterControlServer(srv, f)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return f
}

// end waits until the script of a node has ended.
func (f *fake) end(t *testing.T, node string) error {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-f.ended[node]:
	case <-late.C:
		t.Fatalf("%s: the script has not ended within %v", node, patience)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ends[node]
}

// babble is a listener that answers whatever comes with bytes that mean
// nothing, and returns its address.
func babble(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				defer stop()
				defer c.Close()
				for i := range 100_000 {
					if _, err := fmt.Fprintf(c, "%c\xff\x00 nonsense %d", i, i*i); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}
