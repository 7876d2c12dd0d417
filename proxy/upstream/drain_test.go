// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// instance makes a list of the one instance at an origin.
func (o *origin) instance(ready bool) []*routing.Instance {
	return []*routing.Instance{{Address: o.addr.Addr(), Port: int(o.addr.Port()), Ready: ready}}
}

func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		name string
		ends func(p *upstream.Pool, o *origin, target *upstream.Target)
	}{
		{"an instance that nothing leads to", func(p *upstream.Pool, _ *origin, _ *upstream.Target) { p.Retain(nil) }},
		{"an instance that is not ready", func(p *upstream.Pool, o *origin, target *upstream.Target) {
			p.Retain([]*upstream.Target{p.Fixed(o.instance(false), target)})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := newPool(func(o *upstream.Options) { o.Drain = time.Hour })
			runPool(t, p)
			o := listen(t)
			target := p.Fixed(o.instance(true), nil)
			p.Retain([]*upstream.Target{target})
			i := target.Instances()[0]
			idle, back := dial(t, i), dial(t, i)
			idlePeer, backPeer := o.next(t), o.next(t)
			i.Put(0, idle, socket.Now(), time.Minute)

			tt.ends(p, o, target)
			if _, err := idlePeer.Read(make([]byte, 1)); err == nil {
				t.Error("the idle connection carries something")
			}
			if back.Expired() {
				t.Fatal("what is under way is cut at once")
			}
			if _, err := backPeer.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if n, err := back.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("what is under way cannot finish: %v", err)
			}
			i.Put(0, back, socket.Now(), time.Minute)
			if back.Close() {
				t.Error("a connection that comes back is kept")
			}
			if open.Value() != 0 {
				t.Errorf("%d connections are open in the end", open.Value())
			}
		})
		t.Run(tt.name+", and what is left", func(t *testing.T) {
			p, open := newPool(func(o *upstream.Options) { o.Drain = 50 * time.Millisecond })
			runPool(t, p)
			o := listen(t)
			target := p.Fixed(o.instance(true), nil)
			p.Retain([]*upstream.Target{target})
			busy := dial(t, target.Instances()[0])
			peer := o.next(t)
			tt.ends(p, o, target)
			if _, err := busy.Read(make([]byte, 1)); !errors.Is(err, socket.ErrExpired) {
				t.Errorf("what is left ends with %v, want it cut", err)
			}
			busy.Close()
			_ = peer.Close()
			if open.Value() != 0 {
				t.Errorf("%d connections are open in the end", open.Value())
			}
		})
	}
}

func TestWhatIsReadyAgainIsNotCut(t *testing.T) {
	p, _ := newPool(func(o *upstream.Options) { o.Drain = time.Hour })
	o := listen(t)
	first := p.Fixed(o.instance(true), nil)
	p.Retain([]*upstream.Target{first})
	i := first.Instances()[0]
	unready := p.Fixed(o.instance(false), first)
	p.Retain([]*upstream.Target{unready})
	if unready.Usable() {
		t.Error("what is not ready is usable")
	}
	again := p.Fixed(o.instance(true), unready)
	p.Retain([]*upstream.Target{again})
	if again.Instances()[0] != i {
		t.Error("it is another instance")
	}
	c := dial(t, i)
	i.Put(0, c, socket.Now(), time.Minute)
	if got := i.Get(0, socket.Now(), false); got != c {
		t.Error("its connections are not kept")
	}
	c.Close()
	if n := p.Draining(); n != 0 {
		t.Errorf("%d instances drain", n)
	}
}

// Connections that come and go in any order are all accounted for.
func TestOpenConnectionsAreListed(t *testing.T) {
	p, _ := newPool(nil)
	i := listen(t).target(p).Instances()[0]
	var all []*upstream.Conn
	for range 5 {
		all = append(all, dial(t, i))
	}
	for _, gone := range []int{2, 4, 0, 3, 1} {
		all[gone].Close()
		all[gone].Close() // once more does nothing
		all[gone] = nil
		want := 0
		for _, c := range all {
			if c != nil {
				want++
			}
		}
		if n := i.Listed(); n != want {
			t.Errorf("%d connections are listed, want %d", n, want)
		}
	}
}
