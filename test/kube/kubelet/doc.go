// SPDX-License-Identifier: Apache-2.0

// Package kubelet runs pods as local processes. It binds pods to nodes in turn,
// as a scheduler would, and gives each a network namespace with an address that
// the host and the other pods reach through a bridge. The program of a container
// is what a registry of images says. It needs root.
//
// Pods have what those of a real kubelet have: variables and volumes of objects,
// which follow them, tokens of their accounts, claims that keep what is written,
// init containers and sidecars, the users whom they name, probes, a pause before
// their end. All containers of a pod share one root, and volumes are links in
// it. Missing are resource limits, commands in containers, and probes by
// commands or gRPC, which succeed.
package kubelet
