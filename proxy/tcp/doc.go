// SPDX-License-Identifier: Apache-2.0

// Package tcp forwards connections of TCP gateways: the route is decided once
// a connection, by weight, and bytes are moved both ways until both halves
// have ended.
package tcp
