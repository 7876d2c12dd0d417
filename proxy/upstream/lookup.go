// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// mostTTL bounds how long an answer is believed: whoever moves a service does
// not always think of it before.
const mostTTL = time.Minute

// leastTTL bounds how often a name is looked up whose answers are not to be
// kept, unless the period of look-ups is shorter still.
const leastTTL = time.Second

// resolve looks a host up, and tells how long the answer is good for: untold if
// nobody said.
func (p *Pool) resolve(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	h := heard{caught: p.options.Caught}
	addrs, err := h.listenTo(p.options.Resolver).LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, untold, err
	}
	return addrs, h.good(), nil
}

// again returns how long after a look-up the next one follows.
func (p *Pool) again(ttl time.Duration) time.Duration {
	every := p.options.LookupEvery
	if ttl == untold {
		return every
	}
	return min(max(ttl, min(leastTTL, every)), mostTTL)
}

// heard is what name servers said during one look-up. Go's resolver keeps the
// time to live to itself, so it is read from the messages on their way. It is
// safe for concurrent use.
type heard struct {
	caught func(during string, fault any) // nil if nobody takes note

	mu   sync.Mutex // guards all below
	ttl  uint32     // the least of all records, seconds
	told bool
}

// listenTo returns a resolver that asks as base does.
func (h *heard) listenTo(base *net.Resolver) *net.Resolver {
	dial := base.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &net.Resolver{
		PreferGo:     true, // others do not dial
		StrictErrors: base.StrictErrors,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if pc, ok := c.(net.PacketConn); ok { // by which the resolver tells them apart
				return &packets{Conn: c, to: pc, heard: h}, nil
			}
			return &stream{Conn: c, heard: h}, nil
		},
	}
}

// packets is a connection with a message in each packet (RFC 1035 section
// 4.2.1).
type packets struct {
	net.Conn
	to    net.PacketConn
	heard *heard
}

func (c *packets) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.heard.message(b[:n])
	return n, err
}

func (c *packets) ReadFrom(b []byte) (int, net.Addr, error)   { return c.to.ReadFrom(b) }
func (c *packets) WriteTo(b []byte, to net.Addr) (int, error) { return c.to.WriteTo(b, to) }

// stream is a connection with messages behind their lengths (RFC 1035 section
// 4.2.2).
type stream struct {
	net.Conn
	heard *heard
	part  []byte // of a message that is not complete
}

func (c *stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.part = append(c.part, b[:n]...)
	for len(c.part) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(c.part))
		if len(c.part) < end {
			break
		}
		c.heard.message(c.part[2:end])
		c.part = c.part[end:]
	}
	return n, err
}

// message takes in what a server said. What is no answer is passed over: the
// resolver judges it. A fault here would be one in a goroutine of the resolver,
// which nobody but us can catch.
func (h *heard) message(b []byte) {
	defer func() {
		if fault := recover(); fault != nil && h.caught != nil {
			h.caught("reading the answer of a name server", fault)
		}
	}()
	var p dnsmessage.Parser
	head, err := p.Start(b)
	if err != nil || !head.Response || head.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return
	}
	for {
		r, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return
		}
		h.mu.Lock()
		if !h.told || r.TTL < h.ttl {
			h.ttl, h.told = r.TTL, true
		}
		h.mu.Unlock()
	}
}

// good returns how long the answer may be kept, untold if nobody said: then it
// came from a file.
func (h *heard) good() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.told {
		return untold
	}
	return time.Duration(min(h.ttl, uint32(mostTTL/time.Second))) * time.Second
}

// untold is the time to live of what nobody told one of.
const untold time.Duration = -1
