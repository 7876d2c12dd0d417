// SPDX-License-Identifier: Apache-2.0

//go:build unix

package auth_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/control/auth"
)

// An authority is replaced by renewing alone: nobody who trusts both ends up
// trusting one too early.
func TestRenewKeepsWhomTheFolderTrusts(t *testing.T) {
	var c clock
	first, second := newAuthority(t, &c), newAuthority(t, &c)
	server, serverDir := credentials(t, first, controlPlane(auth.Everywhere), &c)
	edge, edgeDir := credentials(t, first, proxy("e", "a/b"), &c)
	late, _ := credentials(t, first, proxy("late", "a/b"), &c) // has nothing new yet
	renew := func(held *auth.Credentials, dir string, id auth.Identity, a *auth.Authority) {
		t.Helper()
		if err := issue(t, a, id).Renew(dir, a.PEM()); err != nil {
			t.Fatal(err)
		}
		if err := held.Look(); err != nil {
			t.Fatal(err)
		}
	}
	meet := func(step string, held *auth.Credentials) {
		t.Helper()
		if _, serverErr, clientErr := shake(t, serverOf(t, server), held.Client("127.0.0.1", nil, "h2")); serverErr != nil || clientErr != nil {
			t.Errorf("%s: %v, %v", step, serverErr, clientErr)
		}
	}
	both := "# who is trusted\n" + strings.TrimSuffix(string(first.PEM()), "\n") // without an end of line
	for _, dir := range []string{serverDir, edgeDir} {
		if err := os.WriteFile(filepath.Join(dir, auth.AuthorityFile), []byte(both), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	renew(edge, edgeDir, proxy("e", "a/b"), second)
	text, err := os.ReadFile(filepath.Join(edgeDir, auth.AuthorityFile))
	if want := both + "\n" + string(second.PEM()); err != nil || string(text) != want {
		t.Fatalf("ca.crt holds %q, %v; want %q", text, err, want)
	}
	renew(server, serverDir, controlPlane(auth.Everywhere), first)
	if err := os.WriteFile(filepath.Join(serverDir, auth.AuthorityFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Look(); err != nil {
		t.Fatal(err)
	}
	meet("a new proxy at an old server", edge)
	meet("an old proxy at an old server", late)
	renew(edge, edgeDir, proxy("e", "a/b"), second)
	if again, err := os.ReadFile(filepath.Join(edgeDir, auth.AuthorityFile)); err != nil || string(again) != string(text) {
		t.Errorf("after another renewal ca.crt holds %q, %v; want what it held", again, err)
	}
	renew(server, serverDir, controlPlane(auth.Everywhere), second)
	meet("a new proxy at a new server", edge)
}

func TestRenewMakesWhatIsNotThere(t *testing.T) {
	var c clock
	a, dir := newAuthority(t, &c), filepath.Join(t.TempDir(), "new")
	if err := issue(t, a, proxy("e", "a/b")).Renew(dir, a.PEM()); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.LoadCredentials(dir, auth.Options{Clock: c.now}); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]fs.FileMode{auth.KeyFile: 0o600, auth.CertificateFile: 0o644, auth.AuthorityFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info.Mode(), err, want)
		}
	}
}

// What cannot be understood may be what keeps a proxy and its control plane
// together.
func TestRenewRefusesADamagedBundle(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	_, dir := credentials(t, a, proxy("e", "a/b"), &c)
	half := string(a.PEM()[:100])
	if err := os.WriteFile(filepath.Join(dir, auth.AuthorityFile), []byte(half), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, auth.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := issue(t, a, proxy("e", "a/b")).Renew(dir, a.PEM()); err == nil || !strings.Contains(err.Error(), "ends inside a block") || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("Renew() = %v, want an error that names the file and what is wrong", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, auth.KeyFile)); err != nil || string(after) != string(before) {
		t.Errorf("the key is another one, %v", err)
	}
}

// A key without its certificate is of no use to whoever starts anew: all can be
// replaced, or nothing is.
func TestRenewReplacesAllOrNothing(t *testing.T) {
	names := []string{auth.AuthorityFile, auth.KeyFile, auth.CertificateFile}
	for _, broken := range names[1:] {
		t.Run("where "+broken+" is a folder", func(t *testing.T) {
			var c clock
			a, other := newAuthority(t, &c), newAuthority(t, &c)
			_, dir := credentials(t, a, proxy("e", "a/b"), &c)
			if err := os.Remove(filepath.Join(dir, broken)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, broken), 0o700); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			err := issue(t, other, proxy("e", "a/b")).Renew(dir, other.PEM())
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, broken)) {
				t.Errorf("Renew() = %v, want an error that names %s", err, broken)
			}
			if after := contents(t, dir); !maps.Equal(after, before) {
				t.Errorf("the folder holds %q, want what it held, unchanged: %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
			}
			if err := issue(t, other, proxy("e", "a/b")).Save(dir, other.PEM(), true); err == nil {
				t.Error("Save() = nil, want an error")
			}
			if after := contents(t, dir); !maps.Equal(after, before) {
				t.Errorf("after Save the folder holds %q, want what it held, unchanged: %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
			}
		})
	}
}

// contents returns what is in a folder by name; folders are empty.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, one := range list {
		text := []byte(nil)
		if !one.IsDir() {
			if text, err = os.ReadFile(filepath.Join(dir, one.Name())); err != nil {
				t.Fatal(err)
			}
		}
		all[one.Name()] = string(text)
	}
	return all
}

// Whoever could read the files can read those that replace them, and nobody
// else.
func TestRenewKeepsModes(t *testing.T) {
	var c clock
	a := newAuthority(t, &c)
	_, dir := credentials(t, a, proxy("e", "a/b"), &c)
	for _, tt := range []struct {
		name, file string
		had, gets  fs.FileMode
	}{
		{"a key for a group", auth.KeyFile, 0o640, 0o640},
		{"a key for its owner", auth.KeyFile, 0o400, 0o400},
		{"a key for everybody is mended", auth.KeyFile, 0o664, 0o640},
		{"a certificate for its owner", auth.CertificateFile, 0o600, 0o600},
		{"a certificate that others may change", auth.CertificateFile, 0o666, 0o666},
		{"a bundle for a group", auth.AuthorityFile, 0o640, 0o640},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.file)
			if err := os.Chmod(path, tt.had); err != nil {
				t.Fatal(err)
			}
			if err := issue(t, a, proxy("e", "a/b")).Renew(dir, a.PEM()); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != tt.gets {
				t.Errorf("mode %v, %v; want %v", info.Mode().Perm(), err, tt.gets)
			}
		})
	}
}

// Root renews the files of a service, which must be able to read them.
func TestRenewKeepsOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to give files to others takes root")
	}
	var c clock
	a := newAuthority(t, &c)
	_, dir := credentials(t, a, proxy("e", "a/b"), &c)
	names := []string{auth.KeyFile, auth.CertificateFile, auth.AuthorityFile}
	for i, name := range names {
		if err := os.Chown(filepath.Join(dir, name), 4711+i, 815+i); err != nil {
			t.Fatal(err)
		}
	}
	if err := issue(t, a, proxy("e", "a/b")).Renew(dir, a.PEM()); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if s := info.Sys().(*syscall.Stat_t); s.Uid != uint32(4711+i) || s.Gid != uint32(815+i) { //nolint:gosec // small numbers
			t.Errorf("%s is of %d:%d, want %d:%d", name, s.Uid, s.Gid, 4711+i, 815+i)
		}
	}
}
