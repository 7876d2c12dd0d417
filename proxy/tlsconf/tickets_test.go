// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"crypto/tls"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// versions are those that tests run over.
var versions = [...]uint16{tls.VersionTLS12, tls.VersionTLS13}

func resumes(t *testing.T, s *tlsconf.Server, client *tls.Config) bool {
	t.Helper()
	_, got, _, err := shake(t, s.Config(), client)
	if err != nil {
		t.Fatalf("handshake = %v", err)
	}
	return got.DidResume
}

func TestResumption(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bed, s **tlsconf.Server)
		want   bool
	}{
		{"nothing has happened", func(*bed, **tlsconf.Server) {}, true},
		{"at another listener", func(b *bed, s **tlsconf.Server) {
			*s = b.server(listen(routing.KeyPair{Certificate: "shop.crt", Key: "shop.key"}))
		}, true},
		{"after a reload", func(b *bed, _ **tlsconf.Server) {
			b.write("shop", b.ca.Issue(b.t, "shop.example"))
			b.Look(b.t.Context())
		}, true},
		{"after a rotation", func(b *bed, _ **tlsconf.Server) { b.Rotate() }, true},
		{"after two", func(b *bed, _ **tlsconf.Server) { b.Rotate(); b.Rotate() }, true},
		{"not once its key is forgotten", func(b *bed, _ **tlsconf.Server) { b.Rotate(); b.Rotate(); b.Rotate() }, false},
		{"not at a gateway of other certificates", func(b *bed, s **tlsconf.Server) {
			*s = b.server(listen(b.write("other", b.ca.Issue(b.t, "shop.example"))))
		}, false},
		{"not in another process", func(b *bed, s **tlsconf.Server) {
			b.Store = tlsconf.New(tlsconf.Options{Dir: b.dir})
			*s = b.server(listen(routing.KeyPair{Certificate: "shop.crt", Key: "shop.key"}))
		}, false},
	} {
		for _, version := range versions {
			t.Run(tls.VersionName(version), func(t *testing.T) {
				t.Run(tt.name, func(t *testing.T) {
					b := newBed(t)
					s := b.server(listen(b.write("shop", b.ca.Issue(t, "shop.example"))))
					client := b.asking()
					client.MaxVersion, client.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
					if resumes(t, s, client) {
						t.Fatal("the first handshake continued another one")
					}
					tt.change(b, &s)
					if got := resumes(t, s, client); got != tt.want {
						t.Errorf("resumed = %v, want %v", got, tt.want)
					}
				})
			})
		}
	}
}

// A ticket of one gateway opens no other one that asks for other things of its
// clients: neither gets a client in who could not get in by a new handshake.
func TestTicketsOpenOnlyTheirOwnDoor(t *testing.T) {
	type door struct {
		auth routing.ClientAuth
		ca   string
	}
	for _, tt := range []struct {
		name     string
		from, to door
	}{
		{"from none to required", door{routing.ClientAuthNone, ""}, door{routing.ClientAuthRequired, "staff.crt"}},
		{"from optional to required", door{routing.ClientAuthOptional, "people.crt"}, door{routing.ClientAuthRequired, "people.crt"}},
		{"from some who vouch to others", door{routing.ClientAuthRequired, "people.crt"}, door{routing.ClientAuthRequired, "staff.crt"}},
		{"from required to none", door{routing.ClientAuthRequired, "people.crt"}, door{routing.ClientAuthNone, ""}},
	} {
		for _, version := range versions {
			t.Run(tls.VersionName(version), func(t *testing.T) {
				t.Run(tt.name, func(t *testing.T) {
					b := newBed(t)
					people := certs.New(t)
					people.WriteFile(b.dir, "people.crt")
					certs.New(t).WriteFile(b.dir, "staff.crt")
					pair := b.write("shop", b.ca.Issue(t, "shop.example"))
					at := func(d door) *tlsconf.Server {
						asks := listen(pair)
						asks.ClientAuth, asks.ClientCA = d.auth, d.ca
						return b.server(asks)
					}
					client := b.asking()
					client.MaxVersion, client.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
					ann := people.With(certs.Client()).Issue(t, "ann").TLS()
					client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &ann, nil }
					from := at(tt.from)
					_, _ = resumes(t, from, client), resumes(t, from, client)
					if !resumes(t, from, client) {
						t.Fatal("its own door does not open by a ticket")
					}
					state, _, err, _ := shake(t, at(tt.to).Config(), client)
					allowed := tt.to.auth == routing.ClientAuthNone || tt.to.ca == "people.crt"
					if state.DidResume || (err == nil) != allowed {
						t.Errorf("resumed = %v, handshake = %v; want a new one, which succeeds: %v", state.DidResume, err, allowed)
					}
				})
			})
		}
	}
}

// Once others vouch for clients, tickets of those who were let in before do not
// let them in.
func TestTicketsEndWithWhoVouched(t *testing.T) {
	for _, version := range versions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			b := newBed(t)
			people := certs.New(t)
			people.WriteFile(b.dir, "people.crt")
			asks := listen(b.write("shop", b.ca.Issue(t, "shop.example")))
			asks.ClientAuth, asks.ClientCA = routing.ClientAuthRequired, "people.crt"
			s := b.server(asks)
			client := b.asking()
			client.MaxVersion, client.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
			client.Certificates = []tls.Certificate{people.With(certs.Client()).Issue(t, "ann").TLS()}
			if _ = resumes(t, s, client); !resumes(t, s, client) {
				t.Fatal("no ticket was given")
			}
			certs.New(t).WriteFile(b.dir, "people.crt")
			b.Look(t.Context())
			if _, _, err, _ := shake(t, s.Config(), client); err == nil {
				t.Error("a client got in for whom nobody vouches any more")
			}
		})
	}
}
