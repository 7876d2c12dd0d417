// SPDX-License-Identifier: Apache-2.0

// Package tcp forwards connections of TCP gateways: the route is decided once
// a connection, by weight or by what is known of it, and bytes are moved both
// ways until both halves have ended.
//
// What a client says first is looked at, and left where it is, if a condition
// asks for the server or the protocol that it names.
package tcp
