// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"fmt"
	"io"
	"net"
	"testing"
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
