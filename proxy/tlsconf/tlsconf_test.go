// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// patience bounds what a test waits for; only a fault ever waits so long.
const patience = time.Minute

// bed is a store with its directory, its log and its metrics.
type bed struct {
	*tlsconf.Store
	t       *testing.T
	dir     string
	log     *journal
	metrics *metrics.Registry
	ca      *certs.CA
}

// journal is a log that tests read.
type journal struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

// count returns in how many lines a text stands.
func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for line := range strings.Lines(j.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir(), log: new(journal), metrics: metrics.New(metrics.Options{Shards: 1}), ca: certs.New(t)}
	b.Store = tlsconf.New(tlsconf.Options{Dir: b.dir, Metrics: b.metrics, Log: slog.New(slog.NewTextHandler(b.log, nil))})
	return b
}

// write writes a pair below the directory of the store, and returns what a
// table would say.
func (b *bed) write(base string, p certs.Pair) routing.KeyPair {
	b.t.Helper()
	p.WriteFiles(b.dir, base)
	return routing.KeyPair{Certificate: base + ".crt", Key: base + ".key"}
}

// listen returns what a gateway with certificates asks for.
func listen(pairs ...routing.KeyPair) *routing.ListenTLS {
	return &routing.ListenTLS{Certificates: pairs, MinVersion: tls.VersionTLS12}
}

func (b *bed) server(asks *routing.ListenTLS) *tlsconf.Server {
	b.t.Helper()
	s, err := b.Server(asks, "http/1.1")
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// shake runs a handshake and a few bytes, and returns what both sides saw.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		s := tls.Server(nc, server)
		if err = s.HandshakeContext(ctx); err == nil {
			atServer = s.ConnectionState()
			_, err = s.Write([]byte("hello"))
		}
		done <- err
		_, _ = s.Read(make([]byte, 1)) // until the client has read
	}()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := tls.Client(nc, client)
	if clientErr = c.HandshakeContext(ctx); clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 5)) // tickets come before, and refusals of certificates
		atClient = c.ConnectionState()
	}
	_ = nc.Close()
	return atServer, atClient, <-done, clientErr
}

// expectServed expects a handshake in which a certificate is shown.
func expectServed(t *testing.T, s *tlsconf.Server, client *tls.Config, want certs.Pair) {
	t.Helper()
	_, got, _, err := shake(t, s.Config(), client)
	if err != nil {
		t.Errorf("handshake = %v", err)
		return
	}
	if leaf := got.PeerCertificates[0]; !leaf.Equal(want.Leaf) {
		t.Errorf("the certificate of %v was shown, want that of %v", leaf.DNSNames, want.Leaf.DNSNames)
	}
}

// asking returns what a client asks for shop.example with that trusts the bed's
// authority.
func (b *bed) asking() *tls.Config {
	return &tls.Config{RootCAs: b.ca.Pool(), ServerName: "shop.example", MinVersion: tls.VersionTLS12}
}

// careless returns what a client asks with that takes any certificate.
func careless(name string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: name, MinVersion: tls.VersionTLS12}
}

// counted returns the value of a counter as it is shown.
func (b *bed) counted(labels ...string) float64 {
	b.t.Helper()
	sum := 0.0
	for _, v := range b.metrics.Values() {
		shown := []string{v.Family.Name}
		for _, l := range v.Labels {
			shown = append(shown, l.Name+"="+l.Value)
		}
		if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(shown, l) }) {
			sum += v.Value
		}
	}
	return sum
}

func TestCertificateByName(t *testing.T) {
	b := newBed(t)
	shop, wild, deep, cart := b.ca.Issue(t, "shop.example", "www.shop.example"), b.ca.Issue(t, "*.shop.example"),
		b.ca.Issue(t, "*.eu.shop.example"), b.ca.Issue(t, "Cart.Example", "127.0.0.1")
	s := b.server(listen(b.write("shop", shop), b.write("wild", wild), b.write("deep", deep), b.write("cart", cart)))
	for _, tt := range []struct {
		name, asked string
		want        certs.Pair
	}{
		{"a whole name", "shop.example", shop},
		{"a whole name comes before a pattern for it", "www.shop.example", shop},
		{"a pattern", "api.shop.example", wild},
		{"letter case does not matter", "API.Shop.Example", wild},
		{"nor that of the certificate", "cart.example", cart},
		{"a dot at the end does not matter", "cart.example.", cart},
		{"a pattern stands for one label alone", "a.b.shop.example", shop},
		{"a pattern of more labels", "a.eu.shop.example", deep},
		{"a name that none is for gets the first", "other.example", shop},
		{"no name gets the first", "", shop},
	} {
		t.Run(tt.name, func(t *testing.T) { expectServed(t, s, careless(tt.asked), tt.want) })
	}
}

func TestVersions(t *testing.T) {
	b := newBed(t)
	pair := b.write("shop", b.ca.Issue(t, "shop.example"))
	for _, tt := range []struct {
		name             string
		least, speaks    uint16
		want             uint16 // 0: the handshake fails
		protocols, agree string
	}{
		{"TLS 1.3 where 1.2 is enough", tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13, "h2,http/1.1", "http/1.1"},
		{"TLS 1.2", tls.VersionTLS12, tls.VersionTLS12, tls.VersionTLS12, "http/1.1", "http/1.1"},
		{"TLS 1.3 where it must be", tls.VersionTLS13, tls.VersionTLS13, tls.VersionTLS13, "", ""},
		{"TLS 1.2 where 1.3 must be", tls.VersionTLS13, tls.VersionTLS12, 0, "", ""},
		{"TLS 1.1 never", tls.VersionTLS12, tls.VersionTLS11, 0, "", ""},
		{"a protocol that is not spoken", tls.VersionTLS12, tls.VersionTLS13, 0, "h2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asks := listen(pair)
			asks.MinVersion = tt.least
			client := b.asking()
			client.MinVersion, client.MaxVersion = tls.VersionTLS10, tt.speaks
			if tt.protocols != "" {
				client.NextProtos = strings.Split(tt.protocols, ",")
			}
			_, got, _, err := shake(t, b.server(asks).Config(), client)
			if (err == nil) != (tt.want != 0) {
				t.Fatalf("handshake = %v, want success %v", err, tt.want != 0)
			}
			if err == nil && (got.Version != tt.want || got.NegotiatedProtocol != tt.agree) {
				t.Errorf("agreed on %s and %q, want %s and %q", tls.VersionName(got.Version), got.NegotiatedProtocol, tls.VersionName(tt.want), tt.agree)
			}
		})
	}
	t.Run("what is preferred is agreed on", func(t *testing.T) {
		s, err := b.Server(listen(pair), "h2", "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		for offers, want := range map[string]string{"http/1.1,h2": "h2", "http/1.1": "http/1.1", "h2": "h2", "": ""} {
			client := b.asking()
			if client.NextProtos = nil; offers != "" {
				client.NextProtos = strings.Split(offers, ",")
			}
			if _, got, _, err := shake(t, s.Config(), client); err != nil || got.NegotiatedProtocol != want {
				t.Errorf("a client that offers %q agrees on %q (%v), want %q", offers, got.NegotiatedProtocol, err, want)
			}
		}
	})
	t.Run("a gateway of bytes knows no protocols", func(t *testing.T) {
		s, err := b.Server(listen(pair))
		if err != nil {
			t.Fatal(err)
		}
		client := b.asking()
		client.NextProtos = []string{"smtp"}
		if _, got, _, err := shake(t, s.Config(), client); err != nil || got.NegotiatedProtocol != "" {
			t.Errorf("handshake = %v, agreed on %q", err, got.NegotiatedProtocol)
		}
	})
}

// Of TLS 1.2 only suites are served that authenticate what they encrypt.
func TestSuites(t *testing.T) {
	b := newBed(t)
	s := b.server(listen(b.write("shop", b.ca.Issue(t, "shop.example"))))
	for _, suite := range tls.CipherSuites() {
		if suite.SupportedVersions[0] != tls.VersionTLS10 && !strings.Contains(suite.Name, "CBC") {
			continue
		}
		client := b.asking()
		client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		if _, _, _, err := shake(t, s.Config(), client); err == nil {
			t.Errorf("%s is served", suite.Name)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	b := newBed(t)
	pair := b.write("shop", b.ca.Issue(t, "shop.example"))
	people, strangers := certs.New(t), certs.New(t)
	people.WriteFile(b.dir, "people.crt")
	good := people.With(certs.Client()).Issue(t, "ann")
	bad := strangers.With(certs.Client()).Issue(t, "bob")
	old := people.With(certs.Client(), certs.Expired()).Issue(t, "eve")
	for _, tt := range []struct {
		name     string
		asked    routing.ClientAuth
		shown    *certs.Pair
		ok       bool
		verified bool
		failure  string
	}{
		{"none is asked for", routing.ClientAuthNone, &good, true, false, ""},
		{"it may be missing", routing.ClientAuthOptional, nil, true, false, ""},
		{"it may be shown", routing.ClientAuthOptional, &good, true, true, ""},
		{"what is shown must be good", routing.ClientAuthOptional, &bad, false, false, "client_certificate"},
		{"it must be shown", routing.ClientAuthRequired, nil, false, false, "no_client_certificate"},
		{"it is shown", routing.ClientAuthRequired, &good, true, true, ""},
		{"somebody else vouches for it", routing.ClientAuthRequired, &bad, false, false, "client_certificate"},
		{"it has ended", routing.ClientAuthRequired, &old, false, false, "client_certificate"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tls.VersionName(version)+" "+tt.name, func(t *testing.T) {
				asks := listen(pair)
				asks.ClientAuth = tt.asked
				if tt.asked != routing.ClientAuthNone {
					asks.ClientCA = "people.crt"
				}
				client := b.asking()
				client.MaxVersion = version
				if tt.shown != nil {
					c := tt.shown.TLS()
					// Whoever the server says it trusts: it is shown all the same.
					client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
				}
				state, _, serverErr, err := shake(t, b.server(asks).Config(), client)
				if (err == nil) != tt.ok || (serverErr == nil) != tt.ok {
					t.Fatalf("handshake = %v at the client, %v at the server; want success %v", err, serverErr, tt.ok)
				}
				if got := len(state.VerifiedChains) > 0; got != tt.verified {
					t.Errorf("verified = %v, want %v", got, tt.verified)
				}
				if serverErr != nil && tlsconf.FailureOf(serverErr).String() != tt.failure {
					t.Errorf("FailureOf(%v) = %v, want %s", serverErr, tlsconf.FailureOf(serverErr), tt.failure)
				}
			})
		}
	}
}
