// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options shape Credentials. The zero Options are ready to use.
type Options struct {
	// Clock tells the time; nil means time.Now.
	Clock Clock
	// Every is how often Run looks at the files. Zero means 2 s.
	Every time.Duration
	// Log is told of files that are read anew, or cannot be. Nil means no log.
	Log *slog.Logger
}

// Credentials are the files of one peer: what it shows, and whom it trusts.
// They are in a folder, as Certificate.Save writes them. A folder with ca.crt
// alone is for a client that joins by a token. All methods are safe for
// concurrent use.
type Credentials struct {
	dir     string
	options Options
	held    atomic.Pointer[held] // never nil, never changed

	mu    sync.Mutex // guards what follows: one look at a time
	fault string     // why the last change was not taken over
}

// held is what the files held at one time.
type held struct {
	texts       [3][]byte        // ca.crt, tls.crt, tls.key
	certificate *tls.Certificate // nil if there is none
	authorities *x509.CertPool
	identity    Identity
}

// LoadCredentials reads a folder. The certificate must name an identity, hold
// now, and be vouched for by the authorities in ca.crt.
func LoadCredentials(dir string, o Options) (*Credentials, error) {
	o.Every = cmp.Or(o.Every, 2*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	c := &Credentials{dir: dir, options: o}
	texts, err := c.read()
	if err != nil {
		return nil, err
	}
	h, err := c.understand(texts)
	if err != nil {
		return nil, err
	}
	c.held.Store(h)
	return c, nil
}

// Identity returns whom the present certificate names; the zero Identity if
// there is none.
func (c *Credentials) Identity() Identity {
	id := c.held.Load().identity
	id.Namespaces = slices.Clone(id.Namespaces)
	return id
}

// Run looks at the files until ctx ends.
func (c *Credentials) Run(ctx context.Context) {
	tick := time.NewTicker(c.options.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = c.Look() // it is in the log
		}
	}
}

// Look reads the files and takes over what has changed: handshakes from then on
// use it, connections that are there stay. Files that cannot be used, such as a
// certificate whose key is not written yet, are an error, logged once, and the
// last good ones stay.
func (c *Credentials) Look() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.look()
	switch {
	case err == nil:
		c.fault = ""
	case err.Error() != c.fault:
		c.fault = err.Error()
		c.options.Log.Warn("credentials cannot be used, the last good ones stay", "dir", c.dir, "error", err)
	}
	return err
}

func (c *Credentials) look() error {
	texts, err := c.read()
	if err != nil {
		return err
	}
	if old := c.held.Load(); slices.EqualFunc(old.texts[:], texts[:], bytes.Equal) {
		return nil
	}
	next, err := c.understand(texts)
	if err != nil {
		return err
	}
	if err := c.sameRole(c.held.Load().identity, next.identity); err != nil {
		return err
	}
	c.held.Store(next)
	c.options.Log.Info("credentials read anew", "dir", c.dir, "not_after", next.identity.Expires)
	return nil
}

// sameRole refuses files of another role than those at the start, or of none:
// connections are made and taken by what the first ones were.
func (c *Credentials) sameRole(old, next Identity) error {
	if old.Role != "" && old.Role != next.Role {
		return fmt.Errorf("%s: it was of a %s when the process began, and is not any more; start the process again if that is meant", c.path(CertificateFile), old.Role)
	}
	return nil
}

// path returns where a file is.
func (c *Credentials) path(name string) string { return filepath.Join(c.dir, name) }

// read reads the three files; certificate and key may both be absent.
func (c *Credentials) read() (texts [3][]byte, err error) {
	if texts[0], err = readFile(c.path(AuthorityFile), false); err != nil {
		return texts, err
	}
	certificate, err := readFile(c.path(CertificateFile), false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return texts, err
	}
	key, keyErr := readFile(c.path(KeyFile), true)
	switch {
	case err != nil && errors.Is(keyErr, fs.ErrNotExist):
		return texts, nil
	case cmp.Or(err, keyErr) != nil:
		return texts, cmp.Or(err, keyErr)
	}
	texts[1], texts[2] = certificate, key
	return texts, nil
}

// understand makes what is used of what was read.
func (c *Credentials) understand(texts [3][]byte) (*held, error) {
	members, err := parseCertificates(texts[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path(AuthorityFile), err)
	}
	h := &held{texts: texts, authorities: x509.NewCertPool()}
	for _, m := range members {
		h.authorities.AddCert(m)
	}
	if texts[1] == nil {
		return h, nil
	}
	return h, c.understandPair(h)
}

func (c *Credentials) understandPair(h *held) error {
	chain, err := parseCertificates(h.texts[1])
	if err != nil {
		return fmt.Errorf("%s: %w", c.path(CertificateFile), err)
	}
	pair, err := tls.X509KeyPair(h.texts[1], h.texts[2])
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "does not match"):
		return fmt.Errorf("%s: is not the key of %s", c.path(KeyFile), c.path(CertificateFile))
	default: // nothing of what the file holds is repeated
		return fmt.Errorf("%s: holds no private key that can be used", c.path(KeyFile))
	}
	pair.Leaf = chain[0]
	if h.identity, err = FromCertificate(pair.Leaf); err != nil {
		return fmt.Errorf("%s: %w", c.path(CertificateFile), err)
	}
	if _, err := verify(chain, h.authorities, "", x509.ExtKeyUsageClientAuth, c.options.Clock.now()); err != nil {
		return fmt.Errorf("%s: %w", c.path(CertificateFile), err)
	}
	h.certificate = &pair
	return nil
}

// verify returns the identity of a chain that a peer showed, its own
// certificate first. host is what it was connected to by, empty for a client.
func verify(chain []*x509.Certificate, authorities *x509.CertPool, host string, usage x509.ExtKeyUsage, now time.Time) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, ErrNoCertificate
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: host, Roots: authorities, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return Identity{}, advise(err, host)
	}
	return FromCertificate(chain[0])
}

// advise says what to do about a certificate that does not verify.
func advise(err error, host string) error {
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isHost := errors.AsType[x509.HostnameError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: compare the clocks, or make another with 'sluice pki issue --renew'", err)
	case isInvalid && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("%w: it is not of the role that is needed here", err)
	case isUnknown:
		return fmt.Errorf("%w: both ends need the same %s, or one that holds the authorities of both", err, AuthorityFile)
	case isHost:
		return fmt.Errorf("%w: issue it again with --name %s, or connect by a name that it has", err, host)
	}
	return err
}

// Server returns how a control plane speaks TLS 1.3 to its clients, which may
// agree on protocols by ALPN. A client may show a certificate; one that is not
// vouched for, or names no identity, fails the handshake. Who a client is comes
// from FromConnection, or from Tokens.Identify for those that may have a token.
// What is returned follows the files. It is an error if the folder has no
// certificate of a control plane.
func (c *Credentials) Server(protocols ...string) (*tls.Config, error) {
	if id := c.held.Load().identity; id.Role != RoleControl {
		return nil, fmt.Errorf("%s: is not a certificate of a control plane; make one with 'sluice pki issue --role control'", c.path(CertificateFile))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols, Time: c.options.Clock.now}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		h := c.held.Load()
		return &tls.Config{
			MinVersion:   tls.VersionTLS13,
			NextProtos:   protocols,
			Time:         c.options.Clock.now,
			Certificates: []tls.Certificate{*h.certificate},
			ClientAuth:   tls.VerifyClientCertIfGiven,
			ClientCAs:    h.authorities,
			// A session that is resumed would bring back a client whose authority
			// is trusted no more.
			SessionTicketsDisabled: true,
			VerifyConnection:       acceptClient,
		}, nil
	}
	return config, nil
}

// acceptClient refuses clients with certificates that name nobody.
func acceptClient(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	_, err := FromCertificate(state.PeerCertificates[0])
	return err
}

// Client returns how a peer speaks TLS 1.3 to a control plane that it reaches
// by host, a name or an IP address. The server must be vouched for by the
// authorities, have that name, and be a control plane of all namespaces that
// the peer asks it for, and of all those of its certificate if it has one: who
// has none may not be had by the control plane of somebody else. A peer that
// has no certificate and asks for nothing is spoken to by nobody. What is
// returned follows the files.
func (c *Credentials) Client(host string, namespaces []string, protocols ...string) *tls.Config {
	asked := slices.Clone(namespaces)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		ServerName: host,
		Time:       c.options.Clock.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if h := c.held.Load(); h.certificate != nil {
				return h.certificate, nil
			}
			return &tls.Certificate{}, nil // none
		},
		// The authorities of a tls.Config cannot change, so VerifyConnection does
		// all that is left out here, and more.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return c.acceptServer(host, asked, state.PeerCertificates)
		},
	}
}

func (c *Credentials) acceptServer(host string, asked []string, chain []*x509.Certificate) error {
	if host == "" {
		return errors.New("no host to compare the certificate of the control plane with")
	}
	h := c.held.Load()
	server, err := verify(chain, h.authorities, host, x509.ExtKeyUsageServerAuth, c.options.Clock.now())
	if err != nil {
		return fmt.Errorf("control plane %s: %w", host, err)
	}
	if server.Role != RoleControl {
		return fmt.Errorf("control plane %s: shows the certificate of %s, which is none", host, server)
	}
	wanted := slices.Concat(asked, h.identity.Namespaces)
	if len(wanted) == 0 {
		return fmt.Errorf("control plane %s: nothing is asked of it that its certificate could be compared with; name the namespaces", host)
	}
	for _, ns := range wanted {
		if !server.Serves(ns) {
			return fmt.Errorf("control plane %s: %s is for %s, not for %s", host, server, strings.Join(server.Namespaces, ", "), ns)
		}
	}
	return nil
}

// FromConnection returns who the client of a connection is that was made by
// Credentials.Server, whose handshake has verified it: ErrNoTLS for a nil
// state or one whose handshake is not over, ErrNoCertificate if it showed none.
func FromConnection(state *tls.ConnectionState) (Identity, error) {
	switch {
	case state == nil || !state.HandshakeComplete:
		return Identity{}, ErrNoTLS
	case len(state.PeerCertificates) == 0:
		return Identity{}, ErrNoCertificate
	case len(state.VerifiedChains) == 0:
		return Identity{}, errors.New("the certificate of the client was not verified")
	}
	return FromCertificate(state.PeerCertificates[0])
}
