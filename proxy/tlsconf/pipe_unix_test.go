// SPDX-License-Identifier: Apache-2.0

//go:build unix

package tlsconf_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// To open a pipe that nobody writes to would wait for ever, and all others with
// it.
func TestPipesAreNotOpened(t *testing.T) {
	b := newBed(t)
	b.put("shop.crt", b.ca.Issue(t, "shop.example").Certificate)
	if err := syscall.Mkfifo(filepath.Join(b.dir, "shop.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "shop.key: is not a regular file"
	if _, err := b.Server(listen(routing.KeyPair{Certificate: "shop.crt", Key: "shop.key"}), "http/1.1"); err == nil || err.Error() != want {
		t.Errorf("Server() = %v, want %q", err, want)
	}
}
