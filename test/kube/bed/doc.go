// SPDX-License-Identifier: Apache-2.0

// Package bed is a Kubernetes for tests: a real etcd, kube-apiserver and
// kube-controller-manager in processes of their own, and a kubelet whose
// containers are local processes in network namespaces of their pods.
//
// A package of tests has one bed, which the first test that asks for it starts:
//
//	func TestMain(m *testing.M) { os.Exit(bed.Main(m)) }
//
//	func TestShop(t *testing.T) {
//		b := bed.Start(t)
//		ns := b.Namespace(t)
//		b.Apply(t, ns, shop)
//	}
//
// Tests keep out of each other's way by namespaces. There is no kube-proxy:
// addresses of Services lead nowhere, those of pods do. Names of Services have
// the addresses of their ready pods, for programs that are sealed; see package
// kubelet.
package bed
