// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package proxy

import "net"

// acceptable cannot tell here: what waits is lost with the socket.
func acceptable(*net.TCPListener) bool { return false }
