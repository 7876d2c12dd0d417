// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// listener is a gateway, with the files that clients need where it speaks TLS.
type listener struct {
	dir, address string
	port         int
}

func newListener(t *testing.T) listener {
	t.Helper()
	port := freeport.One(t)
	return listener{dir: t.TempDir(), address: loopback(port), port: port}
}

// startTLS serves a gateway in TLS that asks for certificates as it is said:
// none, optional or required.
func startTLS(t *testing.T, clientAuth string) listener {
	t.Helper()
	l := newListener(t)
	ca := certs.New(t)
	ca.WriteFile(l.dir, "ca.crt")
	// As long as the certificates that are bought.
	long := ca.With(certs.Valid(time.Now().Add(-time.Hour), time.Now().AddDate(0, 6, 0)))
	long.Issue(t, "shop.example", "*.shop.example", "127.0.0.1").WriteFiles(l.dir, "shop")
	long.Issue(t, "blog.example").WriteFiles(l.dir, "blog")
	ca.Issue(t, "ann.example").WriteFiles(l.dir, "ann")
	clientCA := ""
	if clientAuth != "none" {
		clientCA = "\n    client_ca: ca.crt"
	}
	startSluice(t, l.dir, fmt.Sprintf(`name: shop
port: %d
sluice:
  tls:
    certificates:
    - {certificate: shop.crt, key: shop.key}
    - {certificate: blog.crt, key: blog.key}
    client_auth: %s%s
routes: "[%s]"
`, l.port, clientAuth, clientCA, echo(t)))
	return l
}

// finding is one line of what testssl found.
type finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Finding  string `json:"finding"`
}

// weaknesses are those with a name that testssl looks for.
var weaknesses = []string{
	"heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "BREACH", "POODLE_SSL",
	"fallback_SCSV", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4",
}

// excused are what testssl finds worse than remarkable, and why it is not.
var excused = map[string]string{
	"engine_problem":     "it is about the openssl that testssl uses",
	"cert_revocation":    "the authority of the test revokes nothing",
	"TLS_session_ticket": "the hint is the longest that TLS 1.3 allows; the keys of tickets live for less than two days",
}

// TestNoKnownWeakness has testssl look for old protocols, for weaknesses that
// have a name, and at what the server says of itself. It stays on this
// machine.
func TestNoKnownWeakness(t *testing.T) {
	testssl := lookUp(t, "testssl")
	l := startTLS(t, "none")
	results := filepath.Join(t.TempDir(), "testssl.json")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testssl, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none",
		"--connect-timeout", "20", "--openssl-timeout", "20", "--add-ca", filepath.Join(l.dir, "ca.crt"), "--jsonfile", results, "-p", "-U", "-S", l.address)
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(results)
	if readErr != nil {
		t.Fatalf("testssl: %v, %v\n%s", err, readErr, out) // its exit code counts findings
	}
	var findings []finding
	if err := json.Unmarshal(text, &findings); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	found := make(map[string]finding)
	for _, f := range findings {
		found[f.ID] = f
		if !slices.Contains([]string{"OK", "INFO", "DEBUG"}, f.Severity) && excused[f.ID] == "" {
			t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	for id, want := range map[string]string{
		"SSLv2": "not offered", "SSLv3": "not offered", "TLS1": "not offered", "TLS1_1": "not offered",
		"TLS1_2": "offered", "TLS1_3": "offered",
	} {
		if f := found[id]; !strings.HasPrefix(f.Finding, want) {
			t.Errorf("%s is %q, want %s", id, f.Finding, want)
		}
	}
	for _, id := range weaknesses {
		if f, ok := found[id]; !ok || f.Severity != "OK" {
			t.Errorf("%s is %q (%s), want it looked for and not found", id, f.Finding, f.Severity)
		}
	}
	if t.Failed() {
		t.Logf("testssl:\n%s", out)
	}
}

// sClient runs openssl s_client with one request and returns what it prints.
func (l listener) sClient(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append([]string{"s_client", "-connect", l.address, "-CAfile", "ca.crt", "-ign_eof"}, args...)
	cmd := exec.CommandContext(ctx, lookUp(t, "openssl"), args...)
	cmd.Dir = l.dir
	cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
	out, _ := cmd.CombinedOutput() // it exits with 1 where the handshake fails, which its text tells
	return string(out)
}

func TestOpenSSLSpeaksToUs(t *testing.T) {
	l := startTLS(t, "optional")
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"TLS 1.2", []string{"-tls1_2", "-servername", "shop.example"}, []string{"New, TLSv1.2", "Verify return code: 0 (ok)", "200 OK", "X-Forwarded-Proto: https"}},
		{"TLS 1.3", []string{"-tls1_3", "-servername", "shop.example"}, []string{"New, TLSv1.3", "Verify return code: 0 (ok)", "200 OK"}},
		{"a wildcard", []string{"-servername", "a.shop.example"}, []string{"subject=CN = shop.example", "200 OK"}},
		{"the second certificate", []string{"-servername", "blog.example"}, []string{"subject=CN = blog.example", "200 OK"}},
		{"a name that nobody has", []string{"-servername", "other.example"}, []string{"subject=CN = shop.example", "200 OK"}},
		{"no name", []string{"-noservername"}, []string{"subject=CN = shop.example", "200 OK"}},
		{"ALPN of which we speak one", []string{"-alpn", "spdy/3,http/1.1"}, []string{"ALPN protocol: http/1.1", "200 OK"}},
		{"ALPN of which we speak both", []string{"-alpn", "http/1.1,h2"}, []string{"ALPN protocol: h2"}},
		{"a client certificate in TLS 1.2", []string{"-tls1_2", "-cert", "ann.crt", "-key", "ann.key"}, []string{`Subject="CN=ann.example"`}},
		{"a client certificate in TLS 1.3", []string{"-tls1_3", "-cert", "ann.crt", "-key", "ann.key"}, []string{`Subject="CN=ann.example"`}},
		{"TLS 1.1 is refused", []string{"-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"}, []string{"protocol version"}},
		{"fragments of 512 bytes", []string{"-max_send_frag", "512", "-servername", "shop.example"}, []string{"200 OK"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contains(t, l.sClient(t, tt.args...), tt.want...)
		})
	}
}

func TestOpenSSLResumesSessions(t *testing.T) {
	l := startTLS(t, "none")
	for _, version := range []string{"1_2", "1_3"} {
		t.Run(version, func(t *testing.T) {
			session := "session" + version
			first := l.sClient(t, "-tls"+version, "-servername", "shop.example", "-sess_out", session)
			contains(t, first, "New, TLSv"+strings.Replace(version, "_", ".", 1), "200 OK")
			again := l.sClient(t, "-tls"+version, "-servername", "shop.example", "-sess_in", session)
			contains(t, again, "Reused, TLSv"+strings.Replace(version, "_", ".", 1), "200 OK")
		})
	}
}

func TestCertificatesOfClientsAreRequired(t *testing.T) {
	l := startTLS(t, "required")
	if out := l.sClient(t, "-servername", "shop.example"); strings.Contains(out, "200 OK") || !strings.Contains(out, "alert") {
		t.Errorf("without a certificate:\n%s", out)
	}
	contains(t, l.sClient(t, "-servername", "shop.example", "-cert", "ann.crt", "-key", "ann.key"), "200 OK")
}

func TestCurlSpeaksToUs(t *testing.T) {
	l := startTLS(t, "optional")
	url := "https://shop.example:" + strconv.Itoa(l.port) + "/"
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"TLS 1.2", []string{"--tls-max", "1.2"}},
		{"TLS 1.3", []string{"--tlsv1.3"}},
		{"HTTP/1.1", []string{"--http1.1"}},
		{"HTTP/2", []string{"--http2"}},
		{"three requests on one connection", []string{url, url}},
		{"a body of a megabyte", []string{"--data-binary", "@body"}},
		{"a client certificate", []string{"--cert", "ann.crt", "--key", "ann.key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(l.dir, "body"), make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			args := append([]string{"-sS", "--fail", "--cacert", "ca.crt", "--resolve", "shop.example:" + strconv.Itoa(l.port) + ":127.0.0.1"}, tt.args...)
			cmd := exec.CommandContext(ctx, lookUp(t, "curl"), append(args, url)...)
			cmd.Dir = l.dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("curl: %v\n%s", err, out)
			}
			contains(t, string(out), "X-Forwarded-Proto: https")
		})
	}
}
