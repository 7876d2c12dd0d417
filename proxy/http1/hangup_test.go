// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// standing returns a connection whose exchange waits for an instance.
func standing(t *testing.T, patience time.Duration) (*conn, *upstream.Conn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var s socket.Sweeper
	sc, err := s.Open(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sc.Close() })
	u := &upstream.Conn{Conn: sc}
	u.Due(socket.Now() + int64(time.Hour))
	bounds := routing.DefaultBounds()
	bounds.HalfClosed = patience
	c := &conn{w: newWork()}
	c.w.bounds = &bounds
	c.w.client = c
	c.bear(false)
	c.upstream.Store(u)
	return c, u
}

// sweep does what the sweeper does, of a half-closed client.
func (c *conn) sweep(now int64) {
	if c.Waiting() {
		c.HalfClosed(now)
	}
}

func TestAHalfClosedClientIsWaitedWith(t *testing.T) {
	const patience = 5 * time.Second
	const second = int64(time.Second)
	for _, tt := range []struct {
		name   string
		amid   func(c *conn, u *upstream.Conn) // after 3 s
		ended  int64                           // seconds until it is ended
		before func(c *conn)
	}{
		{"from when it was first seen", nil, 6, nil},
		{"anew from when the answer has moved", func(_ *conn, u *upstream.Conn) { u.Due(u.DueAt() + 1) }, 9, nil},
		{"anew from a part of the head of the answer on", func(c *conn, _ *upstream.Conn) {
			w := c.w
			w.Data(copy(w.back, "HTTP/1.1 200 OK\r\n"))
		}, 8, nil},
		{"anew from an answer 100 on", func(c *conn, _ *upstream.Conn) {
			w := c.w
			w.plan.http10 = true // it is not passed on
			w.Data(copy(w.back, "HTTP/1.1 100 Continue\r\n\r\n"))
		}, 8, nil},
		{"for as long as a body is read", nil, 0, func(c *conn) { c.bear(true) }},
		{"until the body was read", func(c *conn, _ *upstream.Conn) { c.bear(false) }, 6, func(c *conn) { c.bear(true) }},
		{"for as long as there are further requests", nil, 0, func(c *conn) {
			c.w.to++
			c.bear(false)
		}},
		{"for as long as it wants a tunnel", nil, 0, func(c *conn) {
			c.w.head.upgrade = true
			c.bear(false)
		}},
		{"while the content has no deadline", nil, 0, func(c *conn) { c.upstream.Load().Due(0) }},
		{"in a tunnel", nil, 0, func(c *conn) { c.tunnelled.Store(true) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, u := standing(t, patience)
			if tt.before != nil {
				tt.before(c)
			}
			ended := int64(0)
			for at := int64(0); at < 20 && ended == 0; at++ {
				if at == 3 && tt.amid != nil {
					tt.amid(c, u)
				}
				c.sweep((1 + at) * second)
				if u.Expired() {
					ended = at
				}
				if c.gone.Load() != u.Expired() {
					t.Fatalf("after %d s: the client is taken for gone: %v, its exchange was ended: %v", at, c.gone.Load(), u.Expired())
				}
			}
			if ended != tt.ended {
				t.Errorf("the exchange ends after %d s, want %d", ended, tt.ended)
			}
		})
	}
}

func TestAnExchangeThatJustEndedIsNotTakenForAbandoned(t *testing.T) {
	c, u := standing(t, 0)
	c.sweep(1)
	if !c.Waiting() {
		t.Fatal("it does not stand still")
	}
	u.Due(u.DueAt() + 1) // of the next exchange
	c.HalfClosed(2)
	if c.gone.Load() || u.Expired() {
		t.Error("the next exchange pays for it")
	}
}
