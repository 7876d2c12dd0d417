// SPDX-License-Identifier: Apache-2.0

package arrive_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// visit is a connection on its way in.
type visit struct {
	t      *testing.T
	client *net.TCPConn
	conn   *socket.Conn
	door   *arrive.Door
	facts  conditions.Conn
	named  []netip.Addr
	// refused are the reasons that the door was told to count.
	refused []live.Reason
}

// knock opens a connection to a door, whose deadlines are watched.
func knock(t *testing.T, d *arrive.Door) *visit {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sweeper := new(socket.Sweeper)
	ctx, cancel := context.WithCancel(context.Background())
	swept := make(chan struct{})
	go func() { defer close(swept); sweeper.Run(ctx) }()
	conn, err := sweeper.Open(accepted.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		_ = nc.Close()
		cancel()
		<-swept
	})
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	v := &visit{t: t, client: nc.(*net.TCPConn), conn: conn, door: d}
	v.facts.Peer = nc.LocalAddr().(*net.TCPAddr).AddrPort()
	v.facts.Client, v.facts.Local = v.facts.Peer, ln.Addr().(*net.TCPAddr).AddrPort()
	if d.Within == 0 {
		d.Within = time.Minute
	}
	d.Refused = func(why live.Reason) { v.refused = append(v.refused, why) }
	return v
}

// enter has the connection brought in.
func (v *visit) enter() (a arrive.Arrival, in bool, why live.Reason) {
	a = arrive.Arrival{Facts: v.facts, Named: func(c netip.Addr) live.Reason {
		v.named = append(v.named, c)
		return live.None
	}}
	in, why = v.door.Enter(v.t.Context(), v.conn, &a)
	return a, in, why
}

func (v *visit) send(text string) {
	v.t.Helper()
	if _, err := io.WriteString(v.client, text); err != nil {
		v.t.Fatal(err)
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// v2 returns a header of version 2 with vectors.
func v2(tlvs []byte) string {
	return string(sniff.AppendHeader(nil, routing.ProxyV2, sniff.Header{
		Source: netip.MustParseAddrPort("203.0.113.9:5000"), Destination: netip.MustParseAddrPort("198.51.100.1:443"), TLVs: tlvs,
	}))
}

func TestHeaderIsTakenAndNothingElse(t *testing.T) {
	const v1 = "PROXY TCP4 203.0.113.9 198.51.100.1 5000 443\r\n"
	large := append([]byte{0xee, 4000 >> 8, 4000 & 0xff}, bytes.Repeat([]byte{7}, 4000)...)
	for _, tt := range []struct {
		name, header string
		client       string // empty: that of the connection
		tlvs         []byte
	}{
		{"version 1", v1, "203.0.113.9:5000", nil},
		{"version 2", v2(nil), "203.0.113.9:5000", nil},
		{"version 2 with vectors", v2([]byte{0x02, 0, 1, 'a'}), "203.0.113.9:5000", []byte{0x02, 0, 1, 'a'}},
		{"version 2 with more vectors than usual", v2(large), "203.0.113.9:5000", large},
		{"version 1 of a balancer that speaks for itself", "PROXY UNKNOWN\r\n", "", nil},
		{"IPv6", "PROXY TCP6 2001:db8::9 2001:db8::1 5000 443\r\n", "[2001:db8::9]:5000", nil},
	} {
		for _, pieces := range []int{1, 2, len(tt.header)} {
			t.Run(tt.name, func(t *testing.T) {
				v := knock(t, &arrive.Door{ProxyFrom: loopback})
				sent := make(chan error, 1)
				go func() {
					rest := []byte(tt.header)
					for k := pieces; k > 1 && len(rest) > 1; k-- {
						if _, err := v.client.Write(rest[:1]); err != nil {
							sent <- err
							return
						}
						rest = rest[1:]
					}
					_, err := v.client.Write(append(rest, "after"...))
					sent <- err
				}()
				a, in, why := v.enter()
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				if !in {
					t.Fatalf("not let in: %v", why)
				}
				want := v.facts.Peer
				if tt.client != "" {
					want = netip.MustParseAddrPort(tt.client)
				}
				if a.Facts.Client != want || a.Facts.Peer != v.facts.Peer || !slices.Equal(a.TLVs, tt.tlvs) {
					t.Errorf("client %v, peer %v, %d bytes of vectors; want %v, %v, %d", a.Facts.Client, a.Facts.Peer, len(a.TLVs), want, v.facts.Peer, len(tt.tlvs))
				}
				if tt.client != "" && (len(v.named) != 1 || v.named[0] != want.Addr() || a.Facts.Local.Port() != 443) {
					t.Errorf("named %v, local %v; want %v and the destination of the header", v.named, a.Facts.Local, want.Addr())
				}
				rest := make([]byte, len("after"))
				if _, err := io.ReadFull(v.conn, rest); err != nil || string(rest) != "after" {
					t.Errorf("behind it stands %q (%v), want what was sent", rest, err)
				}
			})
		}
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	for _, tt := range []struct {
		name string
		send string
		end  func(*net.TCPConn)
		why  live.Reason
	}{
		{"a request instead of a header", "GET / HTTP/1.1\r\n\r\n", nil, live.ProxyHeader},
		{"a broken header", "PROXY TCP4 203.0.113.9\r\n", nil, live.ProxyHeader},
		{"a header that ends early", "PROXY TCP4 203", func(c *net.TCPConn) { _ = c.CloseWrite() }, live.ProxyHeader},
		{"a header that is larger than any", v2(nil)[:14] + "\xff\xff" + strings.Repeat("x", 100), nil, live.ProxyHeader},
		{"a look whether somebody is there", "", func(c *net.TCPConn) { _ = c.Close() }, live.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := knock(t, &arrive.Door{ProxyFrom: loopback})
			v.send(tt.send)
			if tt.end != nil {
				tt.end(v.client)
			}
			_, in, why := v.enter()
			if in || why != tt.why {
				t.Errorf("let in: %v, because of %v; want not, because of %v", in, why, tt.why)
			}
			if counted := slices.Equal(v.refused, []live.Reason{tt.why}); counted != (tt.why != live.None) {
				t.Errorf("counted are %v", v.refused)
			}
		})
	}
}

func TestSilentConnectionsAreGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		door arrive.Door
		send string
		why  live.Reason
	}{
		{"that must begin with a header", arrive.Door{ProxyFrom: loopback}, "", live.ProxyHeader},
		{"in the middle of the header", arrive.Door{ProxyFrom: loopback}, "PROXY ", live.ProxyHeader},
		{"that must speak TLS", arrive.Door{TLS: &arrive.TLS{Config: new(tls.Config)}, HTTP: true}, "", live.None},
		{"in the middle of the hello", arrive.Door{TLS: &arrive.TLS{Config: new(tls.Config)}, HTTP: true}, "\x16\x03\x01", live.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.door.Within = time.Millisecond
			v := knock(t, &tt.door)
			v.send(tt.send)
			if _, in, why := v.enter(); in || why != tt.why {
				t.Errorf("let in: %v, because of %v; want not, because of %v", in, why, tt.why)
			}
		})
	}
}

func TestOthersNeedNoHeader(t *testing.T) {
	v := knock(t, &arrive.Door{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	v.send("PROXY UNKNOWN\r\n") // belongs to whatever is spoken
	if _, in, why := v.enter(); !in {
		t.Fatalf("not let in: %v", why)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(v.conn, got); err != nil || string(got) != "PROXY " {
		t.Errorf("read %q (%v), want what was sent", got, err)
	}
}

// shake connects to a door by TLS, through a PROXY header if it is not empty.
func shake(t *testing.T, header string, server, client *tls.Config) (a arrive.Arrival, in bool, shaken []error) {
	t.Helper()
	d := &arrive.Door{HTTP: true, TLS: &arrive.TLS{
		Config: server,
		Asked:  func(name string) *routing.ListenTLS { return &routing.ListenTLS{HSTS: name} },
		Shaken: func(_ *tls.ConnectionState, err error) { shaken = append(shaken, err) },
	}}
	if header != "" {
		d.ProxyFrom = loopback
	}
	v := knock(t, d)
	done := make(chan error, 1)
	go func() {
		_, _ = io.WriteString(v.client, header)
		c := tls.Client(v.client, client)
		done <- c.HandshakeContext(t.Context())
		_, _ = io.Copy(io.Discard, c)
	}()
	a, in, _ = v.enter()
	if !in {
		v.conn.Close()
	}
	if err := <-done; in && err != nil {
		t.Fatal(err)
	}
	return a, in, shaken
}

func TestFactsOfTLS(t *testing.T) {
	ca := certs.New(t)
	me := ca.With(certs.Client(), certs.Emails("me@example")).Issue(t, "me.example", "also.example")
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "shop.example").TLS()}, NextProtos: []string{"http/1.1"},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.Pool(),
	}
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "Shop.example", NextProtos: []string{"h2", "http/1.1"}}
	t.Run("without a certificate", func(t *testing.T) {
		a, in, shaken := shake(t, "", server, client)
		if !in || len(shaken) != 1 || shaken[0] != nil {
			t.Fatalf("let in: %v; handshakes %v", in, shaken)
		}
		got := *a.Facts.TLS
		if want := (conditions.TLS{ServerName: "shop.example", Version: tls.VersionTLS13, ALPN: "http/1.1"}); got != want {
			t.Errorf("facts = %+v, want %+v", got, want)
		}
		if a.Asked == nil || a.Asked.HSTS != "shop.example" {
			t.Errorf("asked for %+v, want what is asked for the name", a.Asked)
		}
	})
	t.Run("with one, behind a balancer", func(t *testing.T) {
		client := client.Clone()
		client.Certificates = []tls.Certificate{me.TLS()}
		a, in, _ := shake(t, v2(nil), server, client)
		if !in || a.Facts.Client.String() != "203.0.113.9:5000" {
			t.Fatalf("let in: %v, as %v", in, a.Facts.Client)
		}
		c := a.Facts.TLS.Client
		if c == nil || !c.Verified || c.CommonName != "me.example" || c.Subject != "CN=me.example" || len(c.Fingerprint) != 64 ||
			!slices.Equal(c.DNSNames, []string{"me.example", "also.example"}) || !slices.Equal(c.Emails, []string{"me@example"}) {
			t.Errorf("certificate = %+v", c)
		}
	})
	t.Run("with one that nobody vouches for", func(t *testing.T) {
		pair := certs.New(t).With(certs.Client()).Issue(t, "evil").TLS()
		client := client.Clone() // which shows it though nobody asks for it
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		if _, in, shaken := shake(t, "", server, client); in || len(shaken) != 1 || shaken[0] == nil {
			t.Errorf("let in: %v; handshakes %v, want one that failed", in, shaken)
		}
	})
}

func TestPlainTextWhereTLSIsSpoken(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{certs.New(t).Issue(t, "a").TLS()}}
	for _, tt := range []struct {
		name, send string
		config     *tls.Config
		http       bool
		why        live.Reason
		failed     bool // a handshake
	}{
		{"a request", "GET / HTTP/1.1\r\n", config, true, live.PlainOnTLS, false},
		{"a request where no HTTP is spoken", "GET / HTTP/1.1\r\n", config, false, live.None, true},
		{"nonsense", "\x00\x01\x02\x03\x04\x05", config, true, live.None, true},
		{"without a certificate", "\x16", nil, true, live.TLSUnavailable, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var failures []error
			v := knock(t, &arrive.Door{HTTP: tt.http, TLS: &arrive.TLS{
				Config: tt.config, Shaken: func(_ *tls.ConnectionState, err error) { failures = append(failures, err) },
			}})
			v.send(tt.send)
			_, in, why := v.enter()
			if in || why != tt.why {
				t.Errorf("let in: %v, because of %v; want not, because of %v", in, why, tt.why)
			}
			if failed := len(failures) == 1 && failures[0] != nil && !errors.Is(failures[0], socket.ErrExpired); failed != tt.failed {
				t.Errorf("handshakes: %v, want one that failed: %v", failures, tt.failed)
			}
		})
	}
}
