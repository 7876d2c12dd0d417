// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// ending ends the proxy in the background.
func (b *bed) ending() <-chan error {
	done := make(chan error, 1)
	go func() { done <- b.end() }()
	return done
}

// ended waits for what ending began.
func ended(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run() = %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Run does not end")
	}
}

func TestDrain(t *testing.T) {
	p := freeport.One(t)
	o := block(t)
	bed := start(t, func(o *proxy.Options) { o.Drain = time.Hour })
	bed.apply(gateway("g", p, o.address))
	idle, busy := keep(t, local(p)), keep(t, local(p))
	idle.send(t, "/")
	idle.receive(t)
	busy.send(t, "/wait")
	<-o.arrived
	done := bed.ending()
	eventually(t, "nothing further is accepted", func() bool { return refused(t, p) })
	if ready, why := bed.server.Ready(); ready || why != "draining" {
		t.Errorf("Ready() = %v, %q while draining", ready, why)
	}
	// A kept connection may send requests until it is told that one is the
	// last.
	for last := false; !last; {
		var a answer
		idle.send(t, "/")
		if a, last = idle.receive(t); a.body != longBody {
			t.Fatalf("got %d bytes while draining, want %d", len(a.body), len(longBody))
		}
	}
	idle.expectEnd(t)
	select {
	case err := <-done:
		t.Fatalf("Run() = %v with an exchange under way", err)
	default:
	}
	close(o.released)
	if a, last := busy.receive(t); a.body != longBody || !last {
		t.Errorf("the exchange under way got %d bytes, last %v; want all %d, and the end announced", len(a.body), last, len(longBody))
	}
	ended(t, done)
	if n := bed.server.Connections(); n != 0 {
		t.Errorf("%d connections are open after the end", n)
	}
}

func TestDrainEndsConnectionsThatOnlyWait(t *testing.T) {
	p := freeport.One(t)
	o := block(t)
	bed := start(t, func(o *proxy.Options) { o.Drain = time.Millisecond })
	bed.apply(gateway("g", p, o.address))
	idle, busy := keep(t, local(p)), keep(t, local(p))
	idle.send(t, "/")
	idle.receive(t)
	busy.send(t, "/wait")
	<-o.arrived
	done := bed.ending()
	idle.expectEnd(t)
	close(o.released)
	if a, _ := busy.receive(t); a.body != longBody {
		t.Errorf("the exchange under way got %d bytes, want %d", len(a.body), len(longBody))
	}
	ended(t, done)
}

func TestCutConnections(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape func(*proxy.Options)
		cut   func(*bed)
	}{
		{"at the hard stop", func(o *proxy.Options) { o.Drain, o.HardStop = time.Hour, time.Millisecond }, func(*bed) {}},
		{"when told to stop", func(o *proxy.Options) { o.Drain = time.Hour }, func(b *bed) { b.server.Stop() }},
		{"at once, without drain", nil, func(*bed) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, q := freeport.One(t), freeport.One(t)
			o := block(t)
			instance := listen(t)
			bed := start(t, tt.shape)
			bed.apply(gateway("g", p, o.address) + fmt.Sprintf("---\nname: plain\nport: %d/tcp\nroutes: {\"[%s]\": {}}\n", q, instance.Addr()))
			busy, idle, silent := keep(t, local(p)), keep(t, local(p)), keep(t, local(p))
			idle.send(t, "/")
			idle.receive(t)
			busy.send(t, "/wait")
			<-o.arrived
			plain := dial(t, local(q))
			far, err := instance.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			done := bed.ending()
			eventually(t, "nothing further is accepted", func() bool { return refused(t, p) })
			tt.cut(bed)
			ended(t, done)
			for _, nc := range []net.Conn{busy.Conn, idle.Conn, silent.Conn, plain, far} {
				b, err := io.ReadAll(nc)
				var ne net.Error
				if errors.As(err, &ne) && ne.Timeout() {
					t.Error("a connection is not cut")
				}
				// The exchange under way may be told what became of it.
				if len(b) > 0 && (nc != busy.Conn || !bytes.HasPrefix(b, []byte("HTTP/1.1 50"))) {
					t.Errorf("got %.60q before the connection was cut", b)
				}
			}
		})
	}
}

func TestEndWithoutATable(t *testing.T) {
	bed := start(t, func(o *proxy.Options) { o.Drain = time.Hour })
	ended(t, bed.ending())
}

// ours returns the stacks of the goroutines that the proxy started.
func ours() []string {
	buf := make([]byte, 1<<22)
	var list []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "/sluice/proxy") && !strings.Contains(stack, "/sluice/proxy_test.") {
			list = append(list, stack)
		}
	}
	return list
}

func TestNoGoroutineOutlivesRun(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	o := block(t)
	bed := start(t, func(o *proxy.Options) { o.Drain = time.Millisecond })
	for i := range 5 {
		bed.apply(gateway("g", p, o.address))
		k := keep(t, local(p))
		k.send(t, "/")
		k.receive(t)
		bed.apply(fmt.Sprintf("name: g\nport: %d/tcp\nroutes: {\"[%s]\": {}}\n", []int{p, q}[i%2], banner(t)))
		plain := dial(t, local([]int{p, q}[i%2]))
		if b, _ := io.ReadAll(plain); string(b) != "hello" {
			t.Fatalf("got %q", b)
		}
		_ = plain.Close() // the client's half ends last
	}
	bed.apply(gateway("g", p, o.address) + gateway("named", q, "nobody.invalid:80"))
	busy := keep(t, local(p))
	busy.send(t, "/wait")
	<-o.arrived
	if len(ours()) == 0 {
		t.Fatal("the test does not see the goroutines of a proxy that runs")
	}
	done := bed.ending()
	close(o.released)
	busy.receive(t)
	ended(t, done)
	// A goroutine that has returned may still be seen for a moment.
	eventually(t, "all goroutines have ended", func() bool { return len(ours()) == 0 })
}

func TestConnectionsAreCounted(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	o := block(t)
	instance := listen(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, o.address) + fmt.Sprintf("---\nname: plain\nport: %d/tcp\nroutes: {\"[%s]\": {}}\n", q, instance.Addr()))
	open := func(kind string) int64 { return bed.registry.ConnectionsOpen(kind).Value() }
	a, b := keep(t, local(p)), keep(t, local(p))
	a.send(t, "/wait")
	<-o.arrived
	b.send(t, "/wait")
	<-o.arrived
	plain := dial(t, local(q))
	far, err := instance.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	eventually(t, "2 client, 3 upstream and 1 tcp connections are counted", func() bool {
		return open("client") == 2 && open("upstream") == 3 && open("tcp") == 1
	})
	if n := bed.server.Connections(); n != 3 {
		t.Errorf("Connections() = %d, want 3", n)
	}
	close(o.released)
	a.receive(t)
	b.receive(t)
	_ = a.Close()
	_ = plain.Close()
	_ = far.Close()
	eventually(t, "closed connections are counted down", func() bool {
		return open("client") == 1 && open("tcp") == 0 && open("upstream") == 2 && bed.server.Connections() == 1
	})
	if err := bed.end(); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"client", "upstream", "tcp"} {
		if n := open(kind); n != 0 {
			t.Errorf("%d connections of kind %s are open after the end", n, kind)
		}
	}
}
