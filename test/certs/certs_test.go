// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"testing"

	"github.com/sluice-mesh/sluice/test/certs"
)

func TestIssue(t *testing.T) {
	ca, other := certs.New(t), certs.New(t)
	id := &url.URL{Scheme: "spiffe", Host: "mesh.example", Path: "/shop"}
	for _, tt := range []struct {
		name    string
		names   []string
		options []certs.Option
		pool    *x509.CertPool
		host    string
		usage   x509.ExtKeyUsage
		ok      bool
	}{
		{"a host name", []string{"shop.example"}, nil, ca.Pool(), "shop.example", x509.ExtKeyUsageServerAuth, true},
		{"a pattern", []string{"*.example"}, nil, ca.Pool(), "shop.example", x509.ExtKeyUsageServerAuth, true},
		{"an address", []string{"127.0.0.1"}, nil, ca.Pool(), "127.0.0.1", x509.ExtKeyUsageServerAuth, true},
		{"another name", []string{"shop.example"}, nil, ca.Pool(), "cart.example", x509.ExtKeyUsageServerAuth, false},
		{"another authority", []string{"shop.example"}, nil, other.Pool(), "shop.example", x509.ExtKeyUsageServerAuth, false},
		{"a time that is over", []string{"shop.example"}, []certs.Option{certs.Expired()}, ca.Pool(), "shop.example", x509.ExtKeyUsageServerAuth, false},
		{"a client's alone", []string{"me"}, []certs.Option{certs.Client()}, ca.Pool(), "", x509.ExtKeyUsageServerAuth, false},
		{"a client's", nil, []certs.Option{certs.Client(), certs.URIs(id), certs.Emails("me@example.org")}, ca.Pool(), "", x509.ExtKeyUsageClientAuth, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := ca.With(tt.options...).Issue(t, tt.names...)
			_, err := p.Leaf.Verify(x509.VerifyOptions{DNSName: tt.host, Roots: tt.pool, KeyUsages: []x509.ExtKeyUsage{tt.usage}})
			if (err == nil) != tt.ok {
				t.Errorf("Verify() = %v, want success %v", err, tt.ok)
			}
		})
	}
}

func TestFilesMakeAPair(t *testing.T) {
	ca := certs.New(t)
	dir := t.TempDir()
	certificate, key := ca.Issue(t, "shop.example").WriteFiles(dir, "tls/shop")
	if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
		t.Error(err)
	}
	authority, err := os.ReadFile(ca.WriteFile(dir, "ca.crt"))
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(authority) {
		t.Errorf("the authority's file cannot be read: %v", err)
	}
}
