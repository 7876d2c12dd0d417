// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/metrics"
)

const day = 24 * time.Hour

// counted returns a counter of a registry by family and label.
func counted(r *metrics.Registry, family, label string) (n int) {
	for _, v := range r.Values() {
		if v.Family.Name == family && v.Labels[0].Value == label {
			n = int(v.Value)
		}
	}
	return n
}

// refuses reads what a stream ends with.
func refuses(t *testing.T, p *streamtest.Proxy, code codes.Code, text string) {
	t.Helper()
	for {
		m, err := p.Next()
		if err == nil {
			if m.GetWelcome() != nil || m.GetUpdate() != nil {
				continue
			}
			t.Fatalf("came %v, want the end", m)
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), text) {
			t.Errorf("it ends with %v, want %v and %q", err, code, text)
		}
		return
	}
}

func hello(h *controlpb.Hello) *controlpb.FromProxy {
	return &controlpb.FromProxy{Message: &controlpb.FromProxy_Hello{Hello: h}}
}

func TestWhoIsNotLetIn(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	b := serve(t, stream.Options{Registry: registry, MaxProxies: 1, Namespaces: []string{home, "a/b"}})
	streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("first")})
	with := func(change func(*controlpb.Hello)) *controlpb.FromProxy {
		h := streamtest.Hello("first")
		change(h)
		return hello(h)
	}
	for _, tt := range []struct {
		name, reason string
		say          *controlpb.FromProxy
		code         codes.Code
		text         string
	}{
		{"an old protocol", "protocol", with(func(h *controlpb.Hello) { h.Protocol = 0 }), codes.FailedPrecondition, "upgrade the proxy"},
		{"a new protocol", "protocol", with(func(h *controlpb.Hello) { h.Protocol = 2 }), codes.FailedPrecondition, "upgrade the control plane"},
		{"one proxy too many", "full", with(func(h *controlpb.Hello) { h.Node = "second" }), codes.ResourceExhausted, "as many as may be"},
		{"a name that is none", "identity", with(func(h *controlpb.Hello) { h.Node = "../x" }), codes.Unauthenticated, "node"},
		{"no namespace", "identity", with(func(h *controlpb.Hello) { h.Namespaces = nil }), codes.Unauthenticated, "namespaces"},
		{"a namespace twice", "identity", with(func(h *controlpb.Hello) { h.Namespaces = []string{home, home} }), codes.Unauthenticated, "twice"},
		{"a namespace that is not served", "namespace", with(func(h *controlpb.Hello) { h.Namespaces = []string{"x/y"} }), codes.PermissionDenied, "not served here"},
		{"too many labels", "malformed", with(func(h *controlpb.Hello) { h.Labels = make([]*controlpb.Label, 65) }), codes.InvalidArgument, "labels"},
		{"a label without name", "malformed", with(func(h *controlpb.Hello) { h.Labels = []*controlpb.Label{{Value: "x"}} }), codes.InvalidArgument, "labels[0]"},
		{"a long zone", "malformed", with(func(h *controlpb.Hello) { h.Zone = strings.Repeat("z", 300) }), codes.InvalidArgument, "zone"},
		{"a hash of another length", "malformed", with(func(h *controlpb.Hello) { h.Held = []*controlpb.Held{{Gateway: "a", Hash: []byte("short")}} }), codes.InvalidArgument, "held[0]"},
		{"no Hello", "malformed", &controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{}}}, codes.InvalidArgument, "not Hello"},
		{"nothing", "malformed", &controlpb.FromProxy{}, codes.InvalidArgument, "not Hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := counted(registry, metrics.ControlSessionsRefused.Name, tt.reason)
			p := streamtest.Dial(t, b.address, streamtest.Options{})
			p.Say(tt.say)
			refuses(t, p, tt.code, tt.text)
			if n := counted(registry, metrics.ControlSessionsRefused.Name, tt.reason); n != before+1 {
				t.Errorf("%d are counted for %s, want %d", n, tt.reason, before+1)
			}
		})
	}
	t.Run("who says nothing", func(t *testing.T) {
		late := serve(t, stream.Options{})
		late.HelloWithin(time.Millisecond)
		refuses(t, streamtest.Dial(t, late.address, streamtest.Options{}), codes.DeadlineExceeded, "no Hello")
	})
	if list := b.Proxies(); len(list) != 1 || list[0].Node != "first" {
		t.Errorf("the proxies are %+v", list)
	}
}

// pki is an authority with the credentials of a control plane.
type pki struct {
	*auth.Authority
	dir    string // of the control plane
	server *auth.Credentials
	tokens *auth.Tokens
	vault  auth.DirVault
	past   atomic.Int64 // how far the clock is
}

func (p *pki) now() time.Time { return time.Now().Add(time.Duration(p.past.Load())) }

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir(), vault: auth.DirVault(filepath.Join(t.TempDir(), "tokens"))}
	p.tokens = auth.NewTokens(p.vault, p.now)
	var err error
	if p.Authority, err = auth.NewAuthority(3650*day, p.now); err != nil {
		t.Fatal(err)
	}
	p.save(t, p.Authority, p.dir, auth.Identity{Role: auth.RoleControl, Node: "c", Namespaces: []string{auth.Everywhere}}, p.PEM())
	if p.server, err = auth.LoadCredentials(p.dir, auth.Options{Clock: p.now}); err != nil {
		t.Fatal(err)
	}
	return p
}

// save has an authority issue a certificate for 30 days, beside those that it
// trusts.
func (p *pki) save(t *testing.T, a *auth.Authority, dir string, id auth.Identity, trusts []byte) {
	t.Helper()
	r := auth.Request{Identity: id, Lifetime: 30 * day}
	if id.Role == auth.RoleControl {
		r.Names = []string{"127.0.0.1"}
	}
	c, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Save(dir, trusts, true); err != nil {
		t.Fatal(err)
	}
}

// client returns how a node connects with a certificate; with none if node is
// empty.
func (p *pki) client(t *testing.T, role auth.Role, node string, namespaces ...string) *tls.Config {
	t.Helper()
	dir := t.TempDir()
	p.save(t, p.Authority, dir, auth.Identity{Role: role, Node: "x" + node, Namespaces: namespaces}, p.PEM())
	if node != "" {
		p.save(t, p.Authority, dir, auth.Identity{Role: role, Node: node, Namespaces: namespaces}, p.PEM())
	}
	held, err := auth.LoadCredentials(dir, auth.Options{Clock: p.now})
	if err != nil {
		t.Fatal(err)
	}
	config := held.Client("127.0.0.1", nil, "h2")
	if node == "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	}
	return config
}

func (p *pki) token(t *testing.T, node string, namespaces ...string) (secret, id string) {
	t.Helper()
	secret, token, err := p.tokens.Issue(t.Context(), auth.Token{Kind: auth.Join, Node: node, Namespaces: namespaces}, day)
	if err != nil {
		t.Fatal(err)
	}
	return secret, token.ID
}

func TestIdentities(t *testing.T) {
	whole := t // a session stays for a later case
	p := newPKI(t)
	b := serve(t, stream.Options{Credentials: p.server, Tokens: p.tokens, Clock: p.now})
	b.Publish(plan("a/x", 1, gateway("g", "1")))
	b.Publish(plan("a/y", 2, gateway("h", "1")))
	certified := p.client(t, auth.RoleProxy, "edge", "a/x", "a/y")
	bare := p.client(t, auth.RoleProxy, "", "a/x")
	token, tokenID := p.token(t, "", "a/x")
	bound, _ := p.token(t, "edge-7", "a/x")
	gone, goneID := p.token(t, "", "a/x")
	if _, err := p.tokens.Revoke(t.Context(), goneID); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		tls    *tls.Config
		token  string
		hello  *controlpb.Hello
		code   codes.Code // OK: let in
		text   string
		proved string
	}{
		{"a certificate", certified, "", streamtest.Hello("edge", "a/x"), codes.OK, "", "certificate"},
		{"a certificate for more namespaces", certified, "", streamtest.Hello("edge", "a/y", "a/x"), codes.OK, "", "certificate"},
		{"a certificate of another node", certified, "", streamtest.Hello("other", "a/x"), codes.PermissionDenied, "has proven to be", ""},
		{"a certificate for another namespace", certified, "", streamtest.Hello("edge", "a/x", "a/z"), codes.PermissionDenied, "a/z", ""},
		{"a certificate of a control plane", p.client(t, auth.RoleControl, "edge", "a/x"), "", streamtest.Hello("edge", "a/x"), codes.PermissionDenied, "not of a proxy", ""},
		{"a token", bare, token, streamtest.Hello("t1", "a/x"), codes.OK, "", "token " + tokenID},
		{"a token of another node", bare, bound, streamtest.Hello("t1", "a/x"), codes.PermissionDenied, "has proven to be", ""},
		{"a token for another namespace", bare, token, streamtest.Hello("t2", "a/y"), codes.PermissionDenied, "a/y", ""},
		{"a token that was revoked", bare, gone, streamtest.Hello("t2", "a/x"), codes.Unauthenticated, "revoked", ""},
		{"a token that nobody issued", bare, "sluice_join_0", streamtest.Hello("t2", "a/x"), codes.Unauthenticated, "unknown token", ""},
		{"neither", bare, "", streamtest.Hello("t2", "a/x"), codes.Unauthenticated, "no certificate and no join token", ""},
		{"a node that another identity holds", bare, token, streamtest.Hello("edge", "a/x"), codes.AlreadyExists, "by another certificate", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := streamtest.Dial(whole, b.address, streamtest.Options{TLS: tt.tls, Token: tt.token})
			c.Say(hello(tt.hello))
			if tt.code != codes.OK {
				refuses(t, c, tt.code, tt.text)
				return
			}
			if m, err := c.Next(); err != nil || m.GetWelcome() == nil {
				t.Fatalf("after Hello came %v, %v", m, err)
			}
			c.Receive()
			for _, one := range b.Proxies() {
				if one.Connected && one.Node == tt.hello.GetNode() && len(one.Namespaces) == len(tt.hello.GetNamespaces()) && one.Identity != tt.proved {
					t.Errorf("the proxy is %+v, want it proved by %s", one, tt.proved)
				}
			}
			if tt.name != "a certificate" { // held for the last case
				c.Close()
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 100)
		if n, err := conn.Read(answer); err == nil && answer[0] == 0 {
			t.Errorf("it was answered with %q, a frame of HTTP/2", answer[:n])
		}
	})
}

// What proves an identity has an end, and so have sessions.
func TestIdentitiesExpire(t *testing.T) {
	p := newPKI(t)
	b := serve(t, stream.Options{Credentials: p.server, Tokens: p.tokens, Clock: p.now, Keepalive: time.Second})
	token, _ := p.token(t, "", "a/x")
	c := streamtest.Join(t, b.address, streamtest.Options{TLS: p.client(t, auth.RoleProxy, "", "a/x"), Token: token, Hello: streamtest.Hello("t", "a/x")})
	if list := b.Proxies(); list[0].Expires.IsZero() {
		t.Errorf("the proxy is %+v, want when it expires", list[0])
	}
	p.past.Store(int64(2 * day))
	refuses(t, c, codes.Unauthenticated, "expired")
}

// Certificates and authorities change while sessions stay.
func TestRotation(t *testing.T) {
	p := newPKI(t)
	b := serve(t, stream.Options{Credentials: p.server, Tokens: p.tokens})
	b.Publish(plan("a/x", 1, gateway("g", "1")))
	old := p.client(t, auth.RoleProxy, "old", "a/x")
	first := streamtest.Join(t, b.address, streamtest.Options{TLS: old, Hello: streamtest.Hello("old", "a/x")})
	first.Follow(version(1))

	next, err := auth.NewAuthority(3650*day, p.now)
	if err != nil {
		t.Fatal(err)
	}
	control := auth.Identity{Role: auth.RoleControl, Node: "c", Namespaces: []string{auth.Everywhere}}
	p.save(t, next, p.dir, control, next.PEM()) // trusts the new authority alone
	if err := p.server.Look(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p.save(t, next, dir, auth.Identity{Role: auth.RoleProxy, Node: "new", Namespaces: []string{"a/x"}}, next.PEM())
	held, err := auth.LoadCredentials(dir, auth.Options{Clock: p.now})
	if err != nil {
		t.Fatal(err)
	}
	second := streamtest.Join(t, b.address, streamtest.Options{TLS: held.Client("127.0.0.1", nil, "h2"), Hello: streamtest.Hello("new", "a/x")})
	second.Follow(version(1))

	// Who trusts the old one alone is not served by the new one, and the other
	// way round.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := (&tls.Dialer{Config: old}).DialContext(ctx, "tcp", b.address)
	if err == nil {
		_ = conn.Close()
		t.Error("a peer that trusts the old authority takes the certificate of the new one")
	}
	b.Publish(plan("a/x", 2, gateway("g", "2")))
	first.Follow(version(2))
	second.Follow(version(2))
}
