// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
)

// secured returns a control plane on a port of this machine that shows a
// certificate of an authority, for all namespaces unless some are named, and
// its address.
func secured(t *testing.T, a *auth.Authority, namespaces ...string) (*control, string) {
	t.Helper()
	if len(namespaces) == 0 {
		namespaces = []string{auth.Everywhere}
	}
	creds := credentialsOf(t, a, auth.Request{
		Identity: auth.Identity{Role: auth.RoleControl, Node: "cp", Namespaces: namespaces},
		Names:    []string{"127.0.0.1"}, Lifetime: time.Hour,
	})
	config, err := creds.Server("h2")
	if err != nil {
		t.Fatal(err)
	}
	c := &control{t: t, sessions: make(chan *talk), server: grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))}
	controlpb.RegisterControlServer(c.server, c)
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- c.server.Serve(ln) }()
	t.Cleanup(func() {
		c.server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c, ln.Addr().String()
}

func authority(t *testing.T) *auth.Authority {
	t.Helper()
	a, err := auth.NewAuthority(time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// credentialsOf returns credentials by a certificate that an authority issues.
func credentialsOf(t *testing.T, a *auth.Authority, r auth.Request) *auth.Credentials {
	t.Helper()
	certificate, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := certificate.Save(dir, a.PEM(), false); err != nil {
		t.Fatal(err)
	}
	creds, err := auth.LoadCredentials(dir, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

func proxyRequest() auth.Request {
	return auth.Request{
		Identity: auth.Identity{Role: auth.RoleProxy, Node: "edge-1", Namespaces: []string{"default/default"}}, Lifetime: time.Hour,
	}
}

func secureOptions(server string, creds *auth.Credentials) agent.Options {
	return agent.Options{
		Servers: []string{server}, Node: "edge-1", Namespaces: []string{"default/default"}, Credentials: creds,
		Draw: func() float64 { return 0.01 },
	}
}

// says waits until the status tells why there is no session.
func (b *bed) says(t *testing.T, text string) {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !strings.Contains(b.agent.Status().Why, text) {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("Status().Why = %q, want %q", b.agent.Status().Why, text)
		}
	}
}

func TestCertificateSaysWhoTheProxyIs(t *testing.T) {
	a := authority(t)
	c, server := secured(t, a)
	start(t, secureOptions(server, credentialsOf(t, a, proxyRequest())))
	s := c.welcomed()
	p, _ := peer.FromContext(s.stream.Context())
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		t.Fatalf("the session is by %T, want TLS", p.AuthInfo)
	}
	if who, err := auth.FromConnection(&info.State); err != nil || who.Node != "edge-1" {
		t.Errorf("the certificate is of %v (%v), want edge-1", who, err)
	}
	s.complete(table(1))
	s.wantAnswer("1.1 serves []")
}

// A token is read anew at each connect, so that it may be replaced.
func TestTokenIsSentAndReadAnew(t *testing.T) {
	a := authority(t)
	c, server := secured(t, a)
	o := secureOptions(server, credentialsOf(t, a, proxyRequest()))
	var read atomic.Int32
	o.Token = func() (string, error) {
		return []string{"first", "second"}[min(read.Add(1), 2)-1], nil
	}
	start(t, o)
	for _, want := range []string{"Bearer first", "Bearer second"} {
		s := c.welcomed()
		md, _ := metadata.FromIncomingContext(s.stream.Context())
		if got := strings.Join(md.Get("authorization"), ","); got != want {
			t.Errorf("the session says %q, want %q", got, want)
		}
		s.lose()
	}
}

func TestControlPlaneOfAnotherAuthorityIsNotSpokenTo(t *testing.T) {
	_, server := secured(t, authority(t))
	b := start(t, secureOptions(server, credentialsOf(t, authority(t), proxyRequest())))
	b.says(t, "both ends need the same ca.crt")
	if b.serves() != "nothing" {
		t.Errorf("%s serves", b.serves())
	}
}

// Who joins by a token has no certificate that names its namespace, and yet
// shows the token to a control plane of that namespace alone.
func TestTokenIsNotShownToTheControlPlaneOfAnotherNamespace(t *testing.T) {
	a := authority(t)
	c, server := secured(t, a, "evil/prod")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, auth.AuthorityFile), a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	bare, err := auth.LoadCredentials(dir, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := secureOptions(server, bare)
	o.Token = func() (string, error) { return "secret", nil }
	b := start(t, o)
	b.says(t, "control cp is for evil/prod, not for default/default")
	if b.serves() != "nothing" {
		t.Errorf("%s serves", b.serves())
	}
	select {
	case s := <-c.sessions:
		md, _ := metadata.FromIncomingContext(s.stream.Context())
		t.Errorf("it was spoken to, with %v", md)
	default:
	}
}
