// SPDX-License-Identifier: Apache-2.0

// Command kubebed is etcd, kube-apiserver, kube-controller-manager and kubectl
// in one program, for tests that need a real Kubernetes:
//
//	kubebed kubectl --kubeconfig FILE get pods
//
// The first argument chooses what it is; the others belong to that program.
// Each runs in a process of its own, since all of them keep flags and
// registries in package variables, and so that a test can stop one of them.
package main

import (
	"fmt"
	"os"

	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: kubebed etcd|kube-apiserver|kube-controller-manager|kubectl [flags]")
	}
	role := os.Args[1]
	// Kubernetes' commands read os.Args by themselves.
	os.Args = append([]string{role}, os.Args[2:]...)
	switch role {
	case "etcd":
		if err := runEtcd(os.Args[1:]); err != nil {
			fail(err)
		}
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fail(fmt.Sprintf("no program is called %q", role))
	}
}

// fail says why on standard error and ends the process.
func fail(why any) {
	fmt.Fprintln(os.Stderr, "kubebed:", why)
	os.Exit(1)
}
