// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// fixed makes instances of 127.0.0.1 of ports; those that end in "!" are not
// ready.
func fixed(ports ...string) []*routing.Instance {
	var list []*routing.Instance
	for _, port := range ports {
		number, unready := strings.CutSuffix(port, "!")
		at := netip.MustParseAddrPort("127.0.0.1:" + number)
		list = append(list, &routing.Instance{Address: at.Addr(), Port: int(at.Port()), Ready: !unready})
	}
	return list
}

func TestFixed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		list   []*routing.Instance
		want   string
		usable bool
	}{
		{"all that are ready", fixed("81", "82"), "127.0.0.1:81 127.0.0.1:82", true},
		{"only those that are ready", fixed("81!", "82", "83!"), "127.0.0.1:82", true},
		{"all if none is ready, and then it is not usable", fixed("81!", "82!"), "127.0.0.1:81 127.0.0.1:82", false},
		{"none", nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := newPool(nil)
			target := p.Fixed(tt.list, nil)
			p.Settle(t.Context(), []*upstream.Target{target}) // does not wait
			if got := instances(target); got != tt.want || target.Usable() != tt.usable {
				t.Errorf("instances %q, usable %t, want %q, %t", got, target.Usable(), tt.want, tt.usable)
			}
			if len(target.Fixed()) != len(target.Instances()) {
				t.Fatalf("made of %d instances, has %d", len(target.Fixed()), len(target.Instances()))
			}
			for i, asked := range target.Fixed() {
				if at := target.Instances()[i].Addr; at != asked.AddrPort() {
					t.Errorf("instance %d is %v, was made of %v", i, at, asked.AddrPort())
				}
			}
			if target.LookupError() != nil {
				t.Errorf("LookupError() = %v of what is not looked up", target.LookupError())
			}
		})
	}
}

func TestFixedFollows(t *testing.T) {
	p, _ := newPool(nil)
	list := fixed("81", "82")
	first := p.Fixed(list, nil)
	if got := pick(first); got != "127.0.0.1:81" {
		t.Errorf("the first turn is that of %s", got)
	}
	kept, gone := first.Instances()[0], first.Instances()[1]
	p.Retain([]*upstream.Target{first})

	if p.Fixed(list, first) != first {
		t.Error("the same instances make another target")
	}
	next := p.Fixed(append(list[:1:1], fixed("83")...), first)
	if got := instances(next); got != "127.0.0.1:81 127.0.0.1:83" {
		t.Errorf("instances %q", got)
	}
	if next.Instances()[0] != kept {
		t.Error("an instance that stays lost its connections")
	}
	if got := pick(next); got != "127.0.0.1:83" {
		t.Errorf("the second turn is that of %s, want the second instance", got)
	}

	// An address that is also written as one shares its connections.
	if p.Target("127.0.0.1", 81).Instances()[0] != kept {
		t.Error("an address and a fixed instance do not share connections")
	}
	p.Retain([]*upstream.Target{next})
	if p.Fixed(list, nil).Instances()[1] == gone {
		t.Error("an instance that nothing led to was kept")
	}
	if p.Target("127.0.0.1", 81).Instances()[0] != kept {
		t.Error("an instance was retired that a fixed target leads to")
	}
}
