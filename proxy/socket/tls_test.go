// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/test/certs"
)

// terms are what two sides of TLS agree on.
type terms struct {
	server, client *tls.Config
}

// newTerms returns terms of one version of TLS.
func newTerms(t *testing.T, version uint16) terms {
	t.Helper()
	ca := certs.New(t)
	return terms{
		server: &tls.Config{
			Certificates: []tls.Certificate{ca.Issue(t, "shop.example").TLS()},
			MinVersion:   version, MaxVersion: version,
			NextProtos: []string{"http/1.1"},
		},
		client: &tls.Config{
			RootCAs: ca.Pool(), ServerName: "shop.example",
			MinVersion: version, MaxVersion: version,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(4),
		},
	}
}

// opening opens a connection that speaks TLS, and its peer.
type opening func(t *testing.T, s *socket.Sweeper) (*socket.Conn, *tls.Conn, *holding)

// holding is a connection that can hold back what is written to it, so that it
// arrives at once.
type holding struct {
	*net.TCPConn
	on   bool
	held []byte
}

func (h *holding) Write(b []byte) (int, error) {
	if h.on {
		h.held = append(h.held, b...)
		return len(b), nil
	}
	return h.TCPConn.Write(b)
}

// SetWriteDeadline keeps the deadline by which TLS would end writing.
func (*holding) SetWriteDeadline(time.Time) error { return nil }

// release sends what was held back.
func (h *holding) release(t *testing.T) {
	t.Helper()
	h.on = false
	if _, err := h.Write(h.held); err != nil {
		t.Fatal(err)
	}
	h.held = nil
}

// ways returns how to open one as server and as client, over both versions of
// TLS, each with its name.
func ways(t *testing.T) iter.Seq2[string, opening] {
	t.Helper()
	return func(yield func(string, opening) bool) {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			tm := newTerms(t, v)
			for _, role := range []string{"server", "client"} {
				open := func(t *testing.T, s *socket.Sweeper) (*socket.Conn, *tls.Conn, *holding) {
					t.Helper()
					return secured(t, s, tm, role == "client")
				}
				if !yield(tls.VersionName(v)+" "+role, open) {
					return
				}
			}
		}
	}
}

// secured returns a connection under test after its handshake, the TLS of its
// peer, and what is below that.
func secured(t *testing.T, s *socket.Sweeper, tm terms, client bool) (*socket.Conn, *tls.Conn, *holding) {
	t.Helper()
	c, plain := pair(t, s)
	tcp := &holding{TCPConn: plain}
	var peer *tls.Conn
	if client {
		c.ClientTLS(tm.client)
		peer = tls.Server(tcp, tm.server)
	} else {
		c.ServerTLS(tm.server)
		peer = tls.Client(tcp, tm.client)
	}
	if c.TLSState() != nil {
		t.Error("there is a state before the handshake")
	}
	done := start(peer.Handshake)
	if err := c.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := result(t, done); err != nil {
		t.Fatal(err)
	}
	return c, peer, tcp
}

func TestHandshake(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			if err := c.Handshake(t.Context()); err != nil {
				t.Errorf("Handshake() = %v once it was done", err)
			}
			got, want := c.TLSState(), peer.ConnectionState()
			if got == nil || got.Version != want.Version || got.NegotiatedProtocol != "http/1.1" || got.ServerName != "shop.example" {
				t.Errorf("TLSState() = %+v, want what the peer sees: %+v", got, want)
			}
		})
	}
}

// Whatever reads or writes first begins.
func TestHandshakeBegunByUse(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(c *socket.Conn) error
	}{
		{"Write", func(c *socket.Conn) error { _, err := c.Write([]byte("ping")); return err }},
		{"WriteWithin", func(c *socket.Conn) error { _, err := c.WriteWithin([]byte("ping"), time.Minute); return err }},
		{"Read", func(c *socket.Conn) error { _, err := io.ReadFull(readerOf(c), make([]byte, 4)); return err }},
		{"Loop", func(c *socket.Conn) error { return c.Loop(collect(new(bytes.Buffer), 4, socket.Park)) }},
		{"RoundTrip", func(c *socket.Conn) error {
			return c.RoundTrip([]byte("ping"), collect(new(bytes.Buffer), 4, socket.More))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tm := newTerms(t, tls.VersionTLS13)
			c, tcp := pair(t, new(socket.Sweeper))
			c.ServerTLS(tm.server)
			peer := tls.Client(tcp, tm.client)
			done := start(func() error { return tt.use(c) })
			write(t, peer, "pong")
			if err := result(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHandshakeFails(t *testing.T) {
	tm := newTerms(t, tls.VersionTLS13)
	stranger := newTerms(t, tls.VersionTLS13)
	old := newTerms(t, tls.VersionTLS12)
	for _, tt := range []struct {
		name string
		peer func(c *socket.Conn, tcp *net.TCPConn)
		want func(err error) bool
	}{
		{"the client does not trust us", func(_ *socket.Conn, tcp *net.TCPConn) {
			_ = tls.Client(tcp, stranger.client).HandshakeContext(t.Context())
		}, func(err error) bool { return strings.Contains(err.Error(), "remote error: tls: ") }},
		{"the client speaks an older version only", func(_ *socket.Conn, tcp *net.TCPConn) {
			_ = tls.Client(tcp, old.client).HandshakeContext(t.Context())
		}, func(err error) bool { return strings.Contains(err.Error(), "unsupported versions") }},
		{"the client does not speak TLS", func(_ *socket.Conn, tcp *net.TCPConn) {
			_, _ = io.WriteString(tcp, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		}, func(err error) bool { _, ok := errors.AsType[tls.RecordHeaderError](err); return ok }},
		{"the client goes", func(_ *socket.Conn, tcp *net.TCPConn) { _ = tcp.Close() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{
			"the client resets", func(_ *socket.Conn, tcp *net.TCPConn) { _ = tcp.SetLinger(0); _ = tcp.Close() },
			func(err error) bool { return errors.Is(err, syscall.ECONNRESET) },
		},
		{
			"the client says nothing and the time is up", func(c *socket.Conn, _ *net.TCPConn) { c.Expire() },
			func(err error) bool { return errors.Is(err, socket.ErrExpired) },
		},
		{"half a hello, and the time is up", func(c *socket.Conn, tcp *net.TCPConn) {
			_, _ = tcp.Write([]byte{22, 3, 1, 2, 0, 1, 0})
			c.Expire()
		}, func(err error) bool { return errors.Is(err, socket.ErrExpired) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, tcp := pair(t, new(socket.Sweeper))
			c.ServerTLS(tm.server)
			done := start(func() error { return c.Handshake(t.Context()) })
			tt.peer(c, tcp)
			if err := result(t, done); err == nil || !tt.want(err) {
				t.Errorf("Handshake() = %v", err)
			}
			if c.TLSState() != nil {
				t.Error("there is a state though the handshake failed")
			}
			if n, err := c.Write([]byte("x")); n != 0 || err == nil {
				t.Errorf("Write() = %d, %v after a handshake that failed", n, err)
			}
		})
	}
	t.Run("the context ends", func(t *testing.T) {
		c, _ := pair(t, new(socket.Sweeper))
		c.ServerTLS(tm.server)
		ctx, cancel := context.WithCancel(t.Context())
		done := start(func() error { return c.Handshake(ctx) })
		cancel()
		if err := result(t, done); !errors.Is(err, context.Canceled) || !c.Expired() {
			t.Errorf("Handshake() = %v, want the end of its context", err)
		}
	})
	t.Run("the server is not who we want", func(t *testing.T) {
		c, tcp := pair(t, new(socket.Sweeper))
		c.ClientTLS(stranger.client)
		go func() { _ = tls.Server(tcp, tm.server).HandshakeContext(t.Context()) }()
		err := c.Handshake(t.Context())
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
			t.Errorf("Handshake() = %v, want an unknown authority", err)
		}
	})
}

// A Wake, as of a listener that drains, does not fail a handshake.
func TestHandshakeOutlivesWakes(t *testing.T) {
	tm := newTerms(t, tls.VersionTLS13)
	c, tcp := pair(t, new(socket.Sweeper))
	c.ServerTLS(tm.server)
	done := start(func() error { return c.Handshake(t.Context()) })
	for range 100 {
		c.Wake()
		runtime.Gosched()
	}
	if err := tls.Client(tcp, tm.client).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Wake()
	if err := result(t, done); err != nil {
		t.Errorf("Handshake() = %v", err)
	}
}

func TestLoopOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			long := strings.Repeat("0123456789", 10_000)
			for _, tt := range []struct {
				name   string
				buffer int
				next   socket.Next
				pieces []string
			}{
				{"one piece", 64, socket.Park, []string{"hello"}},
				{"pieces of one message are read on", 64, socket.More, []string{"he", "l", "lo"}},
				{"messages one after the other", 64, socket.Park, []string{"a", "b", "c", "d"}},
				{"more than the buffer holds, at once", 4, socket.Park, []string{"0123456789"}},
				{"exactly what the buffer holds", 5, socket.Park, []string{"hello", "again"}},
				{"many records, and parking between them", 1 << 10, socket.Park, []string{long, long}},
				{"much more than the buffer holds", 1 << 10, socket.More, []string{long}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c, peer, _ := open(t, new(socket.Sweeper))
					want := strings.Join(tt.pieces, "")
					var got bytes.Buffer
					told := make(chan int, len(want)+1)
					h := collect(&got, len(want), tt.next)
					h.buf = make([]byte, tt.buffer)
					data := h.data
					h.data = func(b []byte) socket.Next {
						next := data(b)
						told <- got.Len()
						return next
					}
					done := start(func() error { return c.Loop(h) })
					sent := 0
					for _, p := range tt.pieces {
						write(t, peer, p)
						sent += len(p)
						for n := 0; n < sent; { // the next piece only follows once this one was seen
							n = <-told
						}
					}
					if err := result(t, done); err != nil {
						t.Fatalf("Loop() = %v, want nil once the handler is done", err)
					}
					if got.String() != want {
						t.Errorf("got %d bytes, want the %d that were sent", got.Len(), len(want))
					}
				})
			}
		})
	}
}

// Several records come in one segment: those behind the first are not left in
// TLS when the handler parks.
func TestLoopFindsRecordsThatCameTogether(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, tcp := open(t, new(socket.Sweeper))
			tcp.on = true
			for i := range 3 {
				write(t, peer, fmt.Sprintf("message %d;", i))
			}
			tcp.release(t)
			want := "message 0;message 1;message 2;"
			var got bytes.Buffer
			if err := result(t, start(func() error { return c.Loop(collect(&got, len(want), socket.Park)) })); err != nil || got.String() != want {
				t.Errorf("Loop() = %v after %q, want all messages", err, got.String())
			}
		})
	}
}

func TestLoopOverTLSEnds(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				name string
				end  func(c *socket.Conn, peer *tls.Conn, tcp *holding)
				want error
			}{
				{"the peer says so and closes", func(_ *socket.Conn, p *tls.Conn, _ *holding) { _ = p.Close() }, io.EOF},
				{"the peer says so", func(_ *socket.Conn, p *tls.Conn, _ *holding) { _ = p.CloseWrite() }, io.EOF},
				{"the peer closes without a word", func(_ *socket.Conn, _ *tls.Conn, tcp *holding) { _ = tcp.Close() }, socket.ErrTruncated},
				{"the peer closes inside a record", func(_ *socket.Conn, p *tls.Conn, tcp *holding) {
					tcp.on = true
					_, _ = io.WriteString(p, "never seen whole")
					_, _ = tcp.TCPConn.Write(tcp.held[:len(tcp.held)-1])
					_ = tcp.Close()
				}, io.ErrUnexpectedEOF},
				{"the peer resets", func(_ *socket.Conn, _ *tls.Conn, tcp *holding) { _ = tcp.SetLinger(0); _ = tcp.Close() }, syscall.ECONNRESET},
				{"it expires", func(c *socket.Conn, _ *tls.Conn, _ *holding) { c.Expire() }, socket.ErrExpired},
				{"reading is stopped", func(c *socket.Conn, _ *tls.Conn, _ *holding) { c.StopReading() }, socket.ErrExpired},
				{"it is closed", func(c *socket.Conn, _ *tls.Conn, _ *holding) { c.Close() }, net.ErrClosed},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c, peer, tcp := open(t, new(socket.Sweeper))
					parked := make(chan struct{}, 10)
					h := &script{
						data: func([]byte) socket.Next { return socket.Park },
						idle: func() { parked <- struct{}{} },
					}
					done := start(func() error { return c.Loop(h) })
					write(t, peer, "x")
					<-parked // or about to: both must work
					tt.end(c, peer, tcp)
					if err := result(t, done); !errors.Is(err, tt.want) {
						t.Errorf("Loop() = %v, want %v", err, tt.want)
					}
				})
			}
		})
	}
}

// What was forged ends the connection.
func TestForgedRecord(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, tcp := open(t, new(socket.Sweeper))
			tcp.on = true
			write(t, peer, "pay 1 to me")
			tcp.held[len(tcp.held)-1] ^= 1
			tcp.release(t)
			var got bytes.Buffer
			err := result(t, start(func() error { return c.Loop(collect(&got, 1, socket.Park)) }))
			if err == nil || !strings.Contains(err.Error(), "bad record MAC") || got.Len() != 0 {
				t.Errorf("Loop() = %v after %q, want a bad record", err, got.String())
			}
		})
	}
}

// The closure alert comes in one segment with the data, and so does the end:
// it is seen without a sweep.
func TestEndTogetherWithDataOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, tcp := open(t, new(socket.Sweeper))
			tcp.on = true
			write(t, peer, "last words")
			if err := peer.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			tcp.release(t)
			_ = tcp.CloseWrite()
			var got bytes.Buffer
			err := result(t, start(func() error { return c.Loop(collect(&got, 1<<20, socket.Park)) }))
			if !errors.Is(err, io.EOF) || got.String() != "last words" {
				t.Errorf("Loop() = %v after %q, want io.EOF after all data", err, got.String())
			}
		})
	}
}

func TestRoundTripOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MB
			answer := strings.Repeat("answer", 5000)
			for _, tt := range []struct {
				name string
				out  []byte
				peer func(p *tls.Conn, tcp *holding) // after it has read out
				got  string
				want error
			}{
				{"an answer at once", []byte("ping"), func(p *tls.Conn, _ *holding) { _, _ = io.WriteString(p, answer) }, answer, nil},
				{"a request larger than the kernel takes", large, func(p *tls.Conn, _ *holding) { _, _ = io.WriteString(p, answer) }, answer, nil},
				{"an answer in records that come together", []byte("ping"), func(p *tls.Conn, tcp *holding) {
					tcp.on = true
					for i := 0; i < len(answer); i += 600 {
						_, _ = io.WriteString(p, answer[i:i+600])
					}
					tcp.on = false
					_, _ = tcp.Write(tcp.held)
				}, answer, nil},
				{"an answer in pieces of records", []byte("ping"), func(p *tls.Conn, tcp *holding) {
					tcp.on = true
					_, _ = io.WriteString(p, answer)
					for i := 0; i < len(tcp.held); i += 777 {
						_, _ = tcp.TCPConn.Write(tcp.held[i:min(len(tcp.held), i+777)])
						runtime.Gosched()
					}
				}, answer, nil},
				{"an answer and the end at once", []byte("ping"), func(p *tls.Conn, _ *holding) {
					_, _ = io.WriteString(p, answer)
					_ = p.Close()
				}, answer, nil},
				{"the end instead of an answer", []byte("ping"), func(p *tls.Conn, _ *holding) { _ = p.Close() }, "", io.EOF},
				{"the end inside the answer", []byte("ping"), func(p *tls.Conn, _ *holding) {
					_, _ = io.WriteString(p, "ans")
					_ = p.Close()
				}, "ans", io.EOF},
				{"an end that nobody said, inside the answer", []byte("ping"), func(p *tls.Conn, tcp *holding) {
					_, _ = io.WriteString(p, "ans")
					_ = tcp.Close()
				}, "ans", socket.ErrTruncated},
				{"a reset instead of an answer", []byte("ping"), func(_ *tls.Conn, tcp *holding) {
					_ = tcp.SetLinger(0)
					_ = tcp.Close()
				}, "", syscall.ECONNRESET},
				{"nothing to send", nil, func(p *tls.Conn, _ *holding) { _, _ = io.WriteString(p, answer) }, answer, nil},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c, peer, tcp := open(t, new(socket.Sweeper))
					_ = c.TCP().SetWriteBuffer(8 << 10)
					var got bytes.Buffer
					done := start(func() error { return c.RoundTrip(tt.out, collect(&got, len(answer), socket.More)) })
					received := make([]byte, len(tt.out))
					if _, err := io.ReadFull(peer, received); err != nil || !bytes.Equal(received, tt.out) {
						t.Fatalf("the peer did not get what was sent: %v", err)
					}
					tt.peer(peer, tcp)
					if err := result(t, done); !errors.Is(err, tt.want) {
						t.Errorf("RoundTrip() = %v, want %v", err, tt.want)
					}
					if got.String() != tt.got {
						t.Errorf("got %d bytes of answer, want %d", got.Len(), len(tt.got))
					}
				})
			}
		})
	}
}

// Many exchanges over one connection, of sizes on both sides of a record's.
func TestExchangesOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			sizes := []int{1, 128, 16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000}
			served := start(func() error {
				for range 3 {
					for _, n := range sizes {
						b := make([]byte, n)
						if _, err := io.ReadFull(peer, b); err != nil {
							return err
						}
						if _, err := peer.Write(b); err != nil {
							return err
						}
					}
				}
				return nil
			})
			for range 3 {
				for _, n := range sizes {
					var got bytes.Buffer
					out := bytes.Repeat([]byte{byte(n)}, n)
					if err := result(t, start(func() error { return c.RoundTrip(out, collect(&got, n, socket.More)) })); err != nil {
						t.Fatalf("RoundTrip() of %d bytes = %v", n, err)
					}
					if !bytes.Equal(got.Bytes(), out) {
						t.Fatalf("%d bytes came back, want the %d that were sent", got.Len(), n)
					}
					if !c.Alive() {
						t.Fatalf("it is not alive after an exchange of %d bytes", n)
					}
				}
			}
			if err := result(t, served); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRoundTripOverTLSCannotSend(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				name string
				ruin func(c *socket.Conn, tcp *holding)
				want error
			}{
				{"the peer has reset", func(c *socket.Conn, tcp *holding) {
					_ = tcp.SetLinger(0)
					_ = tcp.Close()
					eventually(t, "the reset is seen", c.HungUp)
				}, syscall.EPIPE},
				{"it has expired", func(c *socket.Conn, _ *holding) { c.Expire() }, socket.ErrExpired},
				{"it is closed", func(c *socket.Conn, _ *holding) { c.Close() }, net.ErrClosed},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c, _, tcp := open(t, new(socket.Sweeper))
					tt.ruin(c, tcp)
					var got bytes.Buffer
					err := result(t, start(func() error { return c.RoundTrip([]byte("ping"), collect(&got, 1, socket.More)) }))
					we, ok := errors.AsType[*socket.WriteError](err)
					if !ok || !we.Unsent || !errors.Is(err, tt.want) && !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("RoundTrip() = %v, want a WriteError of nothing sent around %v", err, tt.want)
					}
				})
			}
		})
	}
}

// A deadline is no fault of TLS: what was under way goes on after Revive.
func TestReviveOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				name string
				end  func(c *socket.Conn)
				down bool // writing has ended too
			}{
				{"after an expiry", (*socket.Conn).Expire, true},
				{"after reading was stopped", (*socket.Conn).StopReading, false},
				{"after both", func(c *socket.Conn) { c.StopReading(); c.Expire() }, true},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c, peer, tcp := open(t, new(socket.Sweeper))
					tcp.on = true
					write(t, peer, "x")
					_, _ = tcp.TCPConn.Write(tcp.held[:3]) // it ends inside a record's header
					tcp.held = tcp.held[3:]
					waiting := start(func() error {
						_, err := c.Read(make([]byte, 1))
						return err
					})
					tt.end(c)
					if err := result(t, waiting); !errors.Is(err, socket.ErrExpired) {
						t.Errorf("Read() = %v, want ErrExpired", err)
					}
					if _, err := c.Write([]byte("y")); (err != nil) != tt.down {
						t.Errorf("Write() = %v", err)
					}
					c.Revive()
					tcp.release(t)
					b := make([]byte, 1)
					if _, err := c.Read(b); err != nil || b[0] != 'x' {
						t.Errorf("Read() = %q, %v after Revive", b, err)
					}
					if _, err := c.Write([]byte("z")); err != nil {
						t.Errorf("Write() = %v after Revive", err)
					}
					expect(t, peer, map[bool]string{true: "z", false: "yz"}[tt.down])
				})
			}
		})
	}
}

// A write that the peer does not take expires; what the kernel did not take is
// sent first once the connection is revived.
func TestReviveInsideARecord(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			large := bytes.Repeat([]byte("0123456789abcdef"), 4<<20) // 64 MB
			wrote := 0
			done := start(func() (err error) {
				wrote, err = c.Write(large)
				return err
			})
			eventually(t, "some is sent", func() bool { return sent(t, c) > 0 })
			c.Expire()
			if err := result(t, done); !errors.Is(err, socket.ErrExpired) || wrote >= len(large) {
				t.Fatalf("Write() = %d, %v; want ErrExpired before the end", wrote, err)
			}
			c.Revive()
			rest := start(func() error {
				_, err := c.Write([]byte("the end"))
				c.Close()
				return err
			})
			got, err := io.ReadAll(peer)
			if err := result(t, rest); err != nil {
				t.Errorf("Write() = %v after Revive", err)
			}
			body, ended := bytes.CutSuffix(got, []byte("the end"))
			if err != nil || !ended || len(body) < wrote || !bytes.Equal(body, large[:len(body)]) {
				t.Errorf("the peer got %d bytes, %v; want at least the %d written, and the end", len(got), err, wrote)
			}
		})
	}
}

func TestStuckWriteOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			var s socket.Sweeper
			c, _, _ := open(t, &s)
			done := start(func() error {
				_, err := c.WriteWithin(make([]byte, 64<<20), time.Hour)
				return err
			})
			eventually(t, "it is stuck, and expires", func() bool {
				s.Sweep(socket.Now() + int64(2*time.Hour))
				return c.Expired()
			})
			if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
				t.Errorf("WriteWithin() = %v, want ErrExpired", err)
			}
		})
	}
}

func TestAliveOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				name  string
				do    func(c *socket.Conn, peer *tls.Conn, tcp *holding)
				alive bool
			}{
				{"an open one is", func(*socket.Conn, *tls.Conn, *holding) {}, true},
				{"one that received something is not", func(_ *socket.Conn, p *tls.Conn, _ *holding) { _, _ = p.Write([]byte("x")) }, false},
				{"one that received a part of a record is not", func(_ *socket.Conn, p *tls.Conn, tcp *holding) {
					tcp.on = true
					_, _ = p.Write([]byte("x"))
					_, _ = tcp.TCPConn.Write(tcp.held[:7])
				}, false},
				{"one whose peer said that it ends is not", func(_ *socket.Conn, p *tls.Conn, _ *holding) { _ = p.CloseWrite() }, false},
				{"one whose peer closed is not", func(_ *socket.Conn, _ *tls.Conn, tcp *holding) { _ = tcp.Close() }, false},
				{"one that was reset is not", func(_ *socket.Conn, _ *tls.Conn, tcp *holding) { _ = tcp.SetLinger(0); _ = tcp.Close() }, false},
				{"an expired one is not", func(c *socket.Conn, _ *tls.Conn, _ *holding) { c.Expire() }, false},
				{"a closed one is not", func(c *socket.Conn, _ *tls.Conn, _ *holding) { c.Close() }, false},
			} {
				t.Run(tt.name, func(t *testing.T) {
					c, peer, tcp := open(t, new(socket.Sweeper))
					tt.do(c, peer, tcp)
					eventually(t, tt.name, func() bool { return c.Alive() == tt.alive })
				})
			}
		})
	}
}

// What TLS has taken off the wire and nobody has read makes a connection one
// that is not idle.
func TestAliveKnowsWhatIsLeft(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			write(t, peer, "answer and more")
			if err := c.RoundTrip(nil, &script{buf: make([]byte, 6), data: func([]byte) socket.Next { return socket.Done }}); err != nil {
				t.Fatal(err)
			}
			if c.Pending() == 0 && runtime.GOOS == "linux" {
				t.Error("Pending() = 0 with bytes left in TLS")
			}
			if c.Alive() {
				t.Error("a connection with bytes left in TLS counts as alive")
			}
			expect(t, readerOf(c), " and more") // it was only looked at
		})
	}
}

// Tickets come when the handshake is over; they are kept and harm nothing.
func TestTicketsAreTakenWhileIdle(t *testing.T) {
	tm := newTerms(t, tls.VersionTLS13)
	for _, resumed := range []bool{false, true} {
		var s socket.Sweeper
		c, peer, _ := secured(t, &s, tm, true)
		if got := c.TLSState().DidResume; got != resumed {
			t.Fatalf("DidResume = %v, want %v", got, resumed)
		}
		eventually(t, "the tickets have come", func() bool { return c.Pending() > 0 || runtime.GOOS != "linux" })
		if !c.Alive() {
			t.Error("an idle connection that got tickets does not count as alive")
		}
		if c.Pending() > 0 {
			t.Error("the tickets are still there")
		}
		served := start(func() error {
			_, err := io.ReadFull(peer, make([]byte, 4))
			_, _ = io.WriteString(peer, "pong")
			return err
		})
		var got bytes.Buffer
		if err := result(t, start(func() error { return c.RoundTrip([]byte("ping"), collect(&got, 4, socket.More)) })); err != nil || got.String() != "pong" {
			t.Errorf("RoundTrip() = %v after %q", err, got.String())
		}
		if err := result(t, served); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseOverTLS(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			t.Run("Close says so", func(t *testing.T) {
				c, peer, _ := open(t, new(socket.Sweeper))
				c.Close()
				if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("the peer got %v, want io.EOF", err)
				}
			})
			t.Run("an expired one says so, too", func(t *testing.T) {
				c, _, tcp := open(t, new(socket.Sweeper))
				c.Expire()
				c.Close()
				expectClosure(t, tcp)
			})
			t.Run("Abort does not", func(t *testing.T) {
				c, _, tcp := open(t, new(socket.Sweeper))
				c.Abort()
				if n, err := tcp.Read(make([]byte, 100)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the peer got %d bytes, %v; want a reset and nothing before", n, err)
				}
			})
			t.Run("CloseWrite says so, and reading goes on", func(t *testing.T) {
				c, peer, tcp := open(t, new(socket.Sweeper))
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				expectEnd(t, peer)
				if n, err := tcp.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("below TLS the peer got %v, want io.EOF", err)
				}
				write(t, peer, "still here")
				b := make([]byte, 10)
				if _, err := io.ReadFull(readerOf(c), b); err != nil || string(b) != "still here" {
					t.Errorf("Read() = %q, %v", b, err)
				}
				if _, err := c.Write([]byte("x")); err == nil {
					t.Error("Write() = nil after CloseWrite")
				}
			})
			t.Run("Close does not wait for a peer that takes nothing", func(t *testing.T) {
				c, _, _ := open(t, new(socket.Sweeper))
				done := start(func() error {
					_, err := c.Write(make([]byte, 64<<20))
					return err
				})
				eventually(t, "some is sent", func() bool { return sent(t, c) > 0 })
				closed := start(func() error { c.Close(); return nil })
				_ = result(t, closed)
				if result(t, done) == nil {
					t.Error("all was written")
				}
			})
		})
	}
}

// expectClosure expects one more record, and the end behind it.
func expectClosure(t *testing.T, r io.Reader) {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil || len(b) < 7 || len(b) != 5+int(b[3])<<8+int(b[4]) {
		t.Errorf("the peer got %x, %v; want one record", b, err)
	}
}

func TestManyRecords(t *testing.T) {
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			h := &script{data: func(b []byte) socket.Next {
				_, _ = c.Write(b)
				return socket.Park
			}}
			done := start(func() error { return c.Loop(h) })
			for i := range 2000 {
				message := fmt.Sprintf("message %04d", i)
				write(t, peer, message)
				expect(t, peer, message)
			}
			_ = peer.Close()
			if err := result(t, done); !errors.Is(err, io.EOF) {
				t.Errorf("Loop() = %v, want io.EOF", err)
			}
		})
	}
}

func TestEndedOverTLS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an end behind bytes is seen on Linux only")
	}
	for name, open := range ways(t) {
		t.Run(name, func(t *testing.T) {
			c, peer, tcp := open(t, new(socket.Sweeper))
			write(t, peer, "x")
			expect(t, readerOf(c), "x") // and the tickets before it
			if c.Ended() {
				t.Error("a connection that is open has ended")
			}
			tcp.on = true
			_ = peer.CloseWrite()
			tcp.release(t)
			eventually(t, "the alert to arrive", func() bool { return c.Pending() > 0 })
			if c.Ended() {
				t.Error("a connection whose peer may still have bytes to send has ended")
			}
			_ = tcp.CloseWrite()
			eventually(t, "the end to be seen behind the alert", c.Ended)
		})
		t.Run(name+" with a request ahead", func(t *testing.T) {
			c, peer, tcp := open(t, new(socket.Sweeper))
			write(t, peer, "x")
			expect(t, readerOf(c), "x")
			write(t, peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			_ = peer.CloseWrite()
			_ = tcp.CloseWrite()
			eventually(t, "all to arrive", func() bool { return c.Pending() > 60 })
			if c.Ended() {
				t.Error("a connection that has a request to read has ended")
			}
		})
	}
}
