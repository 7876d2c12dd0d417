// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// secure has the connections of a bed speak TLS. It returns what clients need.
func (b *bed) secure(clients bool) *tls.Config {
	b.t.Helper()
	ca := certs.New(b.t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(b.t, "db.example").TLS()}}
	if clients {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	}
	b.listener.SetDoor(&arrive.Door{
		Within: patience,
		TLS:    &arrive.TLS{Config: config, Asked: func(string) *routing.ListenTLS { return nil }},
	})
	return &tls.Config{
		ServerName: "db.example", RootCAs: ca.Pool(),
		Certificates: []tls.Certificate{ca.With(certs.Client()).Issue(b.t, "me").TLS()},
	}
}

// dial returns a client that speaks TLS, after its handshake.
func (b *bed) dial(config *tls.Config) *tls.Conn {
	b.t.Helper()
	c := tls.Client(b.connect(), config)
	if err := c.HandshakeContext(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestTLSEndsHere(t *testing.T) {
	t.Run("the client's half ends first", func(t *testing.T) {
		addr, conns := held(t)
		b := newBed(t, only(addr))
		c := b.dial(b.secure(false))
		write(t, c, "question")
		_ = c.CloseWrite()
		i := <-conns
		expect(t, i, "question")
		expectEnd(t, i, io.EOF)
		write(t, i, "answer")
		expect(t, c, "answer")
		_ = i.CloseWrite()
		expectEnd(t, c, io.EOF) // a closure alert: crypto/tls tells other ends apart
		b.check(live.None, 1)
	})
	t.Run("the instance's half ends first", func(t *testing.T) {
		addr, conns := held(t)
		b := newBed(t, only(addr))
		c := b.dial(b.secure(false))
		i := <-conns
		write(t, i, "greeting")
		_ = i.CloseWrite()
		expect(t, c, "greeting")
		expectEnd(t, c, io.EOF)
		write(t, c, "late")
		expect(t, i, "late")
		_ = c.CloseWrite()
		expectEnd(t, i, io.EOF)
		b.check(live.None, 1)
	})
	t.Run("much goes both ways", func(t *testing.T) {
		b := newBed(t, only(origin(t, echo)))
		c := b.dial(b.secure(false))
		content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		var sent sync.WaitGroup
		sent.Go(func() {
			if _, err := c.Write(content); err != nil {
				t.Error(err)
			}
			_ = c.CloseWrite()
		})
		got, err := io.ReadAll(c)
		sent.Wait()
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back, %v; want the %d that were sent", len(got), err, len(content))
		}
		b.check(live.None, 1)
		if got := b.totals(); got.BytesIn != 1<<20 || got.BytesOut != 1<<20 {
			t.Errorf("%d bytes in and %d out are counted, want those within TLS", got.BytesIn, got.BytesOut)
		}
	})
	// Whoever cuts the connection on the way must not make it look complete.
	t.Run("an end without a closure alert is no end", func(t *testing.T) {
		addr, conns := held(t)
		b := newBed(t, only(addr))
		raw := b.connectTo(b.secure(false))
		i := <-conns
		write(t, raw.tls, "part of")
		expect(t, i, "part of")
		_ = raw.tcp.CloseWrite()
		expectEnd(t, i, syscall.ECONNRESET)
		b.check(live.RequestAborted, 1)
	})
	t.Run("conditions know the client's certificate", func(t *testing.T) {
		b := newBed(t, byName(t, "client subject contains \"CN=you\"", "client subject contains \"CN=me\""))
		c := b.dial(b.secure(true))
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "b:" {
			t.Errorf("got %q, %v", got, err)
		}
		b.check(live.None, 1)
	})
	t.Run("and the name, which is not looked at twice", func(t *testing.T) {
		b := newBed(t, byName(t, "sni == a.example", "sni == db.example"))
		c := b.dial(b.secure(false))
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "b:" {
			t.Errorf("got %q, %v", got, err)
		}
		b.check(live.None, 1)
	})
	t.Run("who does not speak it reaches nobody", func(t *testing.T) {
		b := newBed(t, only(origin(t, echo)))
		b.secure(false)
		c := b.connect()
		write(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if got, _ := io.ReadAll(c); bytes.Contains(got, []byte("GET")) {
			t.Errorf("got %q", got)
		}
		b.check(live.None, 0)
	})
}

// layers are both sides of a client that speaks TLS.
type layers struct {
	tls *tls.Conn
	tcp *net.TCPConn
}

func (b *bed) connectTo(config *tls.Config) layers {
	b.t.Helper()
	raw := b.connect()
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return layers{c, raw}
}

// heading returns an instance that says what PROXY header it received, and what
// came behind it.
func heading(t *testing.T) (addr string, headers chan sniff.Header) {
	t.Helper()
	headers = make(chan sniff.Header, 10)
	return origin(t, func(nc *net.TCPConn) {
		var b []byte
		for {
			piece := make([]byte, 1000)
			n, err := nc.Read(piece)
			b = append(b, piece[:n]...)
			h, size, parse := sniff.ParseHeader(b)
			if parse == nil {
				h.TLVs = bytes.Clone(h.TLVs)
				headers <- h
				_, _ = nc.Write(b[size:])
				echo(nc)
				return
			}
			if err != nil || !errors.Is(parse, sniff.ErrShort) {
				t.Errorf("%q is no header: %v, %v", b, parse, err)
				return
			}
		}
	}), headers
}

func TestInstancesAreToldOfTheClient(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	const tlvs = "\x02\x00\x04shop\xe0\x00\x00"
	named := sniff.Header{Source: netip.MustParseAddrPort("192.0.2.7:1234"), Destination: netip.MustParseAddrPort("192.0.2.1:443"), TLVs: []byte(tlvs)}
	six := sniff.Header{Source: netip.MustParseAddrPort("[2001:db8::7]:1234"), Destination: netip.MustParseAddrPort("[2001:db8::1]:443")}
	for _, tt := range []struct {
		name  string
		sends string
		out   string
		want  sniff.Header // empty: the connection's own addresses
	}{
		{"version 1, the client of the connection", "", "v1", sniff.Header{}},
		{"version 2, the client of the connection", "", "v2", sniff.Header{}},
		{"version 2 of version 1", string(sniff.AppendHeader(nil, routing.ProxyV1, named)), "v2", sniff.Header{Source: named.Source, Destination: named.Destination}},
		{"version 2 of version 2, with its vectors", string(sniff.AppendHeader(nil, routing.ProxyV2, named)), "v2", named},
		{"version 1 of version 2", string(sniff.AppendHeader(nil, routing.ProxyV2, named)), "v1", sniff.Header{Source: named.Source, Destination: named.Destination}},
		{"version 2 of IPv6", string(sniff.AppendHeader(nil, routing.ProxyV2, six)), "v2", six},
		{"a balancer that speaks for itself", "PROXY UNKNOWN\r\n", "v2", sniff.Header{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, headers := heading(t)
			b := newBed(t, fmt.Sprintf(`{"[%s]": {sluice: {proxy_protocol: %s}}}`, addr, tt.out))
			if tt.sends != "" {
				b.listener.SetDoor(&arrive.Door{Within: patience, ProxyFrom: []netip.Prefix{loopback}})
			}
			c := b.connect()
			want := tt.want
			if !want.Source.IsValid() {
				want.Source, want.Destination = c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
			}
			write(t, c, tt.sends+"hello")
			_ = c.CloseWrite()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != "hello" {
				t.Fatalf("got %q, %v; want what is behind the header", got, err)
			}
			if h := <-headers; h.Source != want.Source || h.Destination != want.Destination || !bytes.Equal(h.TLVs, want.TLVs) {
				t.Errorf("the instance was told %+v, want %+v", h, want)
			}
			b.check(live.None, 1)
		})
	}
}

func TestTheNamedClientRulesConditions(t *testing.T) {
	b := newBed(t, byName(t, "ip in 127.0.0.0/8", "ip in 192.0.2.0/24"))
	b.listener.SetDoor(&arrive.Door{Within: patience, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	c := b.connect()
	write(t, c, "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nhello")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "b:hello" {
		t.Errorf("got %q, %v", got, err)
	}
	b.check(live.None, 1)
}

// The header and the ClientHello behind it may come in any pieces.
func TestAHeaderInFrontOfAClientHello(t *testing.T) {
	b := newBed(t, byName(t, "sni == a.example", "sni == b.example"))
	b.listener.SetDoor(&arrive.Door{Within: patience, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	first := hello(t, "b.example")
	for _, cut := range []int{0, 10, 36, 60} {
		all := "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n" + first
		c := b.connect()
		write(t, c, all[:cut])
		write(t, c, all[cut:])
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "b:"+first {
			t.Errorf("cut at %d: got %.60q, %v", cut, got, err)
		}
	}
	b.check(live.None, 4)
}

func TestWithoutTheHeaderThatIsExpectedNobodyIsReached(t *testing.T) {
	for _, tt := range []struct{ name, sends string }{
		{"another protocol", "SSH-2.0-x\r\n"},
		{"a broken header", "PROXY TCP4 192.0.2.7\r\n"},
		{"a part of one, and then silence", "PROXY TC"},
		{"silence", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, only(origin(t, echo)))
			b.sweep()
			refused := make(chan live.Reason, 1)
			b.listener.SetDoor(&arrive.Door{
				Within: 300 * time.Millisecond, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
				Refused: func(r live.Reason) { refused <- r },
			})
			c := b.connect()
			write(t, c, tt.sends)
			expectEnd(t, c, syscall.ECONNRESET)
			if got := <-refused; got != live.ProxyHeader {
				t.Errorf("refused for %v, want %v", got, live.ProxyHeader)
			}
			b.check(live.None, 0)
		})
	}
}
