// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// revive starts the API server unless it runs, and waits for the controllers to
// work again: they come back to it one by one, some after a minute.
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
	if err := b.controlled(ctx); err != nil {
		tb.Fatal(err)
	}
}

// controlled returns once a Deployment without pods has been seen by the
// controllers of Deployments and of ReplicaSets.
func (b *Bed) controlled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	none, labels := int32(0), map[string]string{"app": "revived"}
	deployments := b.Client.AppsV1().Deployments(metav1.NamespaceDefault)
	made, err := deployments.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "revived-"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "none", Image: "none"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = deployments.Delete(context.WithoutCancel(ctx), made.Name, metav1.DeleteOptions{}) }()
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		sets, err := b.Client.AppsV1().ReplicaSets(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: "app=revived"})
		if err == nil && slices.ContainsFunc(sets.Items, func(s appsv1.ReplicaSet) bool {
			return s.Status.ObservedGeneration > 0 && metav1.IsControlledBy(&s, made)
		}) {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("the controllers do not work again: %w", cmp.Or(err, ctx.Err()))
		}
	}
}
