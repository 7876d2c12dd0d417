// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"context"
	"syscall"
	"testing"
)

// AddNode adds a node in a zone. Pods are placed on it in turn with the others.
func (b *Bed) AddNode(tb testing.TB, name, zone string) {
	tb.Helper()
	if err := b.kubelet.AddNode(tb.Context(), name, zone); err != nil {
		tb.Fatal(err)
	}
}

// PauseAPIServer has the API server hang: connections stay open, and nothing is
// answered. The returned function lets it go on; the end of the test does, too.
func (b *Bed) PauseAPIServer(tb testing.TB) (resume func()) {
	tb.Helper()
	if err := b.server.signal(syscall.SIGSTOP); err != nil {
		tb.Fatal(err)
	}
	resume = func() { _ = b.server.signal(syscall.SIGCONT) }
	tb.Cleanup(resume)
	return resume
}

// KillAPIServer ends the API server at once: connections break, and new ones
// are refused. Its state stays. The end of the test starts it again if
// StartAPIServer did not.
func (b *Bed) KillAPIServer(tb testing.TB) {
	tb.Helper()
	b.server.kill()
	tb.Cleanup(func() { b.revive(context.WithoutCancel(tb.Context()), tb) })
}

// StartAPIServer starts the API server that KillAPIServer ended, and returns
// when it is ready.
func (b *Bed) StartAPIServer(tb testing.TB) {
	tb.Helper()
	b.revive(tb.Context(), tb)
}

// revive starts the API server unless it runs.
func (b *Bed) revive(ctx context.Context, tb testing.TB) {
	tb.Helper()
	if b.server.runs() {
		return
	}
	if err := b.server.start(); err != nil {
		tb.Fatal(err)
	}
	if err := b.ready(ctx); err != nil {
		tb.Fatal(err)
	}
}
