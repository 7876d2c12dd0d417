// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

func secretOf(name string, p certs.Pair) *routing.Secret {
	return &routing.Secret{Namespace: "shop", Name: name, Certificate: p.Certificate, Key: p.Key}
}

// withSecrets gives a bed a store with a folder of Secrets.
func withSecrets(t *testing.T) (*bed, *tlsconf.Secrets) {
	t.Helper()
	b := newBed(t)
	secrets := tlsconf.NewSecrets(filepath.Join(b.dir, "a*[b]?", "secrets")) // what a pattern would take for another
	b.Store = tlsconf.New(tlsconf.Options{Dir: b.dir, SecretsDir: secrets.Dir(), Metrics: b.metrics})
	return b, secrets
}

func put(t *testing.T, s *tlsconf.Secrets, all ...*routing.Secret) {
	t.Helper()
	if err := s.Put(all); err != nil {
		t.Fatal(err)
	}
}

// files returns the names of all files below a folder, and fails if others
// than their owner may read them.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		if !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestSecretIsServedAndRenewed(t *testing.T) {
	b, secrets := withSecrets(t)
	first, next := b.ca.Issue(t, "shop.example"), b.ca.Issue(t, "shop.example")
	pair := routing.KeyPair{Certificate: "secret:shop/web", Key: "secret:shop/web"}
	if _, err := b.Server(listen(pair), "http/1.1"); err == nil || !strings.HasPrefix(err.Error(), "secret:shop/web: has not come") {
		t.Fatalf("Server() = %v before the Secret came", err)
	}
	put(t, secrets, secretOf("web", first))
	s := b.server(listen(pair))
	expectServed(t, s, b.asking(), first)
	put(t, secrets, secretOf("web", next))
	b.Look(t.Context())
	expectServed(t, s, b.asking(), next)
	put(t, secrets, &routing.Secret{Namespace: "shop", Name: "web", Certificate: first.Certificate, Key: next.Key})
	b.Look(t.Context())
	expectServed(t, s, b.asking(), next) // what does not match is not taken
	if got := files(t, secrets.Dir()); !slices.Equal(got, []string{"shop/web/pair.pem"}) {
		t.Errorf("the files are %q", got)
	}
}

func TestSecretVouchesForClients(t *testing.T) {
	b, secrets := withSecrets(t)
	p := b.ca.Issue(t, "shop.example")
	people := secretOf("people", certs.Pair{})
	people.CA = b.ca.PEM
	put(t, secrets, secretOf("web", p), people)
	asks := listen(routing.KeyPair{Certificate: "secret:shop/web", Key: "secret:shop/web"})
	asks.ClientAuth, asks.ClientCA = routing.ClientAuthRequired, "secret:shop/people"
	s := b.server(asks)
	client := b.asking()
	client.Certificates = []tls.Certificate{b.ca.With(certs.Client()).Issue(t, "ann").TLS()}
	expectServed(t, s, client, p)
}

func TestSecretsWithoutFolder(t *testing.T) {
	b := newBed(t)
	pair := routing.KeyPair{Certificate: "secret:shop/web", Key: "secret:shop/web"}
	if _, err := b.Server(listen(pair)); err == nil || !strings.HasPrefix(err.Error(), "secret:shop/web: has not come") {
		t.Errorf("Server() = %v, want that there is no such Secret", err)
	}
}

func TestSecretsThatAreNotNeededGo(t *testing.T) {
	_, secrets := withSecrets(t)
	nobody := func(string) bool { return false }
	p := certs.New(t).Issue(t, "shop.example")
	other := &routing.Secret{Namespace: "cart", Name: "web", Certificate: p.Certificate, Key: p.Key, CA: p.Certificate}
	put(t, secrets, secretOf("a", p), secretOf("b", p), other)
	tidy := func(named func(string) bool, want ...string) {
		t.Helper()
		if err := secrets.Tidy(named); err != nil {
			t.Fatal(err)
		}
		if got := files(t, secrets.Dir()); !slices.Equal(got, want) {
			t.Errorf("the files are %q, want %q", got, want)
		}
	}
	tidy(nobody, "cart/web/ca.pem", "cart/web/pair.pem", "shop/a/pair.pem", "shop/b/pair.pem")
	put(t, secrets, secretOf("a", p))
	tidy(func(ref string) bool { return ref == "secret:shop/b" }, "shop/a/pair.pem", "shop/b/pair.pem")
	tidy(nobody, "shop/a/pair.pem")
	secrets = tlsconf.NewSecrets(secrets.Dir()) // as after a start
	tidy(nobody, "shop/a/pair.pem")
	put(t, secrets)
	tidy(nobody)
	if left, _ := os.ReadDir(secrets.Dir()); len(left) > 0 {
		t.Errorf("folders are left: %v", left)
	}
}

func TestSecretsAreWrittenOnce(t *testing.T) {
	_, secrets := withSecrets(t)
	p := certs.New(t).Issue(t, "shop.example")
	put(t, secrets, secretOf("a", p))
	path := filepath.Join(secrets.Dir(), "shop/a/pair.pem")
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	secrets = tlsconf.NewSecrets(secrets.Dir())
	put(t, secrets, secretOf("a", p))
	if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) {
		t.Errorf("a Secret that did not change was written again: %v", err)
	}
}

// What an end in the middle of writing left, which may be a key, goes with the
// next start.
func TestDraftsOfSecretsGo(t *testing.T) {
	_, secrets := withSecrets(t)
	p := certs.New(t).Issue(t, "shop.example")
	put(t, secrets, secretOf("a", p), secretOf("b", p))
	for _, called := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(secrets.Dir(), "shop", called, ".draft-1"), p.Key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secrets = tlsconf.NewSecrets(secrets.Dir())
	put(t, secrets, secretOf("a", p))
	if got, want := files(t, secrets.Dir()), []string{"shop/a/pair.pem", "shop/b/pair.pem"}; !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
}

func TestSecretsThatCannotBeWritten(t *testing.T) {
	_, secrets := withSecrets(t)
	p := certs.New(t).Issue(t, "shop.example")
	in := filepath.Join(secrets.Dir(), "shop")
	if err := errors.Join(os.MkdirAll(secrets.Dir(), 0o700), os.WriteFile(in, nil, 0o600)); err != nil { // where the folder belongs
		t.Fatal(err)
	}
	escaping := &routing.Secret{Namespace: "..", Name: "x", Certificate: p.Certificate, Key: p.Key}
	err := secrets.Put([]*routing.Secret{secretOf("a", p), escaping})
	if err == nil || !strings.Contains(err.Error(), "secret:shop/a: ") || !strings.Contains(err.Error(), "secret:../x: is no name") {
		t.Fatalf("Put() = %v, want both named", err)
	}
	if err := os.Remove(in); err != nil {
		t.Fatal(err)
	}
	put(t, secrets, secretOf("a", p)) // it is tried again
	if got := files(t, secrets.Dir()); !slices.Equal(got, []string{"shop/a/pair.pem"}) {
		t.Errorf("the files are %q", got)
	}
}

// The files of Secrets cannot be named as such, by whatever way.
func TestFilesOfSecretsAreNotNamed(t *testing.T) {
	b, secrets := withSecrets(t)
	put(t, secrets, secretOf("web", b.ca.Issue(t, "shop.example")))
	if err := os.Symlink(secrets.Dir(), filepath.Join(b.dir, "link")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(secrets.Dir(), "shop", "web", "pair.pem")
	relative, err := filepath.Rel(b.dir, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, relative, "link/shop/web/pair.pem", filepath.Dir(file) + "/../web/pair.pem"} {
		_, err := b.Server(listen(routing.KeyPair{Certificate: name, Key: name}))
		if err == nil || !strings.Contains(err.Error(), "is the file of a Secret") {
			t.Errorf("Server() = %v with %s, want it refused", err, name)
		}
	}
}
