// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// request is one request, as it is sent and as conditions see it.
type request struct {
	method, target string
	fields         []string // with Host
	from           string   // address of the client
	serverName     string   // of TLS; empty for none
}

// raw returns the bytes to send.
func (r *request) raw() string {
	return r.method + " " + r.target + " HTTP/1.1\r\n" + strings.Join(r.fields, "\r\n") + "\r\n\r\n"
}

// view returns the request for conditions, as it came over a connection.
func (r *request) view(c *connection) conditions.Request {
	host, _ := strings.CutPrefix(r.fields[0], "Host: ")
	v := routingtest.NewRequest(r.method, host, r.target, r.fields...)
	conn := v.Conn()
	conn.Client, conn.Local = addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	if t, ok := c.Conn.(*tls.Conn); ok {
		state := t.ConnectionState()
		conn.TLS = &conditions.TLS{ServerName: r.serverName, Version: state.Version, ALPN: state.NegotiatedProtocol}
	}
	return v
}

func addrPort(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// TestACLsMeanWhatHAProxySays generates ACLs and requests from a fixed seed
// and asks HAProxy and ourselves for each pair.
func TestACLsMeanWhatHAProxySays(t *testing.T) {
	const perRun, runs, requests = 200, 20, 60
	for run := range runs {
		t.Run(fmt.Sprintf("seed %d", run), func(t *testing.T) {
			g := &generator{rand.New(rand.NewPCG(uint64(run), 2026))}
			acls := make([]aclPair, perRun)
			for i := range acls {
				acls[i] = g.acl()
			}
			asked := make([]*request, requests)
			for i := range asked {
				asked[i] = g.request()
			}
			held := compare(t, acls, asked)
			pairs := perRun * requests
			t.Logf("%d pairs, of which %d hold", pairs, held)
			if held < pairs/10 || held > pairs*9/10 {
				t.Errorf("%d of %d pairs hold, want a mixture", held, pairs)
			}
		})
	}
}

// TestACLCasesMeanWhatHAProxySays confirms the cases that the tests of
// package conditions take for granted.
func TestACLCasesMeanWhatHAProxySays(t *testing.T) {
	const file = "../../conditions/testdata/acl.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var given []string
	n := 0
	groups := map[string][]aclPair{}
	var order []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '\t':
		case strings.HasPrefix(line, "# "):
			given = nil
		case strings.HasPrefix(line, "> "):
			given = append(given, line[2:])
		default:
			key := strings.Join(given, "\r\n")
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], aclPair{line, braced(line)})
			n++
		}
	}
	if n < 360 {
		t.Fatalf("%d cases in %s, want all", n, file)
	}
	for _, key := range order {
		lines := strings.Split(key, "\r\n")
		method, target, _ := strings.Cut(lines[0], " ")
		compare(t, groups[key], []*request{{method: method, target: target, fields: lines[1:], from: "127.0.0.1"}})
	}
}

// braced returns a condition as it stands after "if": tests in braces.
func braced(text string) string {
	if c := text[0]; c == '!' || c == '{' || 'A' <= c && c <= 'Z' {
		return text
	}
	return "{ " + text + " }"
}

// aclPair is an ACL, as we read it and as HAProxy does. They differ only
// where we read more.
type aclPair struct{ ours, peers string }

// compare asks both sides for each ACL and request and returns how many hold.
// Our canonical form, too, has to mean the same to HAProxy.
func compare(t *testing.T, acls []aclPair, asked []*request) (held int) {
	t.Helper()
	texts := make([]string, 2*len(acls)) // as written, and in canonical form
	compiled := make([]*conditions.Condition, len(acls))
	for i, acl := range acls {
		c, err := conditions.Compile(acl.ours)
		if err != nil {
			t.Fatalf("Compile(%q) error = %v", acl.ours, err)
		}
		compiled[i] = c
		texts[2*i], texts[2*i+1] = acl.peers, braced(strings.Trim(c.String(), "<> "))
	}
	h := startHAProxy(t, texts)
	connections := map[string]*connection{}
	for _, r := range asked {
		key := r.from + " " + r.serverName
		if connections[key] == nil {
			connections[key] = h.dial(t, r.from, r.serverName)
		}
		answer := connections[key].ask(t, r.method, r.raw())
		view := r.view(connections[key])
		for i := range acls {
			got := compiled[i].Holds(view)
			if got {
				held++
			}
			for k := 2 * i; k < 2*i+2; k++ {
				if want := answer[k] == '1'; got != want {
					t.Errorf("%s\nholds: %v, HAProxy says %v of %s, for %q", acls[i].ours, got, want, texts[k], r.raw())
				}
			}
		}
	}
	return held
}
