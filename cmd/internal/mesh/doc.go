// SPDX-License-Identifier: Apache-2.0

// Package mesh wires a whole gateway mesh into one process: a source of
// gateways, the planner, the compiler, the proxy, its metrics and its admin
// server.
package mesh
