// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"net/netip"
	"testing"
	"unsafe"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// What requests write shares no pair of cache lines with anything that others
// read if it begins on one, and its size is a power of 2, to which Go aligns. And
// there are as many as routes and instances, so they are no larger than this.
func TestWhatThereIsForEachRouteIsSmall(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64 bits")
	}
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"a target", upstream.TargetSize, 96},
		{"what it chooses from, with one instance", upstream.ChosenSize, 208},
		{"an instance", upstream.InstanceSize, 256},
		{"what of an instance is not written while it serves", upstream.WrittenFrom, 128},
		{"a member, as there is one where outcomes are counted", upstream.MemberSize, 128},
	} {
		if tt.got != tt.want {
			t.Errorf("%s has %d bytes, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestInstancesBeginOnTheirOwnCacheLines(t *testing.T) {
	p, _ := swept(t, nil)
	for n := range 100 {
		target := p.Target(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}).String(), 80)
		if at := uintptr(unsafe.Pointer(target.Instances()[0])); at%128 != 0 {
			t.Fatalf("instance %d begins %d bytes behind a pair of cache lines", n, at%128)
		}
	}
}

// An instance that is spoken to by HTTP/1 in plain text, as most are, and that
// is the only one of its route has nothing that only others need.
func TestWhatIsSeldomNeededIsMadeWhenItIs(t *testing.T) {
	p, _ := swept(t, nil)
	one := &routing.Instance{Address: netip.MustParseAddr("10.0.0.1"), Port: 80, Ready: true}
	other := &routing.Instance{Address: netip.MustParseAddr("10.0.0.2"), Port: 80, Ready: true}
	plain := upstream.Choosing{Watch: routing.PartOf(routing.Watch{Ejection: routing.DefaultEjection()})}
	by := func(w upstream.Way) upstream.Choosing {
		c := plain
		c.Way = w
		return c
	}
	for _, tt := range []struct {
		name             string
		list             []*routing.Instance
		choosing         upstream.Choosing
		special, watched bool
	}{
		{"one by HTTP/1", []*routing.Instance{one}, plain, false, false},
		{"two by HTTP/1", []*routing.Instance{one, other}, plain, false, true},
		{"one by TLS", []*routing.Instance{one}, by(upstream.Way{Secure: true}), true, false},
		{"one by HTTP/2", []*routing.Instance{one}, by(upstream.Way{Protocol: routing.ProtocolH2}), true, false},
		{"one with a PROXY header", []*routing.Instance{one}, by(upstream.Way{Proxy: routing.ProxyV2}), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := p.FixedBalanced(tt.list, nil, tt.choosing)
			if got := target.Instances()[0].Special(); got != tt.special {
				t.Errorf("the instance has what is special: %v, want %v", got, tt.special)
			}
			if got := target.Watched(); got != tt.watched {
				t.Errorf("there is a record: %v, want %v", got, tt.watched)
			}
		})
	}
}

// What an instance is called in cookies is made by whoever asks first: requests
// that follow make no garbage.
func TestIDsOfInstancesAreMadeOnce(t *testing.T) {
	p, _ := swept(t, nil)
	target := p.Target("10.0.0.1", 80)
	i := target.Instances()[0]
	id, text := i.ID(), i.String()
	if want := routing.InstanceID("10.0.0.1:80"); id != want || text != "10.0.0.1:80" {
		t.Errorf("the instance is %q, %q in cookies; want 10.0.0.1:80, %q", text, id, want)
	}
	if n := testing.AllocsPerRun(100, func() { id = i.ID() }); n != 0 {
		t.Errorf("%v allocations to ask for an ID again, want none", n)
	}
	if target.ByID(id) != i {
		t.Error("the instance is not found by its ID")
	}
}
