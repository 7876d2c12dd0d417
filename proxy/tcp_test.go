// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// introduced is an instance that speaks TLS behind a PROXY header, and what its
// connections began with.
func (n *inner) introduced(t *testing.T, config *tls.Config) (address string, headers chan sniff.Header) {
	t.Helper()
	ln := listen(t)
	headers = make(chan sniff.Header, 10)
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(time.Minute))
				var b []byte
				for one := make([]byte, 1); ; { // nothing of what follows may be read
					if _, err := io.ReadFull(nc, one); err != nil {
						return
					}
					b = append(b, one[0])
					if h, _, err := sniff.ParseHeader(b); err == nil {
						h.TLVs = bytes.Clone(h.TLVs)
						headers <- h
						break
					} else if !errors.Is(err, sniff.ErrShort) {
						t.Errorf("%q is no header: %v", b, err)
						return
					}
				}
				s := tls.Server(nc, config)
				_, _ = io.Copy(s, s)
				_ = s.Close()
			})
		}
	})
	return ln.Addr().String(), headers
}

// From the client's plain bytes, or its TLS, to instances that speak TLS, show
// whom they know and are told of the client.
func TestTCPRoutesSpeakTLSToInstances(t *testing.T) {
	n := newInner(t)
	config := n.config()
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, n.Pool()
	n.Issue(t, "sluice").WriteFiles(n.dir, "me")
	n.Issue(t, "db.example").WriteFiles(n.dir, "db")
	address, headers := n.introduced(t, config)
	p, q := freeport.One(t), freeport.One(t)
	bed := start(t, n.options)
	route := fmt.Sprintf(`routes: {"[%s]": {sluice: {proxy_protocol: v2, tls: {ca: ca.crt, name: shop.internal, certificate: me.crt, key: me.key}}}}`, address)
	bed.apply(fmt.Sprintf("{name: plain, port: %d/tcp, %s}\n---\n{name: secure, port: %d/tcp, sluice: {tls: {%s}}, %s}", p, route, q, pair("db"), route))
	plain := dial(t, local(p))
	secure := tls.Client(dial(t, local(q)), &tls.Config{ServerName: "db.example", RootCAs: n.Pool()})
	for _, tt := range []struct {
		name string
		raw  net.Conn
		nc   net.Conn
	}{{"plain", plain, plain}, {"TLS", secure.NetConn(), secure}} {
		t.Run(tt.name, func(t *testing.T) {
			content := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
			sent := make(chan error, 1)
			go func() {
				_, err := tt.nc.Write(content)
				sent <- errors.Join(err, tt.nc.(interface{ CloseWrite() error }).CloseWrite())
			}()
			got, err := io.ReadAll(tt.nc)
			if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back, %v; want the %d that were sent", len(got), err, len(content))
			}
			want := tt.raw.LocalAddr().(*net.TCPAddr).AddrPort()
			if h := <-headers; h.Source != want {
				t.Errorf("the instance was told of %v, want %v", h.Source, want)
			}
		})
	}
}

// A handshake that fails is a connection that could not be made.
func TestTCPRoutesWhoseInstancesSpeakNoTLS(t *testing.T) {
	n := newInner(t)
	p := freeport.One(t)
	bed := start(t, n.options)
	bed.apply(fmt.Sprintf(`{name: g, port: %d/tcp, routes: {"[%s]": {sluice: {tls: {ca: ca.crt, name: shop.internal}}}}}`, p, echoing(t)))
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", p))
	if err == nil {
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		_, err = nc.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) { // it may be so while dialing
		t.Errorf("the connection ends by %v, want a reset", err)
	}
	eventually(t, "the failure is counted", func() bool { return bed.failures(live.TLSFailed) == 1 })
}

func TestConnectionsOfWhatIsGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone string // what is applied in its place; %d is the port, %s an address
	}{
		{"the gateway is gone", "{name: other, port: %d, routes: {}}"},
		{"the instance is gone", `{name: g, port: %d/tcp, routes: {"[%s]": {}}}`},
	} {
		for _, stop := range []time.Duration{time.Millisecond, time.Hour} {
			t.Run(fmt.Sprintf("%s, for longer than %v", tt.name, stop), func(t *testing.T) {
				p, other := freeport.One(t), echoing(t)
				bed := start(t, func(o *proxy.Options) { o.Drain, o.HardStop = time.Millisecond, stop })
				bed.apply(fmt.Sprintf(`{name: g, port: %d/tcp, routes: {"[%s]": {}}}`, p, echoing(t)))
				nc := dial(t, local(p))
				says(t, nc)
				if tt.gone[7] == 'o' {
					bed.apply(fmt.Sprintf(tt.gone, freeport.One(t)))
				} else {
					bed.apply(fmt.Sprintf(tt.gone, p, other))
				}
				if stop == time.Hour {
					for range 3 { // nothing ends it, whatever looks after others
						says(t, nc)
					}
					bed.server.Stop()
					return
				}
				if _, err := io.ReadAll(nc); err == nil {
					t.Error("it ended in order, want a reset")
				} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
					t.Error("it is not cut")
				}
			})
		}
	}
}

func says(t *testing.T, nc net.Conn) {
	t.Helper()
	if _, err := io.WriteString(nc, "ping"); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, nc, "ping")
}

// Conditions come and go without closing the port or cutting a connection.
func TestTCPConditionsChangeWhileConnectionsLive(t *testing.T) {
	p, a, b := freeport.One(t), echoing(t), banner(t)
	bed := start(t, nil)
	without := fmt.Sprintf(`{name: g, port: %d/tcp, routes: {"[%s]": {}}}`, p, a)
	with := fmt.Sprintf(`{name: g, port: %d/tcp, routes: {"[%s]": {}, "[%s]": {condition: sni == b.example, condition_strength: 100%%, weight: 0%%}}}`, p, a, b)
	var all []net.Conn
	for i := range 6 {
		bed.apply([]string{without, with}[i%2])
		nc := dial(t, local(p))
		says(t, nc)
		all = append(all, nc)
		for _, nc := range all {
			says(t, nc)
		}
	}
	asks := dial(t, local(p))
	if err := tls.Client(asks, &tls.Config{ServerName: "b.example", InsecureSkipVerify: true}).HandshakeContext(t.Context()); err == nil {
		t.Error("an instance without TLS shook hands")
	}
	for _, nc := range all {
		_ = nc.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(nc); err != nil || len(rest) > 0 {
			t.Errorf("behind the end come %q, %v", rest, err)
		}
	}
}
