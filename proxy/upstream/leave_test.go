// SPDX-License-Identifier: Apache-2.0

//go:build linux

package upstream_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// silence is an address on this machine where nobody answers: what listens
// there has as many connections as may wait.
func silence(t *testing.T) netip.AddrPort {
	t.Helper()
	open := func() int {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		return fd
	}
	listener := open()
	if err := syscall.Bind(listener, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(listener, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if err := syscall.Connect(open(), name); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
			t.Fatal(err)
		}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
}

func TestDialsEndWhenTheInstanceLeaves(t *testing.T) {
	at := silence(t)
	list := func(ready bool) []*routing.Instance {
		return []*routing.Instance{{Address: at.Addr(), Port: int(at.Port()), Ready: ready}}
	}
	for _, tt := range []struct {
		name   string
		leaves func(p *upstream.Pool, target *upstream.Target)
	}{
		{"as nothing leads to it", func(p *upstream.Pool, _ *upstream.Target) { p.Retain(nil) }},
		{"as it is not ready any more", func(p *upstream.Pool, target *upstream.Target) {
			p.Retain([]*upstream.Target{p.Fixed(list(false), target)})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := newPool(func(o *upstream.Options) { o.Drain = time.Hour })
			runPool(t, p)
			target := p.Fixed(list(true), nil)
			p.Retain([]*upstream.Target{target})
			i := target.Instances()[0]
			failed := make(chan error)
			for range 3 {
				go func() {
					_, err := i.Dial(t.Context(), time.Minute)
					failed <- err
				}()
			}
			eventually(t, "the dials are under way", func() bool { return i.Attempts() == 3 })
			tt.leaves(p, target)
			for range 3 {
				if err := <-failed; !errors.Is(err, upstream.ErrLeft) {
					t.Errorf("Dial() = %v, want %v", err, upstream.ErrLeft)
				}
			}
			if n := i.Attempts(); n != 0 || open.Value() != 0 {
				t.Errorf("%d dials and %d connections are left", n, open.Value())
			}
		})
	}
}

// Whoever decided before it left may dial it later: what answers is reached,
// and what does not is not waited for.
func TestInstancesThatLeftCanBeReached(t *testing.T) {
	p, _ := newPool(func(o *upstream.Options) { o.Drain = time.Hour })
	runPool(t, p)
	o := listen(t)
	target := p.Fixed(o.instance(true), nil)
	p.Retain([]*upstream.Target{target})
	i := target.Instances()[0]
	p.Retain(nil)
	eventually(t, "a connection", func() bool {
		c, err := i.Dial(t.Context(), time.Minute)
		return err == nil && c.Close()
	})

	at := silence(t)
	target = p.Fixed([]*routing.Instance{{Address: at.Addr(), Port: int(at.Port()), Ready: true}}, nil)
	p.Retain([]*upstream.Target{target})
	i = target.Instances()[0]
	if i.Leaves() {
		t.Error("an instance that is asked for leaves")
	}
	p.Retain(nil)
	if _, err := i.Dial(t.Context(), time.Hour); !errors.Is(err, upstream.ErrLeft) || !i.Leaves() {
		t.Errorf("Dial() = %v, leaves %t; want %v", err, i.Leaves(), upstream.ErrLeft)
	}
}
