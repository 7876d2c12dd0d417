// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// hello returns the first bytes that a client of TLS sends.
func hello(t *testing.T, name string, alpn ...string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		c := tls.Client(client, &tls.Config{ServerName: name, NextProtos: alpn, InsecureSkipVerify: true}) //nolint:gosec // the handshake never ends
		_ = c.HandshakeContext(context.Background())
	}()
	b := make([]byte, 64<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// namer starts an instance that answers the first bytes it gets with its name.
func namer(t *testing.T, name string) (address string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if n, _ := c.Read(make([]byte, 1)); n > 0 {
					_, _ = io.WriteString(c, name)
					_, _ = io.Copy(io.Discard, c) // so that what is unread makes no reset
				}
			}()
		}
	}()
	return l.Addr().String()
}

// reached sends bytes in parts and returns the name of who answers.
func reached(t *testing.T, address string, first []byte, parts int) string {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for i := range parts {
		if _, err := c.Write(first[i*len(first)/parts : (i+1)*len(first)/parts]); err != nil {
			t.Fatal(err)
		}
	}
	name := make([]byte, 16)
	n, err := c.Read(name)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return string(name[:n])
}

// TestSNIChoosesAsInHAProxy sends the same beginnings of TLS through HAProxy
// and through a tcp gateway with the same access control lists. Names of
// servers have no letter case (RFC 6066 section 3): here they are looked at in
// lower case, so that lists without -i take more than in HAProxy.
func TestSNIChoosesAsInHAProxy(t *testing.T) {
	acls := []string{
		"req.ssl_sni -i shop.example",
		"req.ssl_sni -m end .shop.example",
		"req.ssl_sni -m beg admin.",
		"req.ssl_sni -m reg ^v[0-9]+\\.api\\.example$",
		"req.ssl_sni -m sub internal",
		"req.ssl_alpn h2",
		"req.ssl_alpn -m beg http/",
	}
	var backends, uses, routes strings.Builder
	for i, acl := range acls {
		address := namer(t, fmt.Sprintf("route %d", i))
		fmt.Fprintf(&uses, "\tuse_backend b%d if { %s }\n", i, acl)
		fmt.Fprintf(&backends, "backend b%d\n\tserver a %s\n", i, address)
		fmt.Fprintf(&routes, "  \"[%s]\": {weight: 0%%, condition: '< %s >'}\n", address, acl)
	}
	rest := namer(t, "rest")
	port, peer := freeport.One(t), freeport.One(t)
	startPeer(t, peerDefaults+fmt.Sprintf(`	mode tcp
frontend front
	bind 127.0.0.1:%d
	tcp-request inspect-delay 20s
	tcp-request content accept if { req.ssl_hello_type 1 }
%s	default_backend rest
backend rest
	server a %s
%s`, peer, &uses, rest, &backends), peer)
	startSluice(t, t.TempDir(), fmt.Sprintf("name: pass\nport: %d/tcp\nroutes:\n%s  \"[%s]\": {weight: 100%%}\n", port, &routes, rest))

	seen := make(map[string]bool)
	for _, name := range []string{
		"shop.example", "SHOP.example", "a.shop.example", "a.b.shop.example", "xshop.example", "shop.example.org",
		"admin.example", "v1.api.example", "v12.api.example", "v.api.example", "vx.api.example",
		"an.internal.example", "other.example", "", strings.Repeat("long.", 45) + "shop.example",
	} {
		for _, alpn := range [][]string{nil, {"http/1.1"}, {"h2", "http/1.1"}} {
			first := hello(t, name, alpn...)
			for _, parts := range []int{1, 3} {
				want := reached(t, loopback(peer), first, parts)
				if got := reached(t, loopback(port), first, parts); got != want {
					t.Errorf("the name %q with ALPN %v in %d parts leads to %s, and in HAProxy to %s", name, alpn, parts, got, want)
				}
				seen[want] = true
			}
		}
	}
	if len(seen) != len(acls)+1 {
		t.Errorf("only %v were reached, want all routes", seen)
	}
}
