// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// Traffic goes on while the API server is gone, over a restart, too; what the
// API of Sluice takes meanwhile is served. It has the bed to itself.
func TestTheAPIServerIsLost(t *testing.T) { //nolint:paralleltest // others need the API server
	b := start(t)
	ns := b.Namespace(t)
	first, second := freeport.One(t), freeport.One(t)
	gateway := "name: %s\nport: %d\nselector: label(app)(sava-product) && label(version)((.*))\n"
	b.Apply(t, ns, release("1.0.3", 2))
	b.Kubectl(t, "rollout", "status", "deployment/sava-product-1.0.3", "--namespace", ns, "--timeout", "60s")
	s := newSluice(t, b, ns)
	s.run(fmt.Sprintf(gateway, "first", first), "apply", "-f", "-")
	answers := answering(t, b, first)
	both := func(_, pods map[string]int) bool { return len(pods) == 2 }
	answers("both pods answer", both)

	resume := b.PauseAPIServer(t)
	answers("both answer while it hangs", both)
	resume()

	b.KillAPIServer(t)
	b.Eventually(t, "it is told that what is known is stale", func(ctx context.Context) error {
		text, err := s.readyz(ctx)
		if err == nil && !strings.Contains(text, "[+] kubernetes: stale since ") {
			err = errors.New(text)
		}
		return err
	})
	answers("both answer while it is gone", both)
	s.stop()
	s.start()
	answers("both answer after a restart", both)
	s.run(fmt.Sprintf(gateway, "second", second), "apply", "-f", "-")
	answering(t, b, second)("both answer at a new gateway", both)

	b.StartAPIServer(t)
	// Controllers take their time after such a loss, which is not ours.
	pod, _, _ := strings.Cut(b.Kubectl(t, "get", "pods", "--namespace", ns, "--output", "jsonpath={.items[*].metadata.name}"), " ")
	b.Kubectl(t, "label", "--overwrite", "--namespace", ns, "pod/"+pod, "app=other")
	answers("what changes is seen again", func(_, pods map[string]int) bool { return len(pods) > 0 && pods[pod] == 0 })
	b.Eventually(t, "nothing is stale any more", func(ctx context.Context) error {
		text, err := s.readyz(ctx)
		if err == nil && strings.Contains(text, "stale") {
			err = errors.New(text)
		}
		return err
	})
}
