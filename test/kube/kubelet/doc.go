// SPDX-License-Identifier: Apache-2.0

// Package kubelet runs pods as local processes. It binds pods to nodes in turn,
// as a scheduler would, and gives each a network namespace with an address that
// the host and the other pods reach through a bridge. The program of a container
// is what a registry of images says. It needs root.
package kubelet
