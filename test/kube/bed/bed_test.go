// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/test/kube/bed"
)

func TestMain(m *testing.M) {
	if version := os.Getenv(shopVariable); version != "" {
		os.Exit(runShop(version))
	}
	os.Exit(bed.Main(m))
}

func TestKubectlSeesANamespaceThatATestMade(t *testing.T) {
	b := bed.Start(t)
	ns := b.Namespace(t)
	if out := b.Kubectl(t, "get", "namespaces", "--output", "name"); !strings.Contains(out, "namespace/"+ns) {
		t.Errorf("kubectl get namespaces = %q, want %s among them", out, ns)
	}
}
