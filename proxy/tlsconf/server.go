// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"weak"

	"github.com/sluice-mesh/sluice/routing"
)

// Server is how a gateway speaks TLS to its clients. Its methods may be called
// from any goroutine.
type Server struct {
	asks      routing.ListenTLS
	protocols []string  // that clients may agree on
	pairs     []*source // of certificates, in the order of the table
	clients   *source   // who vouches for clients; nil if nobody is asked
	sources   []*source // all of these
	current   atomic.Pointer[tls.Config]
}

// Server returns what a gateway speaks TLS with that asks for this. protocols
// are what clients may agree on by ALPN (RFC 7301), what is preferred first; none
// means that they are not asked. Files that cannot be used are an error that names them: whoever asks
// again later finds what has become of them. What is returned follows its
// files for as long as it is held.
func (s *Store) Server(asks *routing.ListenTLS, protocols ...string) (*Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := &Server{asks: *asks, protocols: protocols}
	for _, pair := range asks.Certificates {
		srv.pairs = append(srv.pairs, s.source(pair))
	}
	srv.sources = srv.pairs
	if asks.ClientCA != "" {
		srv.clients = s.source(routing.KeyPair{Certificate: asks.ClientCA})
		srv.sources = slices.Concat(srv.pairs, []*source{srv.clients})
	}
	if err := unusable(srv.sources); err != nil {
		return nil, err
	}
	s.tickets.begin()
	srv.refresh(&s.tickets)
	s.servers = append(s.servers, weak.Make(srv))
	return srv, nil
}

// unusable returns why the sources cannot be used, nil if all can.
func unusable(sources []*source) (all error) {
	for _, src := range sources {
		switch {
		case src.serial > 0:
		case all == nil:
			all = src.err
		default:
			all = fmt.Errorf("%w; %w", all, src.err)
		}
	}
	return all
}

// Config returns what handshakes begin with at present. It may be used for as
// long as one likes: handshakes that begin with it use what is present then.
// It is not to be changed.
func (s *Server) Config() *tls.Config { return s.current.Load() }

// suites are those of TLS 1.2 that are served: with ephemeral keys, and
// ciphers that authenticate what they encrypt (RFC 9325 section 4.2). Those of
// TLS 1.3 all are such.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// refresh makes a configuration of what the sources hold. The store is locked.
func (s *Server) refresh(tickets *keyring) {
	c := recordsAsLarge(&tls.Config{
		MinVersion:   s.asks.MinVersion,
		CipherSuites: suites,
		ClientAuth:   clientAuth(s.asks.ClientAuth),
		NextProtos:   s.protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current.Load(), nil
		},
	})
	if s.clients != nil {
		c.ClientCAs = s.clients.authorities
	}
	c.GetCertificate = newChoice(s.pairs).choose
	c.SetSessionTicketKeys(tickets.of(s.label()))
	s.current.Store(c)
}

func clientAuth(a routing.ClientAuth) tls.ClientAuthType {
	switch a {
	case routing.ClientAuthOptional:
		return tls.VerifyClientCertIfGiven
	case routing.ClientAuthRequired:
		return tls.RequireAndVerifyClientCert
	default:
		return tls.NoClientCert
	}
}

// label is what tickets are bound to: one is of no use at a gateway that has
// other certificates or asks for other things of its clients, or once others
// vouch for them. New contents of the certificates leave them as they are.
func (s *Server) label() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %t\n", s.asks.Certificates, s.asks.ClientAuth, s.asks.MinVersion, len(s.protocols) > 0)
	if s.clients != nil {
		h.Write(s.clients.sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// choice chooses the certificate for a client by the name that it asks for:
// the whole name, then a pattern for it (RFC 9525 section 6.3), then the first
// certificate. Of several for one name the first counts that the client can
// make use of. It is not changed once it is made.
type choice struct {
	first    *tls.Certificate
	exact    map[string][]*tls.Certificate
	patterns map[string][]*tls.Certificate // by what follows the star
}

func newChoice(pairs []*source) *choice {
	c := &choice{
		first:    pairs[0].certificate,
		exact:    make(map[string][]*tls.Certificate),
		patterns: make(map[string][]*tls.Certificate),
	}
	for _, p := range pairs {
		for _, name := range namesOf(p.certificate.Leaf) {
			m, key := c.exact, strings.ToLower(name)
			if suffix, ok := strings.CutPrefix(key, "*"); ok {
				m, key = c.patterns, suffix
			}
			m[key] = append(m[key], p.certificate)
		}
	}
	return c
}

// choose implements tls.Config.GetCertificate.
func (c *choice) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	list := c.exact[name]
	if len(list) == 0 {
		if at := strings.IndexByte(name, '.'); at > 0 {
			list = c.patterns[name[at:]]
		}
	}
	switch len(list) {
	case 0:
		return c.first, nil
	case 1:
		return list[0], nil
	}
	for _, certificate := range list {
		if hello.SupportsCertificate(certificate) == nil {
			return certificate, nil
		}
	}
	return list[0], nil
}
