// SPDX-License-Identifier: Apache-2.0

// Package proxy is the data plane: it listens where gateways take traffic,
// has each exchange decided on the present generation, and moves its bytes.
// Snapshots are handed in; what becomes of them is reported by Status.
package proxy
