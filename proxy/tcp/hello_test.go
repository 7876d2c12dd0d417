// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/test/certs"
)

// named is an instance that says its name and then what it received.
func named(t *testing.T, name string) string {
	t.Helper()
	return origin(t, func(nc *net.TCPConn) {
		_, _ = io.WriteString(nc, name+":")
		echo(nc)
	})
}

// byName returns routes by what is asked for in a ClientHello: a and b by
// their conditions, and c for all the rest.
func byName(t *testing.T, a, b string) string {
	t.Helper()
	return fmt.Sprintf(`{"[%s]": {weight: 0%%, condition: '%s', condition_strength: 100%%}, "[%s]": {weight: 0%%, condition: '%s', condition_strength: 100%%}, "[%s]": {weight: 100%%}}`,
		named(t, "a"), a, named(t, "b"), b, named(t, "c"))
}

// hello returns what a client of crypto/tls sends first.
func hello(t *testing.T, name string, alpn ...string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	var all sync.WaitGroup
	defer all.Wait()
	defer ours.Close()
	all.Go(func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: name, NextProtos: alpn, InsecureSkipVerify: true}).HandshakeContext(context.Background())
	})
	b := make([]byte, 16<<10)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// inRecords divides a ClientHello of one record into records of a size.
func inRecords(hello string, size int) string {
	var b []byte
	for piece := range slices.Chunk([]byte(hello[5:]), size) {
		b = append(b, hello[:3]...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(piece)))
		b = append(b, piece...)
	}
	return string(b)
}

func TestRoutesByWhatAClientAsksFor(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		sends      string
		want       string
	}{
		{"a server by its name", "sni == a.example", "sni == b.example", hello(t, "b.example"), "b"},
		{"in any letter case", "sni == a.example", "sni == b.example", hello(t, "B.Example"), "b"},
		{"another server", "sni == a.example", "sni == b.example", hello(t, "c.example"), "c"},
		{"no name", "sni == a.example", "sni == b.example", hello(t, "10.0.0.1"), "c"},
		{"a domain", "sni ends with .a.example", "sni ends with .b.example", hello(t, "x.y.b.example"), "b"},
		{"a domain is not its own subdomain", "sni ends with .a.example", "sni ends with .b.example", hello(t, "b.example"), "c"},
		{"a protocol", "alpn == postgresql", "alpn == h2", hello(t, "x.example", "h2", "http/1.1"), "b"},
		{"the name in HAProxy's words", "req.ssl_sni -i a.example", "req.ssl_sni -m end .b.example", hello(t, "x.b.example"), "b"},
		{"an address alone", "ip in 10.0.0.0/8", "ip in 127.0.0.0/8", "no TLS at all", "b"},
		{"both", "ip in 10.0.0.0/8 and sni == b.example", "ip in 127.0.0.0/8 and sni == b.example", hello(t, "b.example"), "b"},
		{"many small records", "sni == a.example", "sni == b.example", inRecords(hello(t, "b.example"), 7), "b"},
		{"no TLS is no name", "sni == a.example", "not sni == a.example", "SSH-2.0-x\r\n", "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, byName(t, tt.a, tt.b))
			for _, pieces := range []int{1, 3} {
				c := b.connect()
				for piece := range slices.Chunk([]byte(tt.sends), (len(tt.sends)+pieces-1)/pieces) {
					write(t, c, string(piece))
				}
				_ = c.CloseWrite()
				// All that was looked at comes through.
				got, err := io.ReadAll(c)
				if want := tt.want + ":" + tt.sends; err != nil || string(got) != want {
					t.Fatalf("got %.60q, %v; want %.60q", got, err, want)
				}
			}
			b.check(live.None, 2)
		})
	}
}

// A ClientHello that fills the whole room is still read; one more byte is not.
func TestLargeHellos(t *testing.T) {
	small := hello(t, "b.example")
	grow := func(by int) string { // a padding extension (RFC 7685) at the end
		b := []byte(small[5:])
		at := 4 + 34
		at += 1 + int(b[at])
		at += 2 + int(binary.BigEndian.Uint16(b[at:]))
		at += 1 + int(b[at])
		binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2+by))
		b = append(b, 0, 21)
		b = binary.BigEndian.AppendUint16(b, uint16(by-4))
		b = append(b, make([]byte, by-4)...)
		length := len(b) - 4
		b[1], b[2], b[3] = byte(length>>16), byte(length>>8), byte(length)
		return inRecords(small[:5]+string(b), 1<<14)
	}
	for _, tt := range []struct {
		name   string
		by     int
		reason live.Reason
	}{
		{"larger than the first look", 6_000, live.None},
		{"as large as may be", sniff.MaxHello - len(small) - 3*5, live.None},
		{"larger than may be", sniff.MaxHello - len(small) - 3*5 + 1, live.BadHello},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, byName(t, "sni == a.example", "sni == b.example"))
			c := b.connect()
			sent := make(chan error, 1)
			bytes := grow(tt.by)
			go func() {
				_, err := io.WriteString(c, bytes)
				_ = c.CloseWrite()
				sent <- err
			}()
			got, err := io.ReadAll(c)
			if err := <-sent; err != nil && tt.reason == live.None {
				t.Error(err)
			}
			if tt.reason != live.None {
				if len(got) > 0 || err == nil {
					t.Errorf("got %.40q, %v; want a reset", got, err)
				}
			} else if err != nil || string(got) != "b:"+bytes {
				t.Errorf("got %d bytes %.40q, %v; want those that were sent", len(got), got, err)
			}
			b.check(tt.reason, 1)
		})
	}
}

func TestClientsThatDoNotSayWhatIsAskedFor(t *testing.T) {
	whole := hello(t, "a.example")
	for _, tt := range []struct {
		name   string
		does   func(c *net.TCPConn)
		want   error
		reason live.Reason
		counts int
	}{
		{"silence", func(*net.TCPConn) {}, syscall.ECONNRESET, live.RequestTimeout, 1},
		{"silence in the middle", func(c *net.TCPConn) { write(t, c, whole[:50]) }, syscall.ECONNRESET, live.RequestTimeout, 1},
		{"an end in the middle", func(c *net.TCPConn) { write(t, c, whole[:50]); _ = c.CloseWrite() }, syscall.ECONNRESET, live.RequestAborted, 1},
		{"an end at once", func(c *net.TCPConn) { _ = c.CloseWrite() }, io.EOF, live.None, 0},
		{"TLS that is no ClientHello", func(c *net.TCPConn) { write(t, c, "\x16\x03\x01\x00\x04\x02\x00\x00\x00") }, syscall.ECONNRESET, live.BadHello, 1},
		{"an oversized ClientHello", func(c *net.TCPConn) { write(t, c, "\x16\x03\x01\x40\x00\x01\x01\x00\x00") }, syscall.ECONNRESET, live.BadHello, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, byName(t, "sni == a.example", "sni == b.example"), "sluice: {timeouts: {head: 300ms}}")
			b.sweep()
			c := b.connect()
			tt.does(c)
			expectEnd(t, c, tt.want)
			b.check(tt.reason, tt.counts)
		})
	}
	t.Run("a reset", func(t *testing.T) {
		b := newBed(t, byName(t, "sni == a.example", "sni == b.example"))
		c := b.connect()
		write(t, c, whole[:50])
		_ = c.SetLinger(0)
		_ = c.Close()
		b.check(live.RequestAborted, 1)
	})
}

// A protocol in which the instance speaks first goes through as long as nobody
// asks what the client says.
func TestWithoutSuchAConditionNothingIsLookedAt(t *testing.T) {
	b := newBed(t, fmt.Sprintf(`{"[%s]": {weight: 0%%, condition: "ip in 127.0.0.0/8", condition_strength: 100%%}}`, named(t, "a")))
	c := b.connect()
	expect(t, c, "a:")
	_ = c.CloseWrite()
	expectEnd(t, c, io.EOF)
	b.check(live.None, 1)
}

// What passes through stays encrypted between client and instance.
func TestTLSPassesThrough(t *testing.T) {
	ca := certs.New(t)
	secret := func(name string) string {
		pair := ca.Issue(t, name)
		return origin(t, func(nc *net.TCPConn) {
			s := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{pair.TLS()}})
			_, _ = io.WriteString(s, name)
			_ = s.CloseWrite()
			_, _ = io.Copy(io.Discard, s)
		})
	}
	routes := fmt.Sprintf(`{"[%s]": {weight: 0%%, condition: sni == a.example, condition_strength: 100%%}, "[%s]": {weight: 0%%, condition: sni ends with .b.example, condition_strength: 100%%}}`,
		secret("a.example"), secret("x.b.example"))
	b := newBed(t, routes)
	for _, name := range []string{"a.example", "x.b.example"} {
		c := tls.Client(b.connect(), &tls.Config{ServerName: name, RootCAs: ca.Pool()})
		got, err := io.ReadAll(c)
		if err != nil || string(got) != name {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		_ = c.Close()
	}
	c := tls.Client(b.connect(), &tls.Config{ServerName: "c.example", RootCAs: ca.Pool()})
	if err := c.HandshakeContext(t.Context()); err == nil {
		t.Error("a name that nothing serves was served")
	}
	got := b.totals()
	if got.Requests[metrics.ClassNone] != 3 || got.Reasons[live.NoRoute] != 1 {
		t.Errorf("%v connections, %d without a route, want 3 and 1", got.Requests, got.Reasons[live.NoRoute])
	}
}

// sweep looks at deadlines until the test ends.
func (b *bed) sweep() {
	ctx, cancel := context.WithCancel(context.Background())
	var sweeping sync.WaitGroup
	sweeping.Go(func() { b.sweeper.Run(ctx) })
	b.t.Cleanup(func() {
		cancel()
		sweeping.Wait()
	})
}

func TestSilentClientsOfOthersDoNotWait(t *testing.T) {
	b := newBed(t, byName(t, "sni == a.example", "sni == b.example"))
	silent := b.connect()
	c := b.connect()
	write(t, c, strings.Repeat("x", 10))
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "c:"+strings.Repeat("x", 10) {
		t.Errorf("got %q, %v", got, err)
	}
	b.listener.Abort()
	expectEnd(t, silent, syscall.ECONNRESET)
}
