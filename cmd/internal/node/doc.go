// SPDX-License-Identifier: Apache-2.0

// Package node is the data plane of a process: the proxy with its metrics and
// its admin server, which serve whatever tables they are handed.
package node
