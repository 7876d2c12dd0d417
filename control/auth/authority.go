// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The names of files: of an authority in its folder, and of one peer in its.
const (
	AuthorityFile    = "ca.crt"
	AuthorityKeyFile = "ca.key"
	CertificateFile  = "tls.crt"
	KeyFile          = "tls.key"
)

// Clock tells the time. Nil means time.Now.
type Clock func() time.Time

func (c Clock) now() time.Time {
	if c == nil {
		return time.Now()
	}
	return c()
}

const (
	// skew is by how much clocks of peers may differ: certificates hold since
	// so long before they were made.
	skew = 5 * time.Minute
	// MaxLifetime bounds certificates and tokens; an authority may live ten
	// times as long.
	MaxLifetime = 366 * 24 * time.Hour
)

// Authority vouches for peers: a certificate and its key, ECDSA on P-256. It is
// safe for concurrent use.
type Authority struct {
	clock       Clock
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Certificate is a certificate and its key, both in PEM.
type Certificate struct {
	Certificate []byte
	// Key is a secret: PKCS #8, not encrypted.
	Key []byte
}

// NewAuthority makes an authority that holds for a lifetime, more than 0 and at
// most ten times MaxLifetime.
func NewAuthority(lifetime time.Duration, clock Clock) (*Authority, error) {
	if lifetime <= 0 || lifetime > 10*MaxLifetime {
		return nil, fmt.Errorf("lifetime of the authority: %v is not above 0 and at most %d days", lifetime, 10*MaxLifetime/(24*time.Hour))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := clock.now().UTC()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Sluice CA %08x", serial.Uint64()&0xffffffff)},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it vouches for peers, and not for other authorities
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{clock, certificate, key}, nil
}

// newSerial returns 127 random bits (RFC 5280 section 4.1.2.2: positive, at
// most 20 octets), never 0.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

// LoadAuthority reads the authority in a folder.
func LoadAuthority(dir string, clock Clock) (*Authority, error) {
	path := filepath.Join(dir, AuthorityFile)
	text, err := readFile(path, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no authority; make one with 'sluice pki init --dir %s'", path, dir)
	}
	if err != nil {
		return nil, err
	}
	keyPath := filepath.Join(dir, AuthorityKeyFile)
	keyText, err := readFile(keyPath, true)
	if err != nil {
		return nil, err
	}
	return parseAuthority(path, text, keyPath, keyText, clock)
}

// ParseAuthority reads an authority as Save writes it: its certificate, which
// comes first if there are several, and its key.
func ParseAuthority(certificate, key []byte, clock Clock) (*Authority, error) {
	return parseAuthority(AuthorityFile, certificate, AuthorityKeyFile, key, clock)
}

func parseAuthority(path string, text []byte, keyPath string, keyText []byte, clock Clock) (*Authority, error) {
	list, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	a := &Authority{clock, list[0], key}
	if !key.PublicKey.Equal(a.certificate.PublicKey) {
		return nil, fmt.Errorf("%s: is not the key of %s", keyPath, path)
	}
	return a, a.check(path)
}

func (a *Authority) check(path string) error {
	switch now := a.clock.now(); {
	case !a.certificate.IsCA || a.certificate.CheckSignatureFrom(a.certificate) != nil:
		return fmt.Errorf("%s: is not the certificate of an authority", path)
	case now.After(a.certificate.NotAfter):
		return fmt.Errorf("%s: has expired at %s; make another with 'sluice pki init' in a new folder, and let peers trust both until all have new certificates", path, a.certificate.NotAfter.Format(time.RFC3339))
	case now.Before(a.certificate.NotBefore):
		return fmt.Errorf("%s: holds from %s, which is yet to come: set the clock", path, a.certificate.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// PEM returns the certificate of the authority, which is no secret.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Expires returns when the authority ends.
func (a *Authority) Expires() time.Time { return a.certificate.NotAfter }

// Since returns when the authority was made.
func (a *Authority) Since() time.Time { return a.certificate.NotBefore.Add(skew) }

// Save writes the authority to a folder, which is made if it is not there, with
// mode 0700; the key has mode 0600. It returns ErrExists, and changes nothing,
// if there is one.
func (a *Authority) Save(dir string) error {
	key, err := a.KeyPEM()
	if err != nil {
		return err
	}
	return writeNew(dir, []file{{AuthorityKeyFile, key, 0o600}, {AuthorityFile, a.PEM(), 0o644}})
}

// KeyPEM returns the key of the authority, on which all rests: PKCS #8, not
// encrypted.
func (a *Authority) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Request asks for a certificate.
type Request struct {
	Identity Identity // role, node and namespaces
	// Names are the host names and IP addresses under which a control plane is
	// reached, at least one; a proxy has none.
	Names []string
	// Lifetime is more than 0 and at most MaxLifetime. The certificate never
	// outlives its authority.
	Lifetime time.Duration
}

// Check returns all that is wrong with a request, joined.
func (r Request) Check() error {
	faults := []error{r.Identity.Check()}
	if r.Lifetime <= 0 || r.Lifetime > MaxLifetime {
		faults = append(faults, fmt.Errorf("lifetime: %v is not above 0 and at most %d days", r.Lifetime, MaxLifetime/(24*time.Hour)))
	}
	switch {
	case r.Identity.Role == RoleControl && len(r.Names) == 0:
		faults = append(faults, errors.New("names: a control plane needs the names and addresses under which proxies reach it"))
	case r.Identity.Role == RoleProxy && len(r.Names) > 0:
		faults = append(faults, errors.New("names: a proxy has none, since nobody connects to it by this certificate"))
	case len(r.Names) > MaxNamespaces:
		faults = append(faults, fmt.Errorf("names: there are %d, more than %d", len(r.Names), MaxNamespaces))
	}
	for _, name := range r.Names {
		if net.ParseIP(name) == nil && !isHost(name) {
			faults = append(faults, fmt.Errorf("names: %.140q is neither a host name nor an IP address", name))
		}
	}
	return errors.Join(faults...)
}

// isHost reports whether s is a host name: labels of letters, digits and
// hyphens (RFC 1123 section 2.1). Wildcards are none: a control plane has names.
func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(strings.ToLower(label)) || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// Issue makes a key and a certificate for it. Control planes may use theirs as
// servers and clients, proxies as clients alone.
func (a *Authority) Issue(r Request) (Certificate, error) {
	if err := r.Check(); err != nil {
		return Certificate{}, err
	}
	now := a.clock.now().UTC()
	if !now.Before(a.certificate.NotAfter) {
		return Certificate{}, fmt.Errorf("the authority has expired at %s", a.certificate.NotAfter.Format(time.RFC3339))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, err
	}
	serial, err := newSerial()
	if err != nil {
		return Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName(r.Identity.Node)},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(r.Lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usages(r.Identity.Role),
		BasicConstraintsValid: true,
		URIs:                  r.Identity.URIs(),
	}
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	for _, name := range r.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(template, a, key)
}

// commonName cuts a name to what a subject can hold (RFC 5280 appendix A.1).
// Nobody reads it but people.
func commonName(node string) string { return node[:min(len(node), 64)] }

func usages(r Role) []x509.ExtKeyUsage {
	if r == RoleControl {
		return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}

func sign(template *x509.Certificate, a *Authority, key *ecdsa.PrivateKey) (Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Certificate{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}

// Save writes a certificate, its key with mode 0600, and the authority's
// certificate to a folder, as LoadCredentials reads them. It returns ErrExists,
// and changes nothing, if one of them is there, unless replace: then each is
// replaced at once, the key first, and whoever watches the folder takes them
// once they fit. Renew keeps what the folder trusts.
func (c Certificate) Save(dir string, authority []byte, replace bool) error {
	files := []file{{KeyFile, c.Key, 0o600}, {CertificateFile, c.Certificate, 0o644}, {AuthorityFile, authority, 0o644}}
	if replace {
		return writeOver(dir, files)
	}
	return writeNew(dir, files)
}

// Renew writes a certificate, its key and the authority's certificate in the
// place of those in a folder, each at once, with the owner, group and mode that
// they had. The authorities that the folder trusts stay, before the authority's
// own, which is added unless it is among them: while an authority is replaced,
// whoever uses the folder trusts the old one and the new one. What is not there
// is made as by Save. A file whose owner cannot be kept or that is no regular
// one, and a ca.crt that cannot be read, are an error, and nothing is replaced.
func (c Certificate) Renew(dir string, authority []byte) error {
	trusted, err := trusting(filepath.Join(dir, AuthorityFile), authority)
	if err != nil {
		return err
	}
	// What is trusted comes first: then the certificate is vouched for, whatever
	// keeps the rest from being put in its place.
	return writeOver(dir, []file{{AuthorityFile, trusted, 0o644}, {KeyFile, c.Key, 0o600}, {CertificateFile, c.Certificate, 0o644}})
}

// trusting returns the authorities in a file, which need not be there, and one
// more.
func trusting(path string, authority []byte) ([]byte, error) {
	text, err := readFile(path, false)
	if errors.Is(err, os.ErrNotExist) {
		return authority, nil
	}
	if err != nil {
		return nil, err
	}
	there, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: what it trusted would be lost; mend it, or remove it", path, err)
	}
	own, err := parseCertificates(authority)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(there, own[0].Equal) {
		return text, nil
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	if text = append(text, authority...); len(text) > maxFile {
		return nil, fmt.Errorf("%s: has no room for one more authority; take out those that are not needed any more", path)
	}
	return text, nil
}

// Expires returns when the certificate ends; zero if it is none.
func (c Certificate) Expires() time.Time {
	list, err := parseCertificates(c.Certificate)
	if err != nil {
		return time.Time{}
	}
	return list[0].NotAfter
}
