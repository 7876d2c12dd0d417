// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
)

// shake has a client and a server meet, and returns what the server knows of
// the client, and what each of them says.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error, error) {
	t.Helper()
	near, far := connected(t)
	defer near.Close()
	s := tls.Server(far, server)
	served := make(chan error, 1)
	go func() {
		defer far.Close()
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		served <- err
	}()
	c := tls.Client(near, client)
	err := c.HandshakeContext(t.Context())
	if err == nil { // in TLS 1.3 the client hears by the first read that it was refused
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	_ = near.Close()
	serverErr := <-served
	return s.ConnectionState(), serverErr, err
}

// connected returns the two ends of a connection. A pipe would not do: who
// refuses must not wait for what the other one writes.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		_ = near.Close()
		t.Fatal(err)
	}
	return near, far
}

func serverOf(t *testing.T, c *auth.Credentials) *tls.Config {
	t.Helper()
	config, err := c.Server("h2")
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestPeersMeet(t *testing.T) {
	var c clock
	a, stranger := newAuthority(t, &c), newAuthority(t, &c)
	everywhere, _ := credentials(t, a, controlPlane(auth.Everywhere), &c)
	one, _ := credentials(t, a, controlPlane("acme/prod"), &c)
	edge, _ := credentials(t, a, proxy("edge-1", "acme/dev", "acme/prod"), &c)
	narrow, _ := credentials(t, a, proxy("edge-1", "acme/prod"), &c)
	foreign, _ := credentials(t, stranger, proxy("edge-1", "acme/prod"), &c)
	// One that trusts the authority, and shows what another vouches for.
	mixed := t.TempDir()
	if err := os.WriteFile(filepath.Join(mixed, auth.AuthorityFile), a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	bare, err := auth.LoadCredentials(mixed, auth.Options{Clock: c.now})
	if err != nil {
		t.Fatal(err)
	}
	intruder := bare.Client("127.0.0.1", []string{"acme/prod"}, "h2")
	intruder.GetClientCertificate = foreign.Client("x", nil).GetClientCertificate
	old := edge.Client("127.0.0.1", nil, "h2")
	old.MaxVersion, old.MinVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, tt := range []struct {
		name   string
		server *auth.Credentials
		client *tls.Config
		who    string // as FromConnection says
		err    string // of either side
	}{
		{"a proxy by its certificate", everywhere, edge.Client("127.0.0.1", nil, "h2"), "proxy edge-1", ""},
		{"by a name of the server", everywhere, edge.Client("control.example", nil, "h2"), "proxy edge-1", ""},
		{"another control plane", everywhere, everywhere.Client("control.example", nil, "h2"), "control c", ""},
		{"one without a certificate", everywhere, bare.Client("127.0.0.1", []string{"acme/prod"}, "h2"), "", ""},
		{"one without a certificate, of a namespace that the server has", one, bare.Client("127.0.0.1", []string{"acme/prod"}, "h2"), "", ""},
		{"one without a certificate, of another namespace", one, bare.Client("127.0.0.1", []string{"acme/prod", "evil/prod"}, "h2"), "", "is for acme/prod, not for evil/prod"},
		{"one without a certificate, of nothing", everywhere, bare.Client("127.0.0.1", nil, "h2"), "", "name the namespaces"},
		{"one that asks for more than its certificate", one, narrow.Client("127.0.0.1", []string{"acme/prod", "acme/dev"}, "h2"), "", "is for acme/prod, not for acme/dev"},
		{"a server of another name", everywhere, edge.Client("other.example", nil, "h2"), "", "issue it again with --name other.example"},
		{"no name to compare", everywhere, edge.Client("", nil, "h2"), "", "no host"},
		{"a server of too few namespaces", one, edge.Client("127.0.0.1", nil, "h2"), "", "is for acme/prod, not for acme/dev"},
		{"a server of another authority", everywhere, foreign.Client("127.0.0.1", nil, "h2"), "", "both ends need the same ca.crt"},
		{"a client of another authority", everywhere, intruder, "", "unknown authority"},
		{"TLS 1.2", everywhere, old, "", "protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, serverErr, clientErr := shake(t, serverOf(t, tt.server), tt.client)
			if err := errors.Join(serverErr, clientErr); tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("handshake error = %v, want %q", err, tt.err)
				}
				return
			} else if err != nil {
				t.Fatal(err)
			}
			if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
				t.Errorf("version %x, protocol %q; want TLS 1.3 and h2", state.Version, state.NegotiatedProtocol)
			}
			id, err := auth.FromConnection(&state)
			if tt.who == "" && !errors.Is(err, auth.ErrNoCertificate) || tt.who != "" && (err != nil || id.String() != tt.who) {
				t.Errorf("FromConnection() = %v, %v; want %q", id, err, tt.who)
			}
		})
	}
}

// forge returns a certificate of 127.0.0.1 that an authority has signed and
// would not issue.
func forge(t *testing.T, a *auth.Authority, id auth.Identity, usages ...x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	parent, err := tls.LoadX509KeyPair(filepath.Join(dir, auth.AuthorityFile), filepath.Join(dir, auth.AuthorityKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(day), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: usages, URIs: id.URIs(), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Leaf, key.Public(), parent.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A proxy that is compromised must not pass as a control plane, whatever keeps
// it from that first.
func TestProxiesAreNoServers(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	edge, dir := credentials(t, a, proxy("edge-1", "acme/prod"), &c)
	if _, err := edge.Server(); err == nil || !strings.Contains(err.Error(), "--role control") {
		t.Errorf("Server() = %v, want an error that says what to issue", err)
	}
	issued, err := tls.LoadX509KeyPair(filepath.Join(dir, auth.CertificateFile), filepath.Join(dir, auth.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		pair tls.Certificate
		want string // of the client's error; empty if it is taken
	}{
		{"it has no name of a server", issued, "issue it again with --name"},
		{"with one, it is for clients alone", forge(t, a, proxy("edge-1", "acme/prod"), x509.ExtKeyUsageClientAuth), "not of the role that is needed"},
		{"for servers, it names a proxy", forge(t, a, proxy("edge-1", "acme/prod"), x509.ExtKeyUsageServerAuth), "shows the certificate of proxy edge-1, which is none"},
		{"a control plane is one", forge(t, a, controlPlane("acme/prod"), x509.ExtKeyUsageServerAuth), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rogue := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{tt.pair}, NextProtos: []string{"h2"}, Time: c.now}
			_, _, err := shake(t, rogue, edge.Client("127.0.0.1", nil, "h2"))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the client says %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCertificatesEnd(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	server, serverDir := credentials(t, a, controlPlane(auth.Everywhere), &c)
	edge, _ := credentials(t, a, proxy("e", "a/b"), &c)
	config := serverOf(t, server)
	c.set(31 * day)
	if _, _, err := shake(t, config, edge.Client("127.0.0.1", nil, "h2")); err == nil || !strings.Contains(err.Error(), "compare the clocks") {
		t.Errorf("the server's certificate has ended: %v", err)
	}
	save(t, serverDir, issue(t, a, controlPlane(auth.Everywhere)), a.PEM())
	if err := server.Look(); err != nil {
		t.Fatal(err)
	}
	if _, err, _ := shake(t, config, edge.Client("127.0.0.1", nil, "h2")); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("the client's certificate has ended: %v", err)
	}
}

// What peers have in hand follows the files, whatever stands in them meanwhile.
func TestFilesAreReadAnew(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	server, _ := credentials(t, a, controlPlane(auth.Everywhere), &c)
	edge, dir := credentials(t, a, proxy("e", "a/b"), &c)
	config, client := serverOf(t, server), edge.Client("127.0.0.1", nil, "h2")
	namespaces := func() string {
		state, serverErr, clientErr := shake(t, config, client)
		if err := errors.Join(serverErr, clientErr); err != nil {
			t.Fatal(err)
		}
		id, err := auth.FromConnection(&state)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(id.Namespaces, ",")
	}
	next := issue(t, a, proxy("e", "a/b", "c/d"))
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := newAuthority(t, &c)
	write(auth.KeyFile, next.Key)
	for _, bad := range []struct{ name, file, text, want string }{
		{"a key without its certificate", auth.KeyFile, string(next.Key), "is not the key of"},
		{"half a certificate", auth.CertificateFile, string(next.Certificate[:len(next.Certificate)/2]), "ends inside"},
		{"one of another authority", auth.AuthorityFile, string(other.PEM()), "ca.crt"},
		{"no authority", auth.AuthorityFile, "", "no certificate"},
	} {
		write(auth.AuthorityFile, a.PEM())
		if bad.file == auth.AuthorityFile {
			write(auth.CertificateFile, next.Certificate)
		}
		write(bad.file, []byte(bad.text))
		if err := edge.Look(); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Fatalf("%s: Look() = %v, want %q", bad.name, err, bad.want)
		}
		if got := namespaces(); got != "a/b" {
			t.Fatalf("%s: namespaces = %s, want those of the last good files", bad.name, got)
		}
	}
	write(auth.AuthorityFile, a.PEM())
	if err := edge.Look(); err != nil {
		t.Fatal(err)
	}
	if got := namespaces(); got != "a/b,c/d" {
		t.Errorf("namespaces = %s, want those of the new files", got)
	}
	save(t, dir, issue(t, a, controlPlane(auth.Everywhere)), a.PEM())
	if err := edge.Look(); err == nil || !strings.Contains(err.Error(), "it was of a proxy") {
		t.Errorf("Look() with files of another role = %v", err)
	}
}

// An authority is replaced while both ends run: first all trust both, then all
// get new certificates, then the old one goes.
func TestAuthorityIsReplaced(t *testing.T) {
	var c clock
	first, second := newAuthority(t, &c), newAuthority(t, &c)
	both := append(first.PEM(), second.PEM()...)
	server, serverDir := credentials(t, first, controlPlane(auth.Everywhere), &c)
	edge, edgeDir := credentials(t, first, proxy("e", "a/b"), &c)
	config, client := serverOf(t, server), edge.Client("127.0.0.1", nil, "h2")
	meet := func(step string) {
		t.Helper()
		if err := errors.Join(server.Look(), edge.Look()); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if _, serverErr, clientErr := shake(t, config, client); serverErr != nil || clientErr != nil {
			t.Fatalf("%s: %v, %v", step, serverErr, clientErr)
		}
	}
	save(t, serverDir, issue(t, first, controlPlane(auth.Everywhere)), both)
	meet("the server trusts both")
	save(t, edgeDir, issue(t, first, proxy("e", "a/b")), both)
	meet("the proxy trusts both")
	save(t, serverDir, issue(t, second, controlPlane(auth.Everywhere)), both)
	meet("the server is of the second")
	save(t, edgeDir, issue(t, second, proxy("e", "a/b")), second.PEM())
	meet("the proxy knows the second alone")
	save(t, serverDir, issue(t, second, controlPlane(auth.Everywhere)), second.PEM())
	meet("both know the second alone")
}

func TestRunLooksAtTheFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		a := newAuthority(t, &c)
		edge, dir := credentials(t, a, proxy("e", "a/b"), &c)
		done := make(chan struct{})
		go func() {
			defer close(done)
			edge.Run(t.Context())
		}()
		save(t, dir, issue(t, a, proxy("e", "c/d")), a.PEM())
		time.Sleep(3 * time.Second) // of the bubble: none passes
		synctest.Wait()
		if !edge.Identity().Serves("c/d") {
			t.Errorf("identity = %+v, want the new one", edge.Identity())
		}
	})
}

func TestAuthorityIsKept(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	dir := filepath.Join(t.TempDir(), "pki")
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{".": 0o700, auth.AuthorityKeyFile: 0o600, auth.AuthorityFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if err := newAuthority(t, &c).Save(dir); !errors.Is(err, auth.ErrExists) {
		t.Errorf("Save over another = %v, want ErrExists", err)
	}
	same, err := auth.LoadAuthority(dir, c.now)
	if err != nil || string(same.PEM()) != string(a.PEM()) {
		t.Fatalf("LoadAuthority() = %v, want what was saved", err)
	}
	c.set(3651 * day)
	if _, err := auth.LoadAuthority(dir, c.now); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("LoadAuthority() of one that has ended = %v", err)
	}
}

func TestLoadAuthorityRefuses(t *testing.T) {
	var c clock
	a, other := newAuthority(t, &c), newAuthority(t, &c)
	otherDir := t.TempDir()
	if err := other.Save(otherDir); err != nil {
		t.Fatal(err)
	}
	otherKey, err := os.ReadFile(filepath.Join(otherDir, auth.AuthorityKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, a, proxy("e", "a/b"))
	for _, tt := range []struct {
		name, file, text string
		mode             os.FileMode
		want             string
	}{
		{"a key that others can read", auth.AuthorityKeyFile, string(otherKey), 0o644, "chmod 600"},
		{"the key of another", auth.AuthorityKeyFile, string(otherKey), 0o600, "is not the key of"},
		{"no key", auth.AuthorityKeyFile, "SECRET", 0o600, "holds no private key"},
		{"a damaged key", auth.AuthorityKeyFile, strings.Replace(string(otherKey), "M", "SECRET", 1), 0o600, "holds no private key"},
		{"no certificate", auth.AuthorityFile, "x", 0o600, "no certificate"},
		{"one of a peer", auth.AuthorityFile, string(leaf.Certificate), 0o600, "is not the key of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := a.Save(dir); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, tt.file)
			if err := errors.Join(os.WriteFile(path, []byte(tt.text), tt.mode), os.Chmod(path, tt.mode)); err != nil {
				t.Fatal(err)
			}
			_, err := auth.LoadAuthority(dir, c.now)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("LoadAuthority() = %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := auth.LoadAuthority(t.TempDir(), c.now); err == nil || !strings.Contains(err.Error(), "sluice pki init") {
		t.Errorf("LoadAuthority() of nothing = %v", err)
	}
}

func TestSaveLeavesNothingHalfWritten(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, auth.CertificateFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := issue(t, a, proxy("e", "a/b")).Save(dir, a.PEM(), false); !errors.Is(err, auth.ErrExists) {
		t.Errorf("Save() = %v, want ErrExists", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want what was there alone", entries, err)
	}
}
