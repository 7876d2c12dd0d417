// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package socket

// pendingFD cannot tell here.
func pendingFD(uintptr) int { return 0 }
