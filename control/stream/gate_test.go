// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/metrics"
)

// pipes is a listener whose connections are made by the test.
type pipes struct {
	net.Listener
	calls chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.calls
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// call makes a connection.
func (p pipes) call() net.Conn {
	near, far := net.Pipe()
	p.calls <- far
	return near
}

// open reports whether a connection was not closed by the other side.
func open(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := c.Read(make([]byte, 1))
	return err != io.EOF //nolint:errorlint // a pipe gives it as it is
}

// door is a gate of two strangers and of 10 s.
type door struct {
	pipes
	let     chan net.Conn // those that it let in
	reasons chan string   // why it closed others
}

// atDoor tests a gate by the clock of a bubble.
func atDoor(t *testing.T, test func(*door)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		d := &door{pipes{calls: make(chan net.Conn, 10)}, make(chan net.Conn, 10), make(chan string, 10)}
		g := stream.NewGate(d, 2, 10*time.Second, func(reason string) { d.reasons <- reason })
		go func() {
			defer close(d.let)
			for {
				c, err := g.Accept()
				if err != nil {
					return
				}
				d.let <- c
			}
		}()
		test(d)
		close(d.calls)
		for c := range d.let {
			_ = c.Close()
		}
	})
}

// refused returns why connections were closed since it was asked last.
func (d *door) refused() (all []string) {
	synctest.Wait()
	for len(d.reasons) > 0 {
		all = append(all, <-d.reasons)
	}
	return all
}

func TestStrangersAreBounded(t *testing.T) {
	atDoor(t, func(d *door) {
		first, second, third := d.call(), d.call(), d.call()
		if got := d.refused(); !slices.Equal(got, []string{"strangers"}) || !open(first) || !open(second) || open(third) {
			t.Errorf("of three connections some were closed for %q, want the third alone", got)
		}
		known, stranger := <-d.let, <-d.let
		stream.Begin(known)
		stream.Begin(known) // one more on the same connection
		stream.End(known)
		fourth, fifth := d.call(), d.call()
		if got := d.refused(); !slices.Equal(got, []string{"strangers"}) || !open(fourth) || open(fifth) {
			t.Errorf("beside one that is known: %q, want room for one", got)
		}
		_ = known.Close() // which was no stranger
		sixth := d.call()
		if got := d.refused(); !slices.Equal(got, []string{"strangers"}) || open(sixth) {
			t.Errorf("after the known one went: %q, want no room", got)
		}
		stream.End(known) // it is gone, and counts no more
		_ = stranger.Close()
		_ = stranger.Close()
		seventh, eighth := d.call(), d.call()
		if got := d.refused(); !slices.Equal(got, []string{"strangers"}) || !open(seventh) || open(eighth) {
			t.Errorf("after a stranger went: %q, want room for one", got)
		}
		for _, c := range []net.Conn{<-d.let, <-d.let} {
			_ = c.Close()
		}
	})
}

func TestStrangersDoNotStay(t *testing.T) {
	const short, long = 9 * time.Second, 2 * time.Second // together more than the bound
	atDoor(t, func(d *door) {
		stays, goes := d.call(), d.call()
		known := <-d.let
		<-d.let
		time.Sleep(short) // of the bubble: none passes
		if got := d.refused(); len(got) > 0 || !open(stays) || !open(goes) {
			t.Errorf("too early some were closed for %q", got)
		}
		stream.Begin(known)
		time.Sleep(long)
		if got := d.refused(); !slices.Equal(got, []string{"late"}) || !open(stays) || open(goes) {
			t.Errorf("closed for %q, want the one without a session", got)
		}
		time.Sleep(time.Hour)
		stream.End(known)
		time.Sleep(short)
		stream.Begin(known) // what was begun to be waited for begins anew
		stream.End(known)
		time.Sleep(short)
		if got := d.refused(); len(got) > 0 || !open(stays) {
			t.Errorf("after its session it was closed for %q too early", got)
		}
		time.Sleep(long)
		if got := d.refused(); !slices.Equal(got, []string{"late"}) || open(stays) {
			t.Errorf("after its session it was closed for %q, want that it is late", got)
		}
	})
}

// Whoever only connects takes no place of a proxy, is counted, and is closed.
func TestConnectionsWithoutASession(t *testing.T) {
	p := newPKI(t)
	for name, o := range map[string]stream.Options{
		"plain":    {MaxProxies: 2},
		"with TLS": {MaxProxies: 2, Credentials: p.server, Tokens: p.tokens},
	} {
		t.Run(name, func(t *testing.T) {
			o.Registry = metrics.New(metrics.Options{})
			b := serve(t, o)
			b.SessionWithin(time.Hour)
			refused := func(reason string) int { return counted(o.Registry, metrics.ControlSessionsRefused.Name, reason) }
			join := streamtest.Options{Hello: streamtest.Hello("edge")}
			if o.Credentials != nil {
				join.TLS = p.client(t, auth.RoleProxy, "edge", home)
			}
			known := streamtest.Join(t, b.address, join)
			const strangers = 64 // for so few proxies
			idle := make([]net.Conn, strangers)
			connect := func() net.Conn {
				t.Helper()
				c, err := new(net.Dialer).DialContext(t.Context(), "tcp", b.address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			for i := range idle {
				idle[i] = connect()
			}
			beyond := connect()
			until(t, "the last is closed", func() bool { return refused("strangers") == 1 })
			_ = beyond.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := beyond.Read(make([]byte, 1)); err == nil {
				t.Error("the last connection was answered")
			}
			b.Publish(plan(home, 1, gateway("a", "1")))
			known.Follow(version(1))
			for _, c := range idle {
				_ = c.Close()
			}
			b.SessionWithin(time.Millisecond)
			until(t, "one that finds a place again does not stay", func() bool {
				c := connect()
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = io.Copy(io.Discard, c) // until it is closed
				return refused("late") > 0
			})
			b.Publish(plan(home, 2, gateway("a", "2")))
			known.Follow(version(2)) // which stays as long as it likes
			known.Close()
			until(t, "it has left", func() bool { return !b.Proxies()[0].Connected })
			b.SessionWithin(time.Hour)
			again := streamtest.Join(t, b.address, join)
			again.Follow(version(2))
		})
	}
}
