// SPDX-License-Identifier: Apache-2.0

//go:build unix

package node_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/routing"
)

// patience bounds how long a test waits for what must come.
const patience = time.Minute

// lines is a log that is counted.
type lines struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// with returns how many lines have a text in them.
func (l *lines) with(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func secret(name, key string) *routing.Secret {
	return &routing.Secret{Namespace: "shop", Name: name, Certificate: []byte("certificate"), Key: []byte(key)}
}

func holds(t *testing.T, dir, name, text string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "shop", name, "pair.pem"))
	if err != nil || !strings.Contains(string(got), text) {
		t.Errorf("the file of %s is %q (%v), want %q in it", name, got, err, text)
	}
}

// hang has the file of a Secret be a pipe that nobody writes to: to read it, to
// see whether it holds what it should, does not return until end is called.
func hang(t *testing.T, dir, name string) (end func()) {
	t.Helper()
	folder := filepath.Join(dir, "shop", name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(folder, "pair.pem")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		t.Helper()
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for who reads
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestWhoNamesASecretWaitsForItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := node.NewSecretFiles(dir, patience, slog.New(slog.DiscardHandler))
	for _, key := range []string{"one", "two", "three"} {
		f.Take(secret("a", key), secret("b", key))
		f.Await("secret:shop/a", "secret:shop/unknown")
		holds(t, dir, "a", key)
	}
	f.Take(secret("a", "four"))
	f.Tidy("secret:shop/a")
	if !f.Rest() {
		t.Fatal("it never rests")
	}
	holds(t, dir, "a", "four")
	if _, err := os.Stat(filepath.Join(dir, "shop", "b")); !os.IsNotExist(err) {
		t.Errorf("the file that nobody names is there: %v", err)
	}
}

// A disk that hangs holds up who needs what it does not take, for a bounded time,
// and nobody else.
func TestADiskThatHangsHoldsUpWhoNeedsIt(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), new(lines)
	f := node.NewSecretFiles(dir, 20*time.Millisecond, slog.New(slog.NewTextHandler(log, nil)))
	end := hang(t, dir, "a")
	defer end()
	f.Take(secret("a", "one"), secret("b", "one"))
	f.Await("secret:shop/elsewhere")
	f.Await()
	if n := log.with("does not take Secrets in time"); n != 0 {
		t.Fatalf("who names none of them has waited: %d", n)
	}
	f.Await("secret:shop/a")
	f.Await("secret:shop/b") // no second one waits for the same
	f.Take(secret("a", "two"), secret("b", "two"))
	f.Tidy("secret:shop/a")
	f.Await("secret:shop/a")
	if n := log.with("does not take Secrets in time"); n != 1 {
		t.Errorf("%d have waited in vain, want the first one alone", n)
	}
	if f.Rest() {
		t.Error("it rests while it writes")
	}
	end()
	for deadline := time.Now().Add(patience); !f.Rest(); {
		if time.Now().After(deadline) {
			t.Fatal("it never rests")
		}
	}
	holds(t, dir, "a", "two")
	holds(t, dir, "b", "two")
	// It is waited for again then.
	again := hang(t, dir, "c")
	f.Take(secret("c", "one"))
	f.Await("secret:shop/c")
	if n := log.with("does not take Secrets in time"); n != 2 {
		t.Errorf("%d have waited in vain, want one each time that it hangs", n)
	}
	again()
	for deadline := time.Now().Add(patience); !f.Rest(); {
		if time.Now().After(deadline) {
			t.Fatal("it never rests")
		}
	}
}
