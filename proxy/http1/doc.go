// SPDX-License-Identifier: Apache-2.0

// Package http1 moves HTTP/1 exchanges: it reads requests from clients,
// has their route decided, sends them to an instance and brings back the
// answer.
//
// Heads are scanned strictly over their raw bytes, which decides framing once
// (RFC 9112 section 6); of heads that have a body, or anything odd, fasthttp's
// parser then gives a second opinion and may only refuse more. What is forwarded is the raw head, less the fields that
// end at a hop and those that a client must not set, plus our own: names,
// case and order go through as sent. Bodies are forwarded by their
// boundaries, never rebuilt.
//
// A connection is one goroutine (serve.go). Exchanges whose request is
// complete in the buffer run inside the wait for the client (package socket);
// a body that is still arriving is pumped by a second goroutine, so that an
// answer may begin before the request has ended (pump.go). An upgrade
// that the instance agrees to ends the exchange, and makes the connection a
// tunnel (upgrade.go, tunnel.go).
//
// A client may speak HTTP/2 (streams.go): then its connection carries streams,
// each of which is served as a connection of its own, and an instance may be
// reached in the same way (package http2). Calls of gRPC are told of failures in
// their own form (grpc.go).
package http1
