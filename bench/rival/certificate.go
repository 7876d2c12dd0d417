// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// serverName is the name in the certificate, and that which clients ask for.
const serverName = "bench.example"

// writeCertificate writes a new certificate and its key into a directory:
// tls.crt, tls.key, and tls.pem for those who want both in one file. It
// returns what clients connect with.
func writeCertificate(dir string) (*tls.Config, error) {
	der, key, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for name, content := range map[string][]byte{
		"tls.crt": certificate, "tls.key": secret, "tls.pem": bytes.Join([][]byte{certificate, secret}, nil),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{
		ServerName: serverName, RootCAs: roots, MinVersion: tls.VersionTLS13,
		// That on which all of those measured agree: no OpenSSL before 3.5 knows
		// the newer, dearer one, and who does not know it should not win by that.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}, nil
}

// newCertificate returns a certificate that vouches for itself, and its key
// in PKCS #8.
func newCertificate() (certificate, key []byte, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: serverName},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{serverName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err = x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(secret)
	return certificate, key, err
}
