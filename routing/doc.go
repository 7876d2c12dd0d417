// SPDX-License-Identifier: Apache-2.0

// Package routing holds the vocabulary of gateways and decides which route
// serves a request. It does no I/O, reads no clock and starts no goroutine.
package routing
