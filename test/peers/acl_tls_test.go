// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/certs"
)

// start runs HAProxy with a configuration, and with listeners that are handed
// over open from descriptor 3 on, until the test ends.
func start(t *testing.T, config string, files ...*os.File) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "haproxy", "-db", "-f", file)
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, files
	if err := cmd.Start(); err != nil {
		t.Fatalf("start haproxy: %v", err)
	}
	for _, f := range files {
		f.Close()
	}
	t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); t.Failed() {
			t.Logf("haproxy ended: %v\n%s", err, log)
		}
	})
}

const defaults = `global
	maxconn 500
defaults
	mode %s
	timeout client 20s
	timeout connect 5s
	timeout server 20s
`

// attribute returns a part of a distinguished name.
func attribute(value string, id ...int) pkix.RelativeDistinguishedNameSET {
	return pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier(id), Value: value}}
}

// TestClientCertificatesMeanWhatHAProxySays compares what ACLs say of the
// certificates of clients.
func TestClientCertificatesMeanWhatHAProxySays(t *testing.T) {
	ca, dir := certs.New(t), t.TempDir()
	server := ca.Issue(t, "shop.example")
	chain := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(chain, append(server.Certificate, server.Key...), 0o600); err != nil {
		t.Fatal(err)
	}
	acls := []string{
		"ssl_fc", "ssl_c_used", "ssl_c_verify 0", "ssl_c_verify gt 0", "ssl_c_s_dn -m found", "ssl_c_s_dn /CN=cart",
		"ssl_c_s_dn '/C=NL/O=Example Ltd/OU=shop/OU=web/CN=cart'", "ssl_c_s_dn -m sub /OU=web", "ssl_c_s_dn -m beg /DC=example/DC=shop",
		"ssl_c_s_dn(cn) cart", "ssl_c_s_dn(CN) cart", "ssl_c_s_dn(CN,1) cart", "ssl_c_s_dn(CN,2) -m found", "ssl_c_s_dn(OU) shop",
		"ssl_c_s_dn(OU,2) web", "ssl_c_s_dn(OU,-1) web", "ssl_c_s_dn(OU,-2) shop", "ssl_c_s_dn(OU,-3) -m found", "ssl_c_s_dn(DC,-1) shop",
		"ssl_c_s_dn(emailAddress) a@shop.example", "ssl_c_s_dn(UID) u1", "ssl_c_s_dn(L) -m found", "ssl_c_s_dn(CN) 'a,b+c\"d\\\\e<f>;g=h'",
		"ssl_c_s_dn -m end 'a,b+c\"d\\\\e<f>;g=h'", "ssl_c_s_dn -m len 0",
	}
	var config strings.Builder
	fmt.Fprintf(&config, defaults+"frontend acls\n\tbind fd@3 ssl crt %s verify optional ca-file %s alpn http/1.1\n",
		"http", chain, ca.WriteFile(dir, "ca.crt"))
	compiled := make([]*conditions.Condition, len(acls))
	for i, acl := range acls {
		c, err := conditions.Compile(acl)
		if err != nil {
			t.Fatal(err)
		}
		compiled[i] = c
		for _, text := range []string{acl, strings.Trim(c.String(), "<> ")} {
			fmt.Fprintf(&config, "\thttp-request set-var-fmt(txn.held) \"%%[var(txn.held)]1\" if { %s }\n", text)
			fmt.Fprintf(&config, "\thttp-request set-var-fmt(txn.held) \"%%[var(txn.held)]0\" unless { %s }\n", text)
		}
	}
	at, file := listen(t)
	config.WriteString("\thttp-request return status 200 hdr X-Held \"%[var(txn.held)]\"\n")
	start(t, config.String(), file)

	cn, o, ou := []int{2, 5, 4, 3}, []int{2, 5, 4, 10}, []int{2, 5, 4, 11}
	c, dc := []int{2, 5, 4, 6}, []int{0, 9, 2342, 19200300, 100, 1, 25}
	for _, tt := range []struct {
		name    string
		subject pkix.RDNSequence // no certificate if nil
	}{
		{"no certificate", nil},
		{"a common name", pkix.RDNSequence{attribute("cart", cn...)}},
		{"many parts", pkix.RDNSequence{
			attribute("NL", c...), attribute("Example Ltd", o...), attribute("shop", ou...), attribute("web", ou...), attribute("cart", cn...),
		}},
		{"a domain and an address", pkix.RDNSequence{
			attribute("example", dc...), attribute("shop", dc...), attribute("u1", 0, 9, 2342, 19200300, 100, 1, 1),
			attribute("a@shop.example", 1, 2, 840, 113549, 1, 9, 1),
		}},
		{"characters with a meaning", pkix.RDNSequence{attribute(`a,b+c"d\e<f>;g=h`, cn...)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := &conditions.TLS{ServerName: "shop.example", Version: tls.VersionTLS13, ALPN: "http/1.1"}
			client := &tls.Config{ServerName: "shop.example", RootCAs: ca.Pool(), NextProtos: []string{"http/1.1"}}
			if tt.subject != nil {
				pair := ca.With(certs.RawSubject(tt.subject)).Issue(t, "cart.internal")
				client.Certificates = []tls.Certificate{pair.TLS()}
				conn.Client = conditions.NewClientCertificate(pair.Leaf, true)
			}
			held := askOnce(t, at, client)
			if len(held) != 2*len(acls) {
				t.Fatalf("haproxy says %q of %d ACLs", held, len(acls))
			}
			r := routingtest.NewRequest("GET", "shop.example", "/")
			r.Conn().TLS = conn
			for i, condition := range compiled {
				got := condition.Holds(r)
				for k := 2 * i; k < 2*i+2; k++ {
					if want := held[k] == '1'; got != want {
						t.Errorf("%s (%v) holds: %v, HAProxy says %v", acls[i], condition, got, want)
					}
				}
			}
		})
	}
}

// askOnce makes one request over TLS and returns what HAProxy says.
func askOnce(t *testing.T, at net.Addr, config *tls.Config) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/", at.(*net.TCPAddr).Port), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.Header.Get("X-Held")
}

// TestHellosMeanWhatHAProxySays compares what ACLs say of TLS that passes
// through: HAProxy closes the connection where one holds, and lets it through
// otherwise.
func TestHellosMeanWhatHAProxySays(t *testing.T) {
	acls := []string{
		"req.ssl_hello_type 1", "req_ssl_hello_type 1", "req.ssl_hello_type gt 1", "req.ssl_sni -m found", "req.ssl_sni db.example",
		"req_ssl_sni -i DB.example", "req.ssl_sni -m end .example", "req.ssl_sni -m len 0", "req.ssl_alpn -m found", "req.ssl_alpn h2",
		"req.ssl_alpn http/1.1", "req.ssl_alpn h3 http/1.1", "req.ssl_alpn h2,http/1.1", "req.ssl_alpn -m sub ttp",
		"req.ssl_alpn,length 8", "req.ssl_alpn,upper H2", "ssl_fc", "ssl_fc_sni -m found", "ssl_c_used", "ssl_c_used -m found",
		"ssl_c_verify -m found", "ssl_c_s_dn -m found", "src 127.0.0.0/8",
	}
	origin, file := listen(t)
	inner, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	t.Cleanup(func() { inner.Close() })
	go func() { // it ends with the listener
		for {
			nc, err := inner.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(nc, "through")
			nc.Close()
		}
	}()
	var config strings.Builder
	fmt.Fprintf(&config, defaults+"backend origin\n\tserver one 127.0.0.1:%d\n", "tcp", origin.(*net.TCPAddr).Port)
	var places []net.Addr
	var files []*os.File
	compiled := make([]*conditions.Condition, len(acls))
	for i, acl := range acls {
		if compiled[i], err = conditions.Compile(acl); err != nil {
			t.Fatal(err)
		}
		at, file := listen(t)
		places, files = append(places, at), append(files, file)
		fmt.Fprintf(&config, "frontend f%d\n\tbind fd@%d\n\ttcp-request inspect-delay 10s\n"+
			"\ttcp-request content reject if { req.len gt 0 } { %s }\n\ttcp-request content accept if { req.len gt 0 }\n\tdefault_backend origin\n", i, 3+i, acl)
	}
	start(t, config.String(), files...)
	for _, tt := range []struct {
		name   string
		client *tls.Config // plain text if nil
	}{
		{"a name and protocols", &tls.Config{ServerName: "db.example", NextProtos: []string{"h2", "http/1.1"}}},
		{"a name alone", &tls.Config{ServerName: "eu.db.example"}},
		{"one protocol alone", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}},
		{"neither", &tls.Config{InsecureSkipVerify: true}},
		{"an old client", &tls.Config{ServerName: "db.example", MaxVersion: tls.VersionTLS12}},
		{"plain text", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := []byte("PLAIN TEXT\r\n")
			if tt.client != nil {
				said = helloOf(t, tt.client)
			}
			r := routingtest.NewRequest("", "", "")
			if h, verdict := sniff.ParseHello(said); verdict == sniff.Complete {
				r.Conn().Hello = &conditions.Hello{ServerName: h.ServerName, ALPN: h.ALPN}
			}
			for i, condition := range compiled {
				nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", places[i].(*net.TCPAddr).Port))
				if err != nil {
					t.Fatal(err)
				}
				r.Conn().Client, r.Conn().Local = addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr())
				_ = nc.SetDeadline(time.Now().Add(time.Minute))
				_, _ = nc.Write(said)
				answer, _ := io.ReadAll(nc) // a reset says as much as an end
				nc.Close()
				if got, want := condition.Holds(r), string(answer) != "through"; got != want {
					t.Errorf("%s holds: %v, HAProxy says %v", acls[i], got, want)
				}
			}
		})
	}
}

// helloOf returns what a client says first.
func helloOf(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = tls.Client(near, config).HandshakeContext(t.Context()) // it fails, as nobody answers
	}()
	defer func() {
		far.Close()
		<-ended
	}()
	var said []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, buf[:n]...)
		if _, verdict := sniff.ParseHello(said); verdict != sniff.NeedMore {
			return said
		}
	}
}
