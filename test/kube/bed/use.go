// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace makes a namespace for one test and returns its name. It is deleted
// with the test.
func (b *Bed) Namespace(tb testing.TB) string {
	tb.Helper()
	namespaces := b.Client.CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	made, err := namespaces.Create(tb.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
		defer cancel()
		if err := namespaces.Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			tb.Error(err)
		}
	})
	return made.Name
}

// Kubectl runs kubectl with args and returns what it writes to standard output.
// The test ends if it fails.
func (b *Bed) Kubectl(tb testing.TB, args ...string) string {
	tb.Helper()
	return b.kubectl(tb, "", args...)
}

// Apply applies the objects of yaml, those that name no namespace in ns. The
// test ends if one is refused.
func (b *Bed) Apply(tb testing.TB, ns, yaml string) {
	tb.Helper()
	b.kubectl(tb, yaml, "apply", "--namespace", ns, "--filename", "-")
}

// Logs returns what a container of a pod has written so far.
func (b *Bed) Logs(tb testing.TB, ns, pod, container string) string {
	tb.Helper()
	object, err := b.Client.CoreV1().Pods(ns).Get(tb.Context(), pod, metav1.GetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile(b.in(filepath.Join("pods", string(object.UID), container+".log")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	return string(text)
}

// Program returns the path of kubebed, which is linked statically and is
// kubectl, too: kubebed kubectl ARGS.
func (b *Bed) Program() string { return b.program }

// Eventually calls try until it succeeds. If it does not in two minutes, the
// test ends with what try said last; what says what was waited for.
func (b *Bed) Eventually(tb testing.TB, what string, try func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	again := time.NewTicker(glance)
	defer again.Stop()
	var said error
	for {
		err := attempt(ctx, try)
		if err == nil {
			return
		}
		if ctx.Err() == nil { // else it says only that
			said = err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			tb.Fatalf("%s: not in %v: %v; the logs are in %s", what, patience, said, b.Dir)
		}
	}
}

// kubectl runs kubectl with args, which reads input.
func (b *Bed) kubectl(tb testing.TB, input string, args ...string) string {
	tb.Helper()
	all := append([]string{"kubectl", "--kubeconfig", b.Kubeconfig}, args...)
	cmd := exec.CommandContext(tb.Context(), b.program, all...)
	cmd.Stdin = strings.NewReader(input)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		tb.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), problems.String())
	}
	return out.String()
}
