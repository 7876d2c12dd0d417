// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/sluice-mesh/sluice/test/kube/bed"
	"github.com/sluice-mesh/sluice/test/kube/kubelet"
)

// roleVariable makes this program one that runs in a pod.
const roleVariable = "SLUICE_TEST_ROLE"

// selfImage is the image of this program.
const selfImage = "example.com/self"

// roles are what this program may be in a pod: each runs until the pod ends
// and returns the code to exit with.
var roles = map[string]func() int{}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		run, ok := roles[role]
		if !ok {
			fmt.Fprintf(os.Stderr, "%s=%q is no role\n", roleVariable, role)
			os.Exit(2)
		}
		os.Exit(run())
	}
	os.Exit(bed.Main(m))
}

// start returns the bed, in which selfImage is this program.
func start(tb testing.TB) *bed.Bed {
	tb.Helper()
	b := bed.Start(tb)
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	b.Images.Set(selfImage, kubelet.Image{Path: self})
	return b
}
