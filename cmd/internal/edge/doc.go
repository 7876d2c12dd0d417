// SPDX-License-Identifier: Apache-2.0

// Package edge is the verb proxy: a node that serves what a control plane
// hands out, and goes on without it.
package edge
