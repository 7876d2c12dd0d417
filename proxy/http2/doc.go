// SPDX-License-Identifier: Apache-2.0

// Package http2 carries conversations of HTTP/1 inside connections of HTTP/2
// (RFC 9113), to clients and to instances.
//
// A Conn is such a connection. One goroutine reads it; it waits for nobody but
// the peer. What belongs to a stream goes through a lane, which is shown to the
// exchange as a connection that carries one message of HTTP/1 after the other,
// each in a stream of its own: so requests that come by HTTP/2 are decided,
// sent, retried and answered by the same code as all others, and in the steady
// state nothing is made anew for one.
//
// What lanes write is gathered in one buffer. Who finds nobody writing it out
// does so, once the others that can run have added theirs, so that the answers
// of several streams share a system call.
//
// What a peer may make a connection do is bounded: streams, header lists,
// windows, and how often it may do what costs it less than us.
package http2
