// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"net"
	"strings"
	"testing"
)

func TestVIPName(t *testing.T) {
	for _, tt := range []struct{ name, value, framework, want string }{
		{"a named one", "/web:5000", "marathon", "web.marathon.l4lb.thisdcos.directory:5000"},
		{"the slash may be missing", "web:5000", "marathon", "web.marathon.l4lb.thisdcos.directory:5000"},
		{"a version in the name", "/simple-service-1.0.0:3000", "marathon", "simple-service-1.0.0.marathon.l4lb.thisdcos.directory:3000"},
		{"slashes in the name go", "/shop/eu/web:80", "marathon", "shopeuweb.marathon.l4lb.thisdcos.directory:80"},
		{"capitals become small", "/Web:80", "Marathon-User", "web.marathon-user.l4lb.thisdcos.directory:80"},
		{"an address", "10.0.0.1:80", "marathon", "10.0.0.1:80"},
		{"an address of IPv6", "[FD00::1]:80", "marathon", "[fd00::1]:80"},
		{"an address of IPv4 in one of IPv6", "[::ffff:10.0.0.1]:80", "marathon", "10.0.0.1:80"},
		{"leading zeros of the port", "/web:080", "marathon", "web.marathon.l4lb.thisdcos.directory:80"},
		{"no port", "/web", "marathon", ""},
		{"a port with a sign", "/web:+80", "marathon", ""},
		{"a zone", "[fe80::1%eth0]:80", "marathon", ""},
		{"a name that no host has", "/we*b:80", "marathon", ""},
		{"a name that is too long", strings.Repeat("a", maxName) + ":80", "marathon", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := vipName(tt.value, tt.framework); got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("vipName(%q, %q) = %q, %v, want %q", tt.value, tt.framework, got, err, tt.want)
			}
		})
	}
}

// FuzzVIPName makes names that can be written as the address of a route.
func FuzzVIPName(f *testing.F) {
	for _, value := range []string{"/web:5000", "10.0.0.1:80", "[fd00::1]:80", "a b:1", ":::", "/a/b/c:65535"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		name, err := vipName(value, "marathon")
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(name)
		if err != nil || name != strings.ToLower(name) || strings.ContainsAny(host, " /]\"") || len(host) > maxName {
			t.Fatalf("vipName(%q) = %q", value, name)
		}
		if n, ok := number(port, 1, maxPort); !ok || n == 0 {
			t.Fatalf("vipName(%q) = %q, whose port is none", value, name)
		}
		if strings.HasSuffix(host, balancer) {
			return
		}
		if again, err := vipName(name, "marathon"); err != nil || again != name {
			t.Fatalf("the name %q of an address becomes %q, %v", name, again, err)
		}
	})
}
