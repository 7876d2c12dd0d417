// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// Codes of answers (RFC 1035 section 4.1.1) and types (section 3.2.2).
const (
	codeServerFailure = 2
	codeNameError     = 3

	typeA = 1
)

// nameServer answers questions for A records over UDP and TCP. It is safe for
// concurrent use.
type nameServer struct {
	udp net.PacketConn
	tcp net.Listener

	mu       sync.Mutex // guards the fields below
	names    map[string][]netip.Addr
	failing  bool // every question is answered by a failure
	truncate bool // answers over UDP say that they are cut short
}

// cmdDNS says what a name server answers, which is started by the first use
// and sets $DNS to its host:port:
//
//	dns NAME ADDRESS...   the name has these addresses now
//	dns -fail             every question fails from now on
//	dns -truncate         the server can be asked over TCP only
//	dns -answer           questions are answered again, over UDP
func cmdDNS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: dns NAME ADDRESS..., dns -fail, dns -truncate or dns -answer")
	}
	b := bedOf(ts)
	if b.names == nil {
		ts.Check(b.serveNames())
		ts.Setenv("DNS", b.names.tcp.Addr().String())
	}
	s := b.names
	s.mu.Lock()
	defer s.mu.Unlock()
	switch args[0] {
	case "-fail", "-truncate", "-answer":
		s.failing, s.truncate = args[0] == "-fail", args[0] == "-truncate"
	default:
		var addrs []netip.Addr
		for _, a := range args[1:] {
			addr, err := netip.ParseAddr(a)
			ts.Check(err)
			addrs = append(addrs, addr)
		}
		s.names[strings.ToLower(args[0])+"."] = addrs
	}
}

func (b *bed) serveNames() error {
	ln, err := listen(b.ctx, net.JoinHostPort(b.host, "0"))
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(b.ctx, "udp", ln.Addr().String())
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	s := &nameServer{udp: pc, tcp: ln, names: make(map[string][]netip.Addr)}
	b.names = s
	b.wg.Go(s.serveUDP)
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			end := context.AfterFunc(b.ctx, func() { _ = c.Close() })
			b.wg.Go(func() {
				defer end()
				defer c.Close()
				s.serveTCP(c)
			})
		}
	})
	return nil
}

func (s *nameServer) close() {
	_ = s.udp.Close()
	_ = s.tcp.Close()
}

func (s *nameServer) serveUDP() {
	question := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFrom(question)
		if err != nil {
			return
		}
		if answer := s.answer(question[:n], true); answer != nil {
			_, _ = s.udp.WriteTo(answer, from) // who asks will ask again
		}
	}
}

// serveTCP answers the questions of one connection, each behind its length
// (RFC 1035 section 4.2.2).
func (s *nameServer) serveTCP(c net.Conn) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		answer := s.answer(question, false)
		if answer == nil {
			return
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		if _, err := c.Write(append(framed, answer...)); err != nil {
			return
		}
	}
}

// answer returns the answer to a message with one question, nil if it is
// none. What stands behind the question is left out.
func (s *nameServer) answer(message []byte, udp bool) []byte {
	const head = 12
	name, end := readName(message, head)
	if len(message) < head || end == 0 || len(message) < end+4 {
		return nil
	}
	kind := binary.BigEndian.Uint16(message[end:])
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs, known := s.names[strings.ToLower(name)]
	code := 0
	switch {
	case s.failing:
		code, addrs = codeServerFailure, nil
	case !known:
		code = codeNameError
	case kind != typeA, udp && s.truncate:
		addrs = nil
	}
	a := append([]byte{}, message[:end+4]...)
	a[2] = 0x84 | message[2]&1 // an authoritative answer; recursion as desired
	a[3] = byte(code)
	if udp && s.truncate {
		a[2] |= 2
	}
	binary.BigEndian.PutUint16(a[4:], 1)
	binary.BigEndian.PutUint16(a[6:], uint16(len(addrs)))
	clear(a[8:head])
	for _, addr := range addrs {
		a = append(a, 0xc0, head)                    // the name of the question
		a = append(a, 0, typeA, 0, 1, 0, 0, 0, 0, 0) // class IN, not to be kept
		a = append(a, 4)
		a = append(a, addr.AsSlice()...)
	}
	return a
}

// readName reads the labels of a name and returns where they end, 0 if they
// do not.
func readName(message []byte, at int) (name string, end int) {
	var b strings.Builder
	for at < len(message) {
		n := int(message[at])
		at++
		if n == 0 {
			return b.String(), at
		}
		if n > 63 || at+n > len(message) {
			return "", 0
		}
		b.Write(message[at : at+n])
		b.WriteByte('.')
		at += n
	}
	return "", 0
}
