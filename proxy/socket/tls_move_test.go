// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// end is a connection and its peer, with TLS or without.
type end struct {
	conn *socket.Conn
	peer interface {
		io.ReadWriteCloser
		CloseWrite() error
	}
	tcp *net.TCPConn // below the peer
}

func newEnd(t *testing.T, s *socket.Sweeper, tm *terms) end {
	t.Helper()
	if tm == nil {
		c, peer := pair(t, s)
		return end{c, peer, peer}
	}
	c, peer, held := secured(t, s, *tm, false)
	return end{c, peer, held.TCPConn}
}

// mixed are the ways in which one side at least speaks TLS.
func mixed(t *testing.T) map[string][2]*terms {
	t.Helper()
	tm := newTerms(t, tls.VersionTLS13)
	return map[string][2]*terms{"from TLS": {&tm, nil}, "to TLS": {nil, &tm}, "from TLS to TLS": {&tm, &tm}}
}

func TestMovingOverTLS(t *testing.T) {
	payload := strings.Repeat("0123456789abcdef", 20_000) // 320 KB
	moves := map[string]func(dst, src *socket.Conn, n int64) (int64, error){
		"ReadFrom": (*socket.Conn).ReadFrom,
		"Splice":   func(dst, src *socket.Conn, n int64) (int64, error) { return dst.Splice(src, n, time.Minute) },
	}
	for way, sides := range mixed(t) {
		for _, tt := range []struct {
			name  string
			sent  string
			n     int64
			moved int64
			want  error
		}{
			{"exactly what is asked for", payload, int64(len(payload)), int64(len(payload)), nil},
			{"no more than is asked for", payload + "rest", int64(len(payload)), int64(len(payload)), nil},
			{"one byte of a record", "xyz", 1, 1, nil},
			{"nothing", "", 0, 0, nil},
			{"a source that ends before", payload, int64(len(payload)) + 1, int64(len(payload)), io.ErrUnexpectedEOF},
		} {
			for name, move := range moves {
				t.Run(name+" "+way+", "+tt.name, func(t *testing.T) {
					var s socket.Sweeper
					from, to := newEnd(t, &s, sides[0]), newEnd(t, &s, sides[1])
					fed := start(func() error {
						_, err := io.WriteString(from.peer, tt.sent)
						_ = from.peer.CloseWrite()
						return err
					})
					received := make(chan string, 1)
					go func() {
						b, _ := io.ReadAll(to.peer)
						received <- string(b)
					}()
					from.conn.Wake() // does no harm
					n, err := move(to.conn, from.conn, tt.n)
					if n != tt.moved || !errors.Is(err, tt.want) {
						t.Errorf("moved %d, %v; want %d, %v", n, err, tt.moved, tt.want)
					}
					rest, err := io.ReadAll(readerOf(from.conn))
					if err != nil || string(rest) != tt.sent[tt.moved:] {
						t.Errorf("%d bytes stay in the source, %v; want %d", len(rest), err, len(tt.sent)-int(tt.moved))
					}
					to.conn.Close()
					if got := <-received; got != tt.sent[:tt.moved] {
						t.Errorf("%d bytes arrived, want %d", len(got), tt.moved)
					}
					if err := result(t, fed); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestMovingOverTLSEnds(t *testing.T) {
	for way, sides := range mixed(t) {
		for _, tt := range []struct {
			name   string
			ruin   func(from, to end)
			want   error
			blamed bool // the destination is
		}{
			{"the source expires", func(from, _ end) { from.conn.Expire() }, socket.ErrExpired, false},
			{"the destination expires", func(from, to end) {
				to.conn.Expire()
				_, _ = from.peer.Write([]byte("x"))
			}, socket.ErrExpired, true},
			{"the source is cut", func(from, _ end) { _ = from.tcp.Close() }, io.ErrUnexpectedEOF, false},
		} {
			t.Run(way+", "+tt.name, func(t *testing.T) {
				var s socket.Sweeper
				from, to := newEnd(t, &s, sides[0]), newEnd(t, &s, sides[1])
				done := start(func() error {
					_, err := to.conn.Splice(from.conn, 1<<20, time.Hour)
					return err
				})
				tt.ruin(from, to)
				err := result(t, done)
				if _, blamed := errors.AsType[*socket.SpliceError](err); !errors.Is(err, tt.want) || blamed != tt.blamed {
					t.Errorf("Splice() = %v, the destination is to blame: %v; want %v, %v", err, blamed, tt.want, tt.blamed)
				}
			})
		}
	}
}

func TestSpliceOverTLSStandsStill(t *testing.T) {
	for way, sides := range mixed(t) {
		for _, tt := range []struct {
			name        string
			sent        int
			destination bool // is to blame
		}{
			{"a source that stands still expires", 1000, false},
			{"a destination that stands still expires", 64 << 20, true},
		} {
			t.Run(way+", "+tt.name, func(t *testing.T) {
				var s socket.Sweeper
				sweep(t, &s)
				from, to := newEnd(t, &s, sides[0]), newEnd(t, &s, sides[1])
				fed := start(func() error {
					_, err := from.peer.Write(make([]byte, tt.sent))
					return err
				})
				if !tt.destination {
					go func() { _, _ = io.Copy(io.Discard, to.peer) }()
				}
				_, err := to.conn.Splice(from.conn, 64<<20, time.Second)
				_, blamed := errors.AsType[*socket.SpliceError](err)
				if !errors.Is(err, socket.ErrExpired) || blamed != tt.destination {
					t.Errorf("Splice() = %v, the destination is to blame: %v, want %v", err, blamed, tt.destination)
				}
				from.conn.Abort()
				_ = result(t, fed)
			})
		}
	}
}

func TestPairOverTLS(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20_000)
	for way, sides := range mixed(t) {
		t.Run(way, func(t *testing.T) {
			var s socket.Sweeper
			a, b := newEnd(t, &s, sides[0]), newEnd(t, &s, sides[1])
			p := socket.Pair{A: a.conn, B: b.conn, Idle: time.Hour, Ahead: []byte("before "), FromA: func(int64) {}, FromB: func(int64) {}}
			done := start(p.Run)
			write(t, a.peer, "hello")
			expect(t, b.peer, "before hello")
			write(t, b.peer, "world")
			expect(t, a.peer, "world")
			for _, way := range [][2]end{{a, b}, {b, a}} {
				fed := start(func() error {
					_, err := io.WriteString(way[0].peer, long)
					return err
				})
				expect(t, way[1].peer, long)
				if err := result(t, fed); err != nil {
					t.Fatal(err)
				}
			}
			// One half ends, the other one goes on.
			_ = a.peer.CloseWrite()
			expectEnd(t, b.peer)
			write(t, b.peer, "still here")
			expect(t, a.peer, "still here")
			_ = b.peer.CloseWrite()
			expectEnd(t, a.peer)
			if err := result(t, done); err != nil {
				t.Errorf("Run() = %v, want an orderly end", err)
			}
		})
		t.Run(way+", cut", func(t *testing.T) {
			if sides[0] == nil {
				t.Skip("without TLS an end is an end")
			}
			var s socket.Sweeper
			a, b := newEnd(t, &s, sides[0]), newEnd(t, &s, sides[1])
			p := socket.Pair{A: a.conn, B: b.conn, Idle: time.Hour, FromA: func(int64) {}, FromB: func(int64) {}}
			done := start(p.Run)
			write(t, a.peer, "hel")
			expect(t, b.peer, "hel")
			_ = a.tcp.Close()
			err := result(t, done)
			if broken, ok := errors.AsType[*socket.BrokenError](err); !ok || broken.Side != a.conn || !errors.Is(err, socket.ErrTruncated) {
				t.Errorf("Run() = %v, want that the side that was cut is to blame", err)
			}
		})
	}
}

// Both directions at once, over the same TLS: two goroutines use it.
func TestPairOverTLSBothWaysAtOnce(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 60_000)
	for way, sides := range mixed(t) {
		t.Run(way, func(t *testing.T) {
			var s socket.Sweeper
			a, b := newEnd(t, &s, sides[0]), newEnd(t, &s, sides[1])
			p := socket.Pair{A: a.conn, B: b.conn, Idle: time.Hour, FromA: func(int64) {}, FromB: func(int64) {}}
			done := start(p.Run)
			var feeding, reading []<-chan error
			for _, e := range []end{a, b} {
				feeding = append(feeding, start(func() error {
					_, err := io.WriteString(e.peer, long)
					return errors.Join(err, e.peer.CloseWrite())
				}))
				reading = append(reading, start(func() error {
					got, err := io.ReadAll(e.peer)
					if err == nil && string(got) != long {
						err = errors.New("other bytes arrived than were sent")
					}
					return err
				}))
			}
			for _, c := range append(feeding, reading...) {
				if err := result(t, c); err != nil {
					t.Error(err)
				}
			}
			if err := result(t, done); err != nil {
				t.Errorf("Run() = %v, want an orderly end", err)
			}
		})
	}
}
