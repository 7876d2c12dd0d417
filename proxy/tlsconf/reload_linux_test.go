// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is a user to whom no file of a test belongs.
const nobody = 65534

// restrained calls f without the right of root to read every file.
func restrained(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Errorf("setfsuid: %v", err)
			return
		}
		f()
	}()
	<-done
}

// A right to read that is given later changes neither the time nor the size of
// a file.
func TestReloadOnceItMayBeRead(t *testing.T) {
	b := newBed(t)
	p := b.ca.Issue(t, "shop.example")
	pair := b.write("shop", p)
	key := filepath.Join(b.dir, "shop.key")
	old := time.Now().Add(-time.Hour)
	open := func(path string) error { return os.Chmod(path, 0o755) }
	if err := errors.Join(open(filepath.Dir(b.dir)), open(b.dir), open(filepath.Join(b.dir, "shop.crt")), os.Chtimes(key, old, old), os.Chmod(key, 0)); err != nil {
		t.Fatal(err)
	}
	restrained(t, func() {
		if _, err := b.Server(listen(pair), "http/1.1"); err == nil || err.Error() != "shop.key: permission denied" {
			t.Errorf("Server() = %v, want that the key may not be read", err)
		}
	})
	if err := open(key); err != nil {
		t.Fatal(err)
	}
	restrained(t, func() {
		if _, err := b.Server(listen(pair), "http/1.1"); err != nil {
			t.Errorf("Server() = %v once the key may be read", err)
		}
	})
	expectServed(t, b.server(listen(pair)), b.asking(), p)
}
