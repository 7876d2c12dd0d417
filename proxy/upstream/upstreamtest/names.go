// SPDX-License-Identifier: Apache-2.0

// Package upstreamtest answers the name look-ups of tests.
package upstreamtest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// NameServer answers questions for A and AAAA records, as RFC 1035 section 4
// has it, over UDP and TCP. Its answers are the same for all names, but for how
// long they are good. It is safe for concurrent use.
type NameServer struct {
	addr string

	mu    sync.Mutex // guards the rest
	addrs []netip.Addr
	code  byte          // RCODE
	hold  chan struct{} // answers wait until it is closed; nil: at once
	asked map[string]int
	ttls  map[string]uint32 // seconds; 0 for other names
}

// Response codes (RFC 1035 section 4.1.1).
const (
	ServerFailure = 2
	NameError     = 3
)

// Record types (RFC 1035 section 3.2.2 and RFC 3596 section 2.1).
const (
	typeA    = 1
	typeAAAA = 28
)

// ServeNames starts a server that answers with addrs, until the test ends.
func ServeNames(t *testing.T, addrs ...string) *NameServer {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", ln.Addr().String())
	if err != nil {
		_ = ln.Close()
		t.Fatal(err)
	}
	s := &NameServer{addr: ln.Addr().String(), asked: make(map[string]int), ttls: make(map[string]uint32)}
	s.Set(0, addrs...)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.converse(c) })
		}
	})
	all.Go(func() {
		for {
			b := make([]byte, 512)
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			all.Go(func() { _, _ = pc.WriteTo(s.answer(b[:n]), from) })
		}
	})
	t.Cleanup(func() {
		_ = pc.Close()
		_ = ln.Close()
		all.Wait()
	})
	return s
}

// converse answers the questions of one connection, each behind its length.
func (s *NameServer) converse(c net.Conn) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(10*time.Second)) != nil {
		return
	}
	for {
		size := make([]byte, 2)
		if _, err := io.ReadFull(c, size); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		r := s.answer(q)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...)); err != nil {
			return
		}
	}
}

// Keep says for how many seconds the answers for a name are good from now on.
func (s *NameServer) Keep(name string, seconds uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ttls[name] = seconds
}

// Set makes the server answer with a response code, 0 for none, and addrs from
// now on.
func (s *NameServer) Set(code byte, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.addrs = code, nil
	for _, a := range addrs {
		s.addrs = append(s.addrs, netip.MustParseAddr(a))
	}
}

// Block makes answers wait until the returned function is called.
func (s *NameServer) Block() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold = hold
	return sync.OnceFunc(func() { close(hold) })
}

// Questions returns how often the A records of a name were asked for.
func (s *NameServer) Questions(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

// Addr returns where the server is asked, as host:port.
func (s *NameServer) Addr() string { return s.addr }

// answer returns the answer to a question.
func (s *NameServer) answer(q []byte) []byte {
	name, end := question(q)
	kind := binary.BigEndian.Uint16(q[end:])
	s.mu.Lock()
	if kind == typeA {
		s.asked[name]++
	}
	code, addrs, hold, ttl := s.code, s.addrs, s.hold, s.ttls[name]
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	r := append([]byte(nil), q[:end+4]...)    // header and question
	binary.BigEndian.PutUint16(r[2:], 0x8180) // an answer; recursion was available
	r[3] |= code                              // RCODE
	binary.BigEndian.PutUint16(r[10:], 0)     // no additional records
	count := uint16(0)
	for _, a := range addrs {
		if a.Is4() && kind != typeA || a.Is6() && kind != typeAAAA {
			continue
		}
		count++
		r = append(r, 0xc0, 12) // the name is the one of the question
		r = binary.BigEndian.AppendUint16(r, kind)
		r = append(r, 0, 1) // class IN
		r = binary.BigEndian.AppendUint32(r, ttl)
		r = binary.BigEndian.AppendUint16(r, uint16(len(a.AsSlice())))
		r = append(r, a.AsSlice()...)
	}
	binary.BigEndian.PutUint16(r[6:], count)
	return r
}

// question returns the name that is asked for, and where it ends.
func question(q []byte) (name string, end int) {
	var labels []string
	at := 12
	for q[at] != 0 {
		n := int(q[at])
		labels = append(labels, string(q[at+1:at+1+n]))
		at += 1 + n
	}
	return strings.Join(labels, "."), at + 1
}
