// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package socket

// peerFD looks which directions have ended. A reset cannot be told from the
// end of one direction here.
func peerFD(fd uintptr) Peer {
	if peekFD(fd) == peekEnded {
		return PeerHalfClosed
	}
	return PeerStays
}

// endedFD cannot tell here.
func endedFD(uintptr) bool { return false }
