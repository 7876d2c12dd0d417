// SPDX-License-Identifier: Apache-2.0

// Package mesh wires a whole gateway mesh into one process: a source of
// gateways, the planner, and the node that serves what is planned.
package mesh
