// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// CA is an authority that tests trust.
type CA struct {
	// PEM is the authority's own certificate.
	PEM []byte

	tb      testing.TB
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	options []Option
}

// Pair is a certificate and its key.
type Pair struct {
	// Certificate and Key are in PEM, the key in PKCS #8.
	Certificate, Key []byte
	// Leaf is the certificate.
	Leaf *x509.Certificate

	tb testing.TB
}

// Option changes what is issued.
type Option func(*x509.Certificate)

// Valid sets the bounds of the time in which the certificate holds. Otherwise
// it began to hold an hour ago and does so for a day.
func Valid(from, to time.Time) Option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// Expired makes the certificate one that ended an hour ago.
func Expired() Option {
	return Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour))
}

// Client makes the certificate one for clients only. Otherwise it is for
// servers and clients.
func Client() Option {
	return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
}

// Server makes the certificate one for servers only.
func Server() Option {
	return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
}

// Subject sets the subject. Otherwise it is the first name as common name.
func Subject(name pkix.Name) Option {
	return func(c *x509.Certificate) { c.Subject = name }
}

// RawSubject sets the subject as encoded (RFC 5280 section 4.1.2.6), with
// attributes that pkix.Name has no field for.
func RawSubject(subject pkix.RDNSequence) Option {
	return func(c *x509.Certificate) {
		raw, err := asn1.Marshal(subject)
		if err != nil {
			panic(err) // a fault of the test that gave it
		}
		c.RawSubject = raw
	}
}

// Emails adds email addresses to the alternative names.
func Emails(addresses ...string) Option {
	return func(c *x509.Certificate) { c.EmailAddresses = append(c.EmailAddresses, addresses...) }
}

// URIs adds URIs to the alternative names.
func URIs(uris ...*url.URL) Option {
	return func(c *x509.Certificate) { c.URIs = append(c.URIs, uris...) }
}

// New returns a new authority, unknown to any other.
func New(tb testing.TB) *CA {
	tb.Helper()
	ca := &CA{tb: tb, key: newKey(tb)}
	c := template("Test authority")
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	ca.cert, ca.PEM = sign(tb, c, c, &ca.key.PublicKey, ca.key)
	return ca
}

// With returns the same authority, which issues what the options say.
func (ca *CA) With(options ...Option) *CA {
	changed := *ca
	changed.options = append(slices.Clip(ca.options), options...)
	return &changed
}

// Issue issues a certificate for names: host names, patterns such as
// *.example, and IP addresses. The first one is the common name.
func (ca *CA) Issue(tb testing.TB, names ...string) Pair {
	tb.Helper()
	common := ""
	if len(names) > 0 {
		common = names[0]
	}
	c := template(common)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	for _, o := range ca.options {
		o(c)
	}
	key := newKey(tb)
	p := Pair{tb: tb}
	p.Leaf, p.Certificate = sign(tb, c, ca.cert, &key.PublicKey, ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	p.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return p
}

// Pool returns a pool that holds the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// WriteFile writes the authority's certificate to the file of that name in
// dir, which is made if need be, and returns its path.
func (ca *CA) WriteFile(dir, name string) string {
	ca.tb.Helper()
	return write(ca.tb, dir, name, ca.PEM)
}

// WriteFiles writes base.crt and base.key to dir, which is made if need be,
// and returns their paths.
func (p Pair) WriteFiles(dir, base string) (certificate, key string) {
	p.tb.Helper()
	return write(p.tb, dir, base+".crt", p.Certificate), write(p.tb, dir, base+".key", p.Key)
}

// TLS returns the pair as crypto/tls wants it.
func (p Pair) TLS() tls.Certificate {
	p.tb.Helper()
	c, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		p.tb.Fatal(err)
	}
	return c
}

func template(common string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: common},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(24 * time.Hour),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// sign makes a certificate of what c asks for, with a serial number of its
// own.
func sign(tb testing.TB, c, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	c.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func write(tb testing.TB, dir, name string, content []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
