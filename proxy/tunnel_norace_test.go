// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

// mostBytesOfATunnel bounds heap and stacks, those of both peers included. No
// buffer is held while nothing comes.
const (
	tunnelsAtOnce      = 1000
	mostBytesOfATunnel = 40 << 10
)
