// SPDX-License-Identifier: Apache-2.0

//go:build race

package proxy_test

// Fewer here: the race detector makes all slow, and what takes the place of raw
// sockets holds buffers.
const (
	tunnelsAtOnce      = 200
	mostBytesOfATunnel = 200 << 10
)
