// SPDX-License-Identifier: Apache-2.0

// Package origin is a small, fast HTTP/1.1 server to measure proxies against.
//
// What it answers depends on the path alone, so that a scenario can ask for
// bodies of any length and for delays, and an answer costs next to nothing:
// what is left of a measurement is the proxy.
//
//	/                   128 bytes
//	/bytes/N            N bytes, 0 to 1073741824
//	/delay/DURATION     128 bytes after that time, such as 20ms; 10m at most
//	/delay/DURATION/N   N bytes after that time
//
// Anything else is 404. A query does not count, any method will do, and HEAD
// has the head alone. A body that comes with a request is read to its end and
// dropped before the answer. Of the framing of requests it is as strict as a
// proxy should be, so that it tells a proxy that forwards what it must not:
// 400 and the end of the connection.
//
// It keeps connections, answers pipelined requests in order, and speaks
// HTTP/1.0. Its answers have no Date, as it has no clock for them (RFC 9110
// section 6.6.1).
package origin
