// SPDX-License-Identifier: Apache-2.0

//go:build !race

package http2_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// fixed answers requests without content, as an exchange does whose instance
// is quick.
type fixed struct {
	conn *socket.Conn
	in   [4 << 10]byte
	to   int
	out  []byte
}

func (f *fixed) Buffer() []byte { return f.in[f.to:] }

func (f *fixed) Data(n int) socket.Next {
	f.to += n
	if !bytes.HasSuffix(f.in[:f.to], []byte("\r\n\r\n")) {
		return socket.More
	}
	f.to = 0
	if _, err := f.conn.WriteWithin(f.out, patience); err != nil {
		return socket.Done
	}
	return socket.Park
}

func (f *fixed) Idle()              {}
func (f *fixed) Woken() socket.Next { return socket.More }

// answers serves a connection by fixed answers.
func answers(tb testing.TB) (addr string) {
	tb.Helper()
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	sweeper := sweep(tb)
	out := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n"), make([]byte, 128)...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			sc, err := sweeper.Open(nc.(*net.TCPConn))
			if err != nil {
				tb.Error(err)
				return
			}
			c := http2.New(sc, sweeper, nil, func(l *socket.Conn) {
				wg.Go(func() {
					defer l.Close()
					_ = l.Loop(&fixed{conn: l, out: out})
				})
			})
			wg.Go(func() { _ = c.Run(nil) })
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// answered reads answers of one frame of content each.
type answered struct {
	conn *socket.Conn
	in   [16 << 10]byte
	to   int
	want int
}

func (a *answered) Buffer() []byte { return a.in[a.to:] }

func (a *answered) Data(n int) socket.Next {
	a.to += n
	if a.to < a.want {
		return socket.More
	}
	a.to = 0
	return socket.Done
}

func (a *answered) Idle()              {}
func (a *answered) Woken() socket.Next { return socket.More }

// exchange sends one request over a conversation and reads its answer, whose
// length is known.
func exchange(l *socket.Conn, a *answered, request []byte) error {
	if err := l.RoundTrip(request, a); err != nil {
		return err
	}
	if !l.Alive() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// measured returns a conversation and how its answers are read.
func measured(tb testing.TB, c *http2.Conn, request []byte) (*socket.Conn, *answered) {
	tb.Helper()
	l := lane(tb, c)
	if _, err := l.Write(request); err != nil {
		tb.Fatal(err)
	}
	a := &answered{conn: l, want: 1}
	// The first answer says how long all are.
	total := 0
	var b [4 << 10]byte
	for total < 128 {
		n, err := l.Read(b[total:])
		if err != nil {
			tb.Fatal(err)
		}
		total += n
	}
	a.want = total
	return l, a
}

func TestExchangesDoNotAllocate(t *testing.T) {
	request := []byte("GET /shop HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n")
	c := dial(t, answers(t))
	l, a := measured(t, c, request)
	defer l.Close()
	if n := testing.AllocsPerRun(500, func() {
		if err := exchange(l, a, request); err != nil {
			t.Fatal(err)
		}
	}); n > literals {
		t.Errorf("an exchange over both sides allocates %v times, want %d at most", n, literals)
	}
}

// literals is what the decoder of HPACK makes of literal fields on both sides
// of an exchange: path, host, and names and values that are in no table.
const literals = 8

func BenchmarkExchanges(b *testing.B) {
	request := []byte("GET /shop HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n")
	for _, streams := range []int{1, 8} {
		b.Run(map[int]string{1: "one", 8: "eight"}[streams], func(b *testing.B) {
			b.ReportAllocs()
			c := dial(b, answers(b))
			type side struct {
				l *socket.Conn
				a *answered
			}
			sides := make([]side, streams)
			for i := range sides {
				sides[i].l, sides[i].a = measured(b, c, request)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, s := range sides {
				wg.Go(func() {
					for range b.N / streams {
						if err := exchange(s.l, s.a, request); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			for _, s := range sides {
				s.l.Close()
			}
		})
	}
}
