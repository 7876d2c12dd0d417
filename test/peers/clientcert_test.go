// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// certificateACLs ask for all that access control lists know of TLS at a
// gateway that ends it.
var certificateACLs = []string{
	"ssl_fc", "ssl_fc_sni shop.example", "ssl_fc_sni -m end .example", "ssl_fc_alpn http/1.1", "ssl_fc_protocol TLSv1.2", "ssl_fc_protocol -m beg TLS",
	"ssl_c_used", "ssl_c_verify 0", "ssl_c_verify gt 0",
	"ssl_c_s_dn(cn) ann", "ssl_c_s_dn(CN) -i ANN", "ssl_c_s_dn(cn) -m sub example", "ssl_c_s_dn(cn) -m found", "ssl_c_s_dn(ou) operations",
	"ssl_c_s_dn(OU,2) shop", "ssl_c_s_dn(ou,-1) shop", "ssl_c_s_dn(o) -m beg Example", "ssl_c_s_dn(c) DE", "ssl_c_s_dn(serialNumber) 7",
	"ssl_c_s_dn -m beg /C=DE", "ssl_c_s_dn -m sub /CN=ann", "ssl_c_s_dn -m end ann", "ssl_c_s_dn -m found",
}

// TestCertificatesMeanWhatHAProxySees has clients with many certificates ask
// HAProxy and a gateway which of the lists hold.
func TestCertificatesMeanWhatHAProxySees(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t)
	ca.WriteFile(dir, "ca.crt")
	server := ca.Issue(t, "shop.example", "other.example")
	server.WriteFiles(dir, "server")
	pem := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(pem, bytes.Join([][]byte{server.Certificate, server.Key}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	own, peer := freeport.One(t), freeport.One(t)
	startSluice(t, dir, gatewayOfACLs(t, own))
	startPeer(t, peerOfACLs(peer, pem, filepath.Join(dir, "ca.crt")), peer)

	held := make(map[string]bool)
	for name, certificate := range map[string]*tls.Certificate{
		"none":            nil,
		"a common name":   subject(t, ca, pkix.Name{CommonName: "ann"}),
		"all attributes":  subject(t, ca, pkix.Name{Country: []string{"DE"}, Organization: []string{"Example, Inc."}, OrganizationalUnit: []string{"operations", "shop"}, CommonName: "ann", SerialNumber: "7"}),
		"letter case":     subject(t, ca, pkix.Name{Country: []string{"de"}, CommonName: "Ann"}),
		"a longer name":   subject(t, ca, pkix.Name{Organization: []string{"Examples"}, CommonName: "ann.example"}),
		"no common name":  subject(t, ca, pkix.Name{OrganizationalUnit: []string{"operations"}}),
		"odd characters":  subject(t, ca, pkix.Name{Organization: []string{`a/CN=ann`, `b"\+;<>`}, CommonName: "x=/ann"}),
		"beyond ASCII":    subject(t, ca, pkix.Name{Organization: []string{"Müller"}, CommonName: "Jürgen"}),
		"repeated values": subject(t, ca, pkix.Name{OrganizationalUnit: []string{"shop", "shop"}, CommonName: "ann"}),
	} {
		for _, serverName := range []string{"shop.example", "other.example"} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := &tls.Config{ServerName: serverName, RootCAs: ca.Pool(), MinVersion: version, MaxVersion: version, NextProtos: []string{"http/1.1"}}
				if certificate != nil {
					config.Certificates = []tls.Certificate{*certificate}
				}
				want, got := heldLists(t, config, peer), heldLists(t, config, own)
				for i, acl := range certificateACLs {
					if want[i] != got[i] {
						t.Errorf("certificate with %s, %s, %s: %q is %s, and in HAProxy %s", name, serverName, tls.VersionName(version), acl, got[i], want[i])
					}
					held[acl] = held[acl] || want[i] == "held"
				}
			}
		}
	}
	for _, acl := range certificateACLs {
		if never := acl == "ssl_c_verify gt 0"; held[acl] == never { // who is not verified does not come in
			t.Errorf("%q held: %t, want the opposite", acl, held[acl])
		}
	}
}

// subject returns a certificate of a client.
func subject(t *testing.T, ca *certs.CA, name pkix.Name) *tls.Certificate {
	t.Helper()
	c := ca.With(certs.Subject(name)).Issue(t, "client.example").TLS()
	return &c
}

// gatewayOfACLs returns a gateway whose nth route takes requests for /n if the
// nth list holds.
func gatewayOfACLs(t *testing.T, port int) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `name: shop
port: %d
sluice: {tls: {certificates: {certificate: server.crt, key: server.key}, client_auth: optional, client_ca: ca.crt}}
routes:
`, port)
	for i, acl := range certificateACLs {
		fmt.Fprintf(&b, "  \"[%s]\": {weight: 0%%, condition: 'path == /%d and < %s >'}\n", saying(t, "held"), i, acl)
	}
	fmt.Fprintf(&b, "  \"[%s]\": {weight: 100%%}\n", saying(t, "not held"))
	return b.String()
}

// peerOfACLs returns the same for HAProxy.
func peerOfACLs(port int, pem, ca string) string {
	var b strings.Builder
	b.WriteString(peerDefaults)
	fmt.Fprintf(&b, "\tmode http\nfrontend front\n\tbind 127.0.0.1:%d ssl crt %s ca-file %s verify optional alpn http/1.1\n", port, pem, ca)
	for i, acl := range certificateACLs {
		fmt.Fprintf(&b, "\thttp-request return status 200 content-type text/plain string held if { path /%d } { %s }\n", i, acl)
	}
	b.WriteString("\thttp-request return status 200 content-type text/plain string \"not held\"\n")
	return b.String()
}

// saying starts an instance that always answers the same.
func saying(t *testing.T, text string) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// heldLists asks for each list over one connection and returns the answers.
func heldLists(t *testing.T, config *tls.Config, port int) []string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: patience}
	defer client.CloseIdleConnections()
	all := make([]string, len(certificateACLs))
	for i := range all {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://%s/%d", loopback(port), i), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("list %d: %d %v: %s", i, answer.StatusCode, err, body)
		}
		all[i] = string(body)
	}
	return all
}
