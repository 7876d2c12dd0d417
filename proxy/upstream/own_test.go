// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// owned returns the instance at an origin whose connections belong to clients.
func (o *origin) owned(p *upstream.Pool) *upstream.Instance {
	t := by(p, o.target(p), upstream.Way{Proxy: routing.ProxyV2})
	p.Retain([]*upstream.Target{t})
	return t.Instances()[0]
}

func TestRest(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ends  func(p *upstream.Pool, c *upstream.Conn)
		alive bool
	}{
		{"a connection rests until it is resumed", func(p *upstream.Pool, _ *upstream.Conn) { p.Reap() }, true},
		{"it ends when it was idle for too long", func(p *upstream.Pool, c *upstream.Conn) { c.Aged(2 * time.Minute); p.Reap() }, false},
		{"it ends with its instance", func(p *upstream.Pool, _ *upstream.Conn) { p.Retain(nil) }, false},
		{"it ends with its client", func(_ *upstream.Pool, c *upstream.Conn) { c.Leave() }, false},
		{"it is not resumed when it was idle for too long", func(_ *upstream.Pool, c *upstream.Conn) { c.Aged(2 * time.Minute) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := newPool(nil)
			o := listen(t)
			i := o.owned(p)
			c := dial(t, i)
			if c.Reused {
				t.Error("a fresh connection is said to have served")
			}
			i.Rest(c, socket.Now(), time.Minute)
			if i.Get(0, socket.Now(), true) != nil {
				t.Fatal("a connection that belongs to a client is to be had by others")
			}
			tt.ends(p, c)
			if got := c.Resume(socket.Now(), true); got != tt.alive {
				t.Fatalf("Resume() = %v, want %v", got, tt.alive)
			}
			want := int64(0)
			if tt.alive {
				want = 1
				if !c.Reused {
					t.Error("it is not said to have served before")
				}
			}
			if open.Value() != want || p.Idle() != 0 {
				t.Errorf("%d connections are open, %d idle; want %d and none", open.Value(), p.Idle(), want)
			}
			if c.Resume(socket.Now(), true) {
				t.Error("it is resumed twice")
			}
		})
	}
}

// Clients come and go while the pool looks through what rests and instances
// end: no connection is handed out twice, or left behind.
func TestRestUnderLoad(t *testing.T) {
	p, open := newPool(nil)
	at := serving(t, func(nc net.Conn) { _, _ = io.Copy(nc, nc) })
	way, o := upstream.Way{Proxy: routing.ProxyV1}, &origin{addr: at}
	ready, unready := by(p, p.Fixed(o.instance(true), nil), way), by(p, p.Fixed(o.instance(false), nil), way)
	p.Retain([]*upstream.Target{ready})
	i := ready.Instances()[0]
	stop := make(chan struct{})
	var clients, keeper sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			var c *upstream.Conn
			for k := range 200 {
				if c == nil || !c.Resume(socket.Now(), k%2 == 0) {
					var err error
					if c, err = i.Dial(t.Context(), patience); err != nil {
						t.Errorf("Dial() error = %v", err)
						return
					}
				}
				// The header comes back first, once.
				if _, err := c.Write([]byte("x\n")); err != nil {
					t.Errorf("Write() error = %v", err)
				}
				for b := make([]byte, 100); ; {
					n, err := c.Read(b)
					if err != nil {
						t.Errorf("Read() error = %v", err)
						return
					}
					if bytes.HasSuffix(b[:n], []byte("x\n")) {
						break
					}
				}
				i.Rest(c, socket.Now(), time.Minute)
				if k%20 == 19 {
					c.Leave()
					c = nil
				}
			}
			if c != nil {
				c.Leave()
			}
		})
	}
	keeper.Go(func() {
		for k := 0; ; k++ {
			select {
			case <-stop:
				return
			default:
			}
			p.Reap()
			if k%10 == 0 {
				p.Retain([]*upstream.Target{unready}) // which closes what rests
				p.Retain([]*upstream.Target{ready})
			}
			runtime.Gosched()
		}
	})
	clients.Wait()
	close(stop)
	keeper.Wait()
	if open.Value() != 0 || p.Idle() != 0 || i.Listed() != 0 {
		t.Errorf("%d connections are open, %d idle, %d listed; want none", open.Value(), p.Idle(), i.Listed())
	}
}
