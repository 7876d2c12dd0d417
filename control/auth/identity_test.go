// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/auth"
)

func TestFromURIs(t *testing.T) {
	for _, tt := range []struct {
		name string
		uris []string
		want auth.Identity
		err  string
	}{
		{"a proxy of one namespace", []string{"sluice://acme/prod/proxy/edge-1"}, proxy("edge-1", "acme/prod"), ""},
		{"namespaces come sorted", []string{"sluice://b/x/proxy/e", "sluice://a/x/proxy/e"}, proxy("e", "a/x", "b/x"), ""},
		{"other schemes do not count", []string{"spiffe://x/y", "sluice://a/x/proxy/e"}, proxy("e", "a/x"), ""},
		{"a control plane of all namespaces", []string{"sluice:///control/c"}, controlPlane("*"), ""},
		{"a control plane of one", []string{"sluice://a/x/control/c"}, controlPlane("a/x"), ""},
		{"none", []string{"spiffe://x/y"}, auth.Identity{}, "names no identity"},
		{"a proxy of all namespaces", []string{"sluice:///proxy/e"}, auth.Identity{}, "is not sluice://"},
		{"an unknown role", []string{"sluice://a/x/root/e"}, auth.Identity{}, "is not sluice://"},
		{"two nodes", []string{"sluice://a/x/proxy/e", "sluice://b/x/proxy/f"}, auth.Identity{}, "names proxy e and proxy f"},
		{"two roles", []string{"sluice://a/x/proxy/e", "sluice://b/x/control/e"}, auth.Identity{}, "names proxy e and control e"},
		{"a namespace twice", []string{"sluice://a/x/proxy/e", "sluice://a/x/proxy/e"}, auth.Identity{}, "twice"},
		{"one and all", []string{"sluice://a/x/control/e", "sluice:///control/e"}, auth.Identity{}, "stands alone"},
		{"upper case", []string{"sluice://A/x/proxy/e"}, auth.Identity{}, "is not sluice://"},
		{"an escaped slash", []string{"sluice://a/x/proxy/e%2ff"}, auth.Identity{}, "is not sluice://"},
		{"a needless escape", []string{"sluice://a/x/proxy/%65"}, auth.Identity{}, "is not sluice://"},
		{"a port", []string{"sluice://a:1/x/proxy/e"}, auth.Identity{}, "is not sluice://"},
		{"a user", []string{"sluice://u@a/x/proxy/e"}, auth.Identity{}, "is not sluice://"},
		{"a query", []string{"sluice://a/x/proxy/e?q"}, auth.Identity{}, "is not sluice://"},
		{"a fragment", []string{"sluice://a/x/proxy/e#f"}, auth.Identity{}, "is not sluice://"},
		{"a segment too many", []string{"sluice://a/x/proxy/e/f"}, auth.Identity{}, "is not sluice://"},
		{"a segment too few", []string{"sluice://a/proxy/e"}, auth.Identity{}, "is not sluice://"},
		{"opaque", []string{"sluice:a/x/proxy/e"}, auth.Identity{}, "is not sluice://"},
		{"a node of dots", []string{"sluice://a/x/proxy/.."}, auth.Identity{}, "is not sluice://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.FromURIs(urls(t, tt.uris...))
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil {
				t.Fatalf("FromURIs(%q) error = %v, want %q", tt.uris, err, tt.err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("FromURIs(%q) = %+v, want %+v", tt.uris, got, tt.want)
			}
		})
	}
}

func urls(t *testing.T, texts ...string) (list []*url.URL) {
	t.Helper()
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, u)
	}
	return list
}

// What is read of a URI is what would be written: no two URIs are of one
// identity.
func FuzzFromURIs(f *testing.F) {
	f.Add("sluice://acme/prod/proxy/edge-1")
	f.Add("sluice:///control/c")
	f.Add("sluice://a/x/proxy/e%2ff?q#f")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		id, err := auth.FromURIs([]*url.URL{u})
		if err != nil {
			return
		}
		if err := id.Check(); err != nil {
			t.Fatalf("%q: an identity that is refused: %v", text, err)
		}
		if got := id.URIs(); len(got) != 1 || got[0].String() != u.String() {
			t.Fatalf("%q: written as %v", text, got)
		}
	})
}

func TestIdentityCheckTellsAllAtOnce(t *testing.T) {
	err := auth.Identity{Role: "root", Node: "-", Namespaces: []string{"x", "Y/z"}}.Check()
	for _, want := range []string{`role: "root"`, `node: "-"`, `namespaces: "x"`, `namespaces: "Y/z"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check() = %v, want it to have %s", err, want)
		}
	}
	if err := proxy("e").Check(); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("Check() without namespaces = %v", err)
	}
}

func TestIssuedCertificatesNameTheirIdentity(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	for _, id := range []auth.Identity{
		proxy("edge-1", "acme/dev", "acme/prod"),
		proxy("Edge_1.example", "0/0"),
		proxy(strings.Repeat("n", auth.MaxNode), strings.Repeat("o", 63)+"/"+strings.Repeat("e", 63)),
		proxy("e", "-a/b-", "a-/-"), // labels of stores may begin and end so
		controlPlane(auth.Everywhere),
		controlPlane("acme/prod"),
	} {
		held, _ := credentials(t, a, id, &c)
		got := held.Identity()
		if !got.Expires.Equal(start.Add(30 * day)) {
			t.Errorf("%v expires at %v, want 30 days from %v", id, got.Expires, start)
		}
		if got.Role != id.Role || got.Node != id.Node || !slices.Equal(got.Namespaces, slices.Sorted(slices.Values(id.Namespaces))) {
			t.Errorf("identity of the certificate = %+v, want %+v", got, id)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	ok := proxy("e", "a/b")
	for _, tt := range []struct {
		name    string
		request auth.Request
		want    string
	}{
		{"no lifetime", auth.Request{Identity: ok}, "lifetime"},
		{"too long a life", auth.Request{Identity: ok, Lifetime: auth.MaxLifetime + 1}, "lifetime"},
		{"a proxy with names", auth.Request{Identity: ok, Lifetime: day, Names: []string{"x"}}, "a proxy has none"},
		{"a control plane without", auth.Request{Identity: controlPlane("*"), Lifetime: day}, "needs the names"},
		{"a wildcard", auth.Request{Identity: controlPlane("*"), Lifetime: day, Names: []string{"*.x"}}, "neither a host name"},
		{"nobody", auth.Request{Lifetime: day}, "role"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := a.Issue(tt.request); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Issue(%+v) error = %v, want %q", tt.request, err, tt.want)
			}
		})
	}
	c.set(3651 * day)
	if _, err := a.Issue(auth.Request{Identity: ok, Lifetime: day}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("Issue by an authority that has ended: %v", err)
	}
}

func TestCertificatesEndWithTheirAuthority(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	c.set(3649 * day)
	if got := issue(t, a, proxy("e", "a/b")).Expires(); !got.Equal(a.Expires()) {
		t.Errorf("Expires() = %v, want %v", got, a.Expires())
	}
}

func TestErrNoIdentityIsTold(t *testing.T) {
	if _, err := auth.FromURIs(nil); !errors.Is(err, auth.ErrNoIdentity) {
		t.Errorf("FromURIs(nil) error = %v, want ErrNoIdentity", err)
	}
}
