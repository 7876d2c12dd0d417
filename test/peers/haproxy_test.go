// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"bufio"
	"bytes"
	"context"
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
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// haproxy is a running HAProxy that evaluates conditions for each request.
type haproxy struct {
	conditions  int
	plain, tls  net.Addr
	certificate *x509.Certificate
	log         *bytes.Buffer
}

// startHAProxy starts HAProxy with conditions as they stand after "if" in its
// configuration, and stops it when the test ends. The listeners are handed
// over open, so that nobody has to wait for them.
func startHAProxy(t *testing.T, conditions []string) *haproxy {
	t.Helper()
	h := &haproxy{conditions: len(conditions), log: new(bytes.Buffer)}
	dir := t.TempDir()
	h.certificate = writeCertificate(t, filepath.Join(dir, "cert.pem"))
	config := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(configure(conditions, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "haproxy", "-db", "-f", config)
	cmd.Stdout, cmd.Stderr = h.log, h.log
	plain, plainFile := listen(t)
	encrypted, encryptedFile := listen(t)
	h.plain, h.tls = plain, encrypted
	cmd.ExtraFiles = []*os.File{plainFile, encryptedFile} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatalf("start haproxy: %v", err)
	}
	plainFile.Close()
	encryptedFile.Close()
	t.Cleanup(func() {
		cancel()
		err := cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy ended: %v\n%s", err, h.log)
		}
	})
	return h
}

func listen(t *testing.T) (net.Addr, *os.File) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr(), f
}

// configure returns a configuration that answers every request with one digit
// for each condition.
func configure(conditions []string, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
	maxconn 100
defaults
	mode http
	timeout client 20s
	timeout connect 5s
	timeout server 5s
	option accept-invalid-http-request
frontend acls
	bind fd@3
	bind fd@4 ssl crt %s alpn http/1.1
`, filepath.Join(dir, "cert.pem"))
	for _, c := range conditions {
		fmt.Fprintf(&b, "\thttp-request set-var-fmt(txn.held) \"%%[var(txn.held)]1\" if %s\n", c)
		fmt.Fprintf(&b, "\thttp-request set-var-fmt(txn.held) \"%%[var(txn.held)]0\" unless %s\n", c)
	}
	b.WriteString("\thttp-request return status 200 hdr X-Held \"%[var(txn.held)]\"\n")
	return b.String()
}

func writeCertificate(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "peer"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"shop.example"},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// connection is a connection to HAProxy from an address of the loopback
// network.
type connection struct {
	net.Conn
	reader *bufio.Reader
	server *haproxy
}

// dial connects from an address, with TLS if a server name is given.
func (h *haproxy) dial(t *testing.T, from, serverName string) *connection {
	t.Helper()
	to := h.plain
	if serverName != "" {
		to = h.tls
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.DialContext(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", to.(*net.TCPAddr).Port))
	if err != nil {
		t.Fatalf("dial haproxy: %v\n%s", err, h.log)
	}
	t.Cleanup(func() { nc.Close() })
	if serverName != "" {
		roots := x509.NewCertPool()
		roots.AddCert(h.certificate)
		client := tls.Client(nc, &tls.Config{ServerName: serverName, RootCAs: roots, NextProtos: []string{"http/1.1"}})
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		nc = client
	}
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &connection{nc, bufio.NewReader(nc), h}
}

// ask sends a raw request and returns what HAProxy says of each condition.
func (c *connection) ask(t *testing.T, method, raw string) string {
	t.Helper()
	if _, err := c.Write([]byte(raw)); err != nil {
		t.Fatalf("write %q: %v\n%s", raw, err, c.server.log)
	}
	answer, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("answer to %q: %v\n%s", raw, err, c.server.log)
	}
	defer answer.Body.Close()
	held := answer.Header.Get("X-Held")
	if answer.StatusCode != http.StatusOK || len(held) != c.server.conditions {
		t.Fatalf("haproxy answers %q with %d, and %d conditions, want 200 and %d", raw, answer.StatusCode, len(held), c.server.conditions)
	}
	return held
}
