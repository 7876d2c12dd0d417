// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package socket

// hungUpFD cannot tell here.
func hungUpFD(uintptr) bool { return false }

// endedFD cannot tell here.
func endedFD(uintptr) bool { return false }
