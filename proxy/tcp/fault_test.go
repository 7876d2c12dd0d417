// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestAPanicEndsItsConnectionOnly(t *testing.T) {
	address := origin(t, func(nc *net.TCPConn) { _, _ = io.Copy(nc, nc) })
	b := newBed(t, fmt.Sprintf("{\"[%s]\": {}}", address))
	series := b.gateway.Routes[0].Series
	b.gateway.Routes[0].Series = nil // which is a fault
	got, err := io.ReadAll(b.connect())
	if err == nil || len(got) > 0 {
		t.Errorf("the client reads %q, %v; want a reset", got, err)
	}
	if n := b.registry.Panics().Value(); n != 1 {
		t.Errorf("%d panics are counted, want 1", n)
	}
	b.gateway.Routes[0].Series = series
	c := b.connect()
	_, _ = io.WriteString(c, "ping")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "ping" {
		t.Errorf("the next client reads %q, %v; want ping", got, err)
	}
}

// A connection that a fault ended was decided, so it has an end.
func TestAPanicLosesCountOfNothing(t *testing.T) {
	_, port, _ := net.SplitHostPort(refusing(t))
	b := newBed(t, only(net.JoinHostPort("shop.test.", port)))
	b.gateway.Routes[0].Retries = nil // which is a fault once an instance refuses
	if got, err := io.ReadAll(b.connect()); err == nil || len(got) > 0 {
		t.Errorf("the client reads %q, %v; want a reset", got, err)
	}
	if n := b.registry.Panics().Value(); n != 1 {
		t.Errorf("%d panics are counted, want 1", n)
	}
	now := b.totals()
	if now.InFlight != 0 || now.Requests[metrics.ClassNone] != 1 {
		t.Errorf("%d are in flight, %d ended; want 0 and 1", now.InFlight, now.Requests[metrics.ClassNone])
	}
	if over := b.registry.Books().Total(); over != 1 || b.registry.Unaccounted() != 0 {
		t.Errorf("%d are over, %d unaccounted; want 1 and 0", over, b.registry.Unaccounted())
	}
}
