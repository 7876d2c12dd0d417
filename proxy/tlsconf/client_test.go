// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// trusting returns what a route asks for that trusts the authorities in ca.crt.
func trusting() routing.DialTLS { return routing.DialTLS{CA: "ca.crt"} }

func TestClient(t *testing.T) {
	b := newBed(t)
	b.ca.WriteFile(b.dir, "ca.crt")
	certs.New(t).WriteFile(b.dir, "strangers.crt")
	me := b.write("me", b.ca.With(certs.Client()).Issue(t, "me"))
	instance := &tls.Config{Certificates: []tls.Certificate{b.ca.Issue(t, "shop.internal", "127.0.0.1").TLS()}}
	demanding := instance.Clone()
	demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, b.ca.Pool()
	ancient := instance.Clone()
	ancient.MaxVersion = tls.VersionTLS12
	for _, tt := range []struct {
		name   string
		asks   routing.DialTLS
		host   string
		server *tls.Config
		want   func(error) bool // nil: it succeeds
	}{
		{"who it must be is who it is", trusting(), "shop.internal", instance, nil},
		{"an address", trusting(), "127.0.0.1", instance, nil},
		{"a name instead of the host", routing.DialTLS{CA: "ca.crt", Name: "shop.internal"}, "10.0.0.5", instance, nil},
		{"it is somebody else", trusting(), "cart.internal", instance, is[x509.HostnameError]},
		{"nobody vouches for it", routing.DialTLS{CA: "strangers.crt"}, "shop.internal", instance, is[x509.UnknownAuthorityError]},
		{"nobody whom the system knows", routing.DialTLS{}, "shop.internal", instance, is[*tls.CertificateVerificationError]},
		{"whoever it is", routing.DialTLS{SkipVerify: true}, "cart.internal", instance, nil},
		{"it asks for a certificate", routing.DialTLS{CA: "ca.crt", KeyPair: me}, "shop.internal", demanding, nil},
		{"it asks for one and there is none", trusting(), "shop.internal", demanding, func(err error) bool {
			return strings.Contains(err.Error(), "certificate required")
		}},
		{"its TLS is too old", routing.DialTLS{CA: "ca.crt", MinVersion: tls.VersionTLS13}, "shop.internal", ancient, func(err error) bool {
			return strings.Contains(err.Error(), "protocol version")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := b.Client(&tt.asks, tt.host)
			if err != nil {
				t.Fatal(err)
			}
			_, _, _, err = shake(t, tt.server, c.Config())
			if (err == nil) != (tt.want == nil) || err != nil && !tt.want(err) {
				t.Errorf("handshake = %v, want success %v", err, tt.want == nil)
			}
		})
	}
}

// is reports whether an error is of a type.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestClientIsOneForAll(t *testing.T) {
	b := newBed(t)
	b.ca.WriteFile(b.dir, "ca.crt")
	asks := trusting()
	client := func(asks routing.DialTLS, host string) *tlsconf.Client {
		t.Helper()
		c, err := b.Client(&asks, host)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := client(asks, "shop.internal")
	if client(asks, "shop.internal") != c {
		t.Error("what is asked for twice is made twice")
	}
	if client(asks, "cart.internal") == c || client(routing.DialTLS{CA: "ca.crt", SkipVerify: true}, "shop.internal") == c {
		t.Error("another name, or another demand, gets the same")
	}
	again := asks
	if n := testing.AllocsPerRun(100, func() { _ = client(again, "shop.internal").Config() }); n > 1 {
		t.Errorf("%v allocations to ask for what is known, want 1 at most", n)
	}
}

func TestClientRemembersSessions(t *testing.T) {
	for _, version := range versions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			b := newBed(t)
			b.ca.WriteFile(b.dir, "ca.crt")
			asks := trusting()
			c, err := b.Client(&asks, "shop.internal")
			if err != nil {
				t.Fatal(err)
			}
			instance := &tls.Config{Certificates: []tls.Certificate{b.ca.Issue(t, "shop.internal").TLS()}, MaxVersion: version}
			for i, want := range []bool{false, true, true} {
				_, got, _, err := shake(t, instance, c.Config())
				if err != nil || got.DidResume != want {
					t.Errorf("handshake %d: resumed = %v, %v; want %v", i, got.DidResume, err, want)
				}
			}
		})
	}
}

func TestClientReload(t *testing.T) {
	b := newBed(t)
	strangers := certs.New(t)
	strangers.WriteFile(b.dir, "ca.crt")
	me := b.write("me", strangers.With(certs.Client()).Issue(t, "me"))
	instance := &tls.Config{
		Certificates: []tls.Certificate{b.ca.Issue(t, "shop.internal").TLS()},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: b.ca.Pool(),
	}
	c, err := b.Client(&routing.DialTLS{CA: "ca.crt", KeyPair: me}, "shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	was := c.Config()
	b.Look(t.Context())
	if c.Config() != was {
		t.Error("the configuration changes though nothing has")
	}
	b.write("me", b.ca.With(certs.Client()).Issue(t, "me"))
	b.Look(t.Context())
	if _, _, _, err := shake(t, instance, c.Config()); !is[x509.UnknownAuthorityError](err) {
		t.Errorf("handshake = %v, want that nobody vouches yet", err)
	}
	b.ca.WriteFile(b.dir, "ca.crt")
	b.Look(t.Context())
	if c.Config() == was {
		t.Error("the configuration is the one from before the change")
	}
	if _, _, _, err := shake(t, instance, c.Config()); err != nil {
		t.Errorf("handshake = %v with the new files", err)
	}
	b.put("ca.crt", nil) // of no use: the last good one stays
	b.Look(t.Context())
	if _, _, _, err := shake(t, instance, c.Config()); err != nil {
		t.Errorf("handshake = %v with the last good files", err)
	}
}

func TestClientWithoutFiles(t *testing.T) {
	b := newBed(t)
	asks := routing.DialTLS{CA: "ca.crt", KeyPair: routing.KeyPair{Certificate: "me.crt", Key: "me.key"}}
	const want = "ca.crt: no such file or directory; me.crt: no such file or directory"
	for range 2 {
		if c, err := b.Client(&asks, "shop.internal"); c != nil || err == nil || err.Error() != want {
			t.Fatalf("Client() = %v, %v; want %q", c, err, want)
		}
		b.Look(t.Context())
	}
	b.ca.WriteFile(b.dir, "ca.crt")
	b.write("me", b.ca.Issue(t, "me"))
	b.Look(t.Context())
	if _, err := b.Client(&asks, "shop.internal"); err != nil {
		t.Errorf("Client() = %v once the files are there", err)
	}
}
