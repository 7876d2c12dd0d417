// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// knock sends a request on a connection of its own.
func knock(t *testing.T, port int) {
	t.Helper()
	k := keep(t, local(port))
	defer k.Close()
	k.send(t, "/")
	if a, _ := k.receive(t); a.header.Get("Sluice-Reason") != "no_route" {
		t.Errorf("port %d: got %d, Sluice-Reason %q; want the gateway's own answer", port, a.status, a.header.Get("Sluice-Reason"))
	}
}

func TestListenersToWhichNobodyComesSleep(t *testing.T) {
	ports := []int{freeport.One(t), freeport.One(t), freeport.One(t)}
	bed := start(t, nil)
	var table strings.Builder
	for i, p := range ports {
		fmt.Fprintf(&table, "---\n{name: g%d, port: %d, routes: {}}\n", i, p)
	}
	bed.apply(table.String())
	if n := bed.server.Awake(); n != 0 {
		t.Errorf("%d listeners have goroutines, want none before the first connection", n)
	}
	for range 3 {
		knock(t, ports[1])
	}
	if n := bed.server.Awake(); n != 1 {
		t.Errorf("%d listeners have goroutines, want 1, to which connections came", n)
	}
}

func TestListenersFallAsleepAgain(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.server.StayAwake(time.Millisecond)
	bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", p))
	for range 20 {
		knock(t, p)
		eventually(t, "it sleeps again", func() bool { return bed.server.Awake() == 0 })
	}
}

func TestListenersThatFallAsleepMissNoConnection(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.server.StayAwake(time.Microsecond)
	bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", p))
	for range 300 {
		knock(t, p)
	}
}

func TestSleepingListenersEndAndChange(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, func(o *proxy.Options) { o.Drain = -1 })
	for range 5 {
		bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", p))
		knock(t, p)
		bed.apply(fmt.Sprintf("{name: g, port: %d/tcp, routes: {}}", p))
		bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", p))
		knock(t, p)
		bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", freeport.One(t)))
	}
}
