// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
)

func TestAPanicWhileAConnectionIsLetInClosesIt(t *testing.T) {
	registry := metrics.New(metrics.Options{Reasons: live.Reasons()})
	s := New(Options{Metrics: registry})
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.enter(t.Context(), new(listener), nc.(*net.TCPConn)) // of no kind, which is a fault
	_ = peer.SetDeadline(time.Now().Add(time.Minute))
	if got, err := io.ReadAll(peer); err != nil || len(got) > 0 {
		t.Errorf("the client reads %q, %v; want an end", got, err)
	}
	if n := registry.Panics().Value(); n != 1 {
		t.Errorf("%d panics are counted, want 1", n)
	}
}
