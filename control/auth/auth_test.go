// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
)

// start is when the clocks of the tests begin.
var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

const day = 24 * time.Hour

// clock is one that tests set.
type clock struct{ since atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.since.Load())) }
func (c *clock) set(since time.Duration) { c.since.Store(int64(since)) }
func proxy(node string, ns ...string) auth.Identity {
	return auth.Identity{Role: auth.RoleProxy, Node: node, Namespaces: ns}
}

func controlPlane(ns ...string) auth.Identity {
	return auth.Identity{Role: auth.RoleControl, Node: "c", Namespaces: ns}
}

func newAuthority(t *testing.T, c *clock) *auth.Authority {
	t.Helper()
	a, err := auth.NewAuthority(3650*day, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate for 30 days; control planes are on 127.0.0.1.
func issue(t *testing.T, a *auth.Authority, id auth.Identity) auth.Certificate {
	t.Helper()
	r := auth.Request{Identity: id, Lifetime: 30 * day}
	if id.Role == auth.RoleControl {
		r.Names = []string{"127.0.0.1", "control.example"}
	}
	c, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// save writes a certificate to a folder.
func save(t *testing.T, dir string, c auth.Certificate, authority []byte) {
	t.Helper()
	if err := c.Save(dir, authority, true); err != nil {
		t.Fatal(err)
	}
}

// credentials issues and loads the credentials of an identity.
func credentials(t *testing.T, a *auth.Authority, id auth.Identity, c *clock) (*auth.Credentials, string) {
	t.Helper()
	dir := t.TempDir()
	save(t, dir, issue(t, a, id), a.PEM())
	held, err := auth.LoadCredentials(dir, auth.Options{Clock: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return held, dir
}
