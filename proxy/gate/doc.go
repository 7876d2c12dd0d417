// SPDX-License-Identifier: Apache-2.0

// Package gate says who is let in while there are too many, or memory is
// short, and tells the others so.
//
// What is refused first, and last: new connections, then new requests on
// those that are open; what is under way is never ended. Connections that wait
// for a request are given up before either, the oldest first.
package gate
