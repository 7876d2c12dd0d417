// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/proxy/upstream/upstreamtest"
)

// over returns a resolver that asks a server over one kind of connection.
func over(network, addr string) *net.Resolver {
	return &net.Resolver{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
}

func TestAnswersAreKeptForTheirTimeToLive(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			s := upstreamtest.ServeNames(t, "127.0.0.1", "::1")
			s.Keep("long.test", 3600)
			p, _ := running(t, s, func(o *upstream.Options) {
				often(o)
				o.Resolver = over(network, s.Addr())
			})
			long, short := p.Target("long.test.", 80), p.Target("short.test.", 80)
			p.Settle(t.Context(), []*upstream.Target{long, short})
			eventually(t, "what is not to be kept is asked again", func() bool { return s.Questions("short.test") > 5 })
			if n := s.Questions("long.test"); n != 1 || !long.Usable() {
				t.Errorf("a name whose addresses are good for an hour was asked for %d times, want once", n)
			}
		})
	}
}

// A failure says nothing of how long it lasts, whatever stands in its answer.
func TestFailuresAreNotKept(t *testing.T) {
	s := upstreamtest.ServeNames(t, "127.0.0.1")
	s.Keep("shop.test", 3600)
	s.Set(upstreamtest.NameError, "127.0.0.1")
	p, _ := running(t, s, often)
	target := p.Target("shop.test.", 80)
	p.Settle(t.Context(), []*upstream.Target{target})
	eventually(t, "it is asked again", func() bool { return s.Questions("shop.test") > 3 })
	s.Set(0, "127.0.0.1")
	eventually(t, "it is found", target.Usable)
}

func TestHowLongAnswersAreGood(t *testing.T) {
	for _, tt := range []struct {
		name       string
		every, ttl time.Duration
		want       time.Duration
	}{
		{"nobody said", 5 * time.Second, upstream.Untold, 5 * time.Second},
		{"not at all", 5 * time.Second, 0, time.Second},
		{"for less than the period", 5 * time.Second, 2 * time.Second, 2 * time.Second},
		{"for more than the period", 5 * time.Second, 30 * time.Second, 30 * time.Second},
		{"for a day", 5 * time.Second, 24 * time.Hour, time.Minute},
		{"not at all, and the period is short", 50 * time.Millisecond, 0, 50 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := newPool(func(o *upstream.Options) { o.LookupEvery = tt.every })
			if got := p.Again(tt.ttl); got != tt.want {
				t.Errorf("looked up again after %v, want %v", got, tt.want)
			}
		})
	}
}

// A name server may send anything: the resolver judges it, and nothing is
// heard of what is no answer.
func FuzzWhatIsHeard(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 127, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, inPieces := upstream.Hear(b, len(b)+1), upstream.Hear(b, 3)
		if whole != inPieces {
			t.Errorf("good for %v in one piece, for %v in several", whole, inPieces)
		}
		if whole != upstream.Untold && (whole < 0 || whole > time.Minute) {
			t.Errorf("good for %v", whole)
		}
	})
}
