// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

// life is how long certificates are valid.
const life = 48 * time.Hour

// writeKeys writes to dir a certificate authority (ca.crt), the server's
// certificate for addresses (server.crt, server.key) and the pair of keys that
// signs tokens of service accounts (accounts.key, accounts.pub).
func writeKeys(dir string, addresses ...net.IP) error {
	authority, server, accounts, err := threeKeys()
	if err != nil {
		return err
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bed"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses, DNSNames: []string{"localhost", "kubernetes.default.svc"},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, authority.Public(), authority)
	if err != nil {
		return err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, server.Public(), authority)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(accounts.Public())
	if err != nil {
		return err
	}
	serverDER, err := x509.MarshalECPrivateKey(server)
	if err != nil {
		return err
	}
	accountsDER, err := x509.MarshalECPrivateKey(accounts)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{
		{"ca.crt", "CERTIFICATE", caDER},
		{"server.crt", "CERTIFICATE", leafDER},
		{"server.key", "EC PRIVATE KEY", serverDER},
		{"accounts.key", "EC PRIVATE KEY", accountsDER},
		{"accounts.pub", "PUBLIC KEY", public},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(filepath.Join(dir, f.name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// threeKeys makes the keys of the authority, the server and the accounts.
func threeKeys() (authority, server, accounts *ecdsa.PrivateKey, err error) {
	for _, key := range []**ecdsa.PrivateKey{&authority, &server, &accounts} {
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, nil, err
		}
	}
	return authority, server, accounts, nil
}

// writeAdmin writes to dir what the server knows of the one who may do
// everything (tokens.csv), and how clients are him (kubeconfig).
func writeAdmin(dir, server string) error {
	token := rand.Text()
	known := fmt.Appendf(nil, "%s,admin,admin,\"system:masters\"\n", token)
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), known, 0o600); err != nil {
		return err
	}
	config := fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: bed
  cluster: {server: %q, certificate-authority: %q}
users:
- name: admin
  user: {token: %q}
contexts:
- name: bed
  context: {cluster: bed, user: admin}
current-context: bed
`, server, filepath.Join(dir, "ca.crt"), token)
	return os.WriteFile(filepath.Join(dir, "kubeconfig"), config, 0o600)
}
