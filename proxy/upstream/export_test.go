// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"github.com/sluice-mesh/sluice/routing"
)

// Aged makes an idle connection idle for d; a negative one keeps it fresh.
func (c *Conn) Aged(d time.Duration) {
	c.idleSince -= int64(d)
	c.idleUntil -= int64(d)
}

// Links counts the connections of HTTP/2.
func (i *Instance) Links() (n int) {
	if i.special != nil {
		i.special.links.each(func(*link) { n++ })
	}
	return n
}

// Waiting counts those who wait for a connection of HTTP/2 that is being made,
// without who makes it.
func (i *Instance) Waiting() (n int) {
	i.special.links.mu.Lock()
	defer i.special.links.mu.Unlock()
	for _, d := range i.special.links.dials {
		n += max(i.special.links.room, 1) - 1 - d.seats
	}
	return n
}

// AgeLinks makes it so long that connections of HTTP/2 had no conversation.
func (i *Instance) AgeLinks(d time.Duration) {
	i.special.links.each(func(l *link) { l.until.Add(-int64(d)) })
}

// Reap does what Run does every second.
func (p *Pool) Reap() { p.reap() }

// Names counts the names that are looked up or are addresses.
func (p *Pool) Names() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.names)
}

// SetAsk makes checks by ask instead of over the network. It comes before Run.
func (p *Pool) SetAsk(ask func(ctx context.Context, at netip.AddrPort) error) {
	p.checker.ask = func(ctx context.Context, k *check) error { return ask(ctx, k.key.at) }
}

// SetFind looks names up by find instead of over the network. It comes before
// the first look-up.
func (p *Pool) SetFind(find func(host string) []netip.Addr) {
	p.find = func(_ context.Context, host string) ([]netip.Addr, time.Duration, error) {
		return find(host), untold, nil
	}
}

// Ask makes one check over the network, within its time.
func Ask(ctx context.Context, at netip.AddrPort, h routing.Health) error {
	c := checker{ask: new(Pool).ask}
	return c.try(ctx, &check{key: checkKey{at: at, ask: h}, request: requestOf(at, new(Way), &h)})
}

// Ask is Ask in the way in which requests come.
func (p *Pool) Ask(ctx context.Context, at netip.AddrPort, way Way, h routing.Health) error {
	c := checker{most: 1, ask: p.ask, checks: make(map[checkKey]*check), wake: make(chan struct{}, 1)}
	return c.try(ctx, c.want(at, way, h, nil, false))
}

// ParseServing reads the message of an answer to a check by gRPC.
func ParseServing(body []byte) (uint64, error) {
	s, err := parseServing(body)
	return uint64(s), err
}

// Judge judges the answer to a check.
var Judge = judge

// Checks counts the checks that are made again and again.
func (p *Pool) Checks() int {
	p.checker.mu.Lock()
	defer p.checker.mu.Unlock()
	return len(p.checker.checks)
}

// Draining counts the instances that drain.
func (p *Pool) Draining() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.draining)
}

// Listed counts the open connections that would be cut.
func (i *Instance) Listed() int {
	i.listing.Lock()
	defer i.listing.Unlock()
	n := 0
	for c := i.first; c != nil; c = c.next {
		n++
	}
	return n
}

// Review looks at all records, as Run does each second.
func (p *Pool) Review() { p.review(time.Now(), true) }

// Untold is the time to live of what nobody told one of.
const Untold = untold

// Again returns how long after a look-up the next one follows.
func (p *Pool) Again(ttl time.Duration) time.Duration { return p.again(ttl) }

// Hear returns how long what a server sends over a stream is good for, if n
// bytes of it are read at a time.
func Hear(sent []byte, n int) time.Duration {
	var h heard
	here, there := net.Pipe()
	go func() {
		_, _ = there.Write(sent)
		_ = there.Close()
	}()
	c := stream{Conn: here, heard: &h}
	for b := make([]byte, n); ; {
		if _, err := c.Read(b); err != nil {
			_ = here.Close()
			return h.good()
		}
	}
}

// MemberSize is the size of what is known of an instance of a route.
const MemberSize = unsafe.Sizeof(member{})

// The sizes of what there is for each route and each instance, and where in an
// Instance stands what is written while it serves.
const (
	TargetSize   = unsafe.Sizeof(Target{})
	ChosenSize   = unsafe.Sizeof(chosen{})
	InstanceSize = unsafe.Sizeof(Instance{})
	WrittenFrom  = unsafe.Offsetof(Instance{}.open)
)

// HashAlike has all addresses have the same hash. It comes before all instances.
func (p *Pool) HashAlike() { p.table.mask = 0 }

// Served counts the instances that are looked at each second.
func (p *Pool) Served() int { return len(p.served.all()) }

// ReviewedTargets counts the targets that are looked at each second.
func (p *Pool) ReviewedTargets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watched)
}

// Instances counts those that are known.
func (p *Pool) Instances() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.n
}

// Special reports whether the instance has what only special ways need.
func (i *Instance) Special() bool { return i.special != nil }

// Watched reports whether there is a record of the target's instances.
func (t *Target) Watched() bool {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	return t.record != nil
}

// Attempts counts the dials under way.
func (i *Instance) Attempts() int {
	i.listing.Lock()
	defer i.listing.Unlock()
	n := 0
	for a := i.attempts; a != nil; a = a.next {
		n++
	}
	return n
}
