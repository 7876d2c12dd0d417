// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package gate

// descriptors returns a number of connections that is large for one process:
// there is no limit to be asked for.
func descriptors() int { return 1 << 16 }
