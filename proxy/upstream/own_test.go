// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
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
