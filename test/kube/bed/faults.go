// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"context"
	"syscall"
	"testing"
)

// AddNode adds a node in a zone. Pods are placed on it in turn with the others.
func (b *Bed) AddNode(t testing.TB, name, zone string) {
	t.Helper()
	if err := b.kubelet.AddNode(t.Context(), name, zone); err != nil {
		t.Fatal(err)
	}
}

// PauseAPIServer has the API server hang: connections stay open, and nothing is
// answered. The returned function lets it go on; the end of the test does, too.
func (b *Bed) PauseAPIServer(t testing.TB) (resume func()) {
	t.Helper()
	if err := b.server.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume = func() { _ = b.server.signal(syscall.SIGCONT) }
	t.Cleanup(resume)
	return resume
}

// KillAPIServer ends the API server at once: connections break, and new ones
// are refused. Its state stays. The end of the test starts it again if
// StartAPIServer did not.
func (b *Bed) KillAPIServer(t testing.TB) {
	t.Helper()
	b.server.kill()
	t.Cleanup(func() { b.revive(context.WithoutCancel(t.Context()), t) })
}

// StartAPIServer starts the API server that KillAPIServer ended, and returns
// when it is ready.
func (b *Bed) StartAPIServer(t testing.TB) {
	t.Helper()
	b.revive(t.Context(), t)
}

// revive starts the API server unless it runs.
func (b *Bed) revive(ctx context.Context, t testing.TB) {
	t.Helper()
	if b.server.runs() {
		return
	}
	if err := b.server.start(); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(ctx); err != nil {
		t.Fatal(err)
	}
}
