// SPDX-License-Identifier: Apache-2.0

// Package socket waits for TCP connections and moves their bytes with as few
// system calls as the kernel needs.
//
// A net.Conn tries a read before it parks its goroutine, which on a proxy
// nearly always finds nothing. Here a whole connection is served inside one
// call of syscall.RawConn.Read: its callback reads, hands the bytes on, and
// parks the goroutine without trying again. Under the race detector, and on
// systems other than Linux, ordinary calls of net.Conn take its place behind
// the same functions.
//
// A connection may speak TLS: crypto/tls then stands between it and its
// socket, and is told that nothing is there where a read would wait inside
// that callback, so that it costs no more system calls than a plain one. What
// moves bytes inside the kernel copies them there.
//
// A connection may also be a conversation inside another one (carry.go), such as
// a stream of HTTP/2: whoever uses it need not know.
//
// Deadlines are a number a connection, looked at by one sweep for all of
// them, so that an exchange arms no timer. The same sweep judges peers that
// are waited for by what the kernel has counted.
package socket
