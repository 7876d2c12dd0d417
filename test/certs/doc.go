// SPDX-License-Identifier: Apache-2.0

// Package certs makes certificates for tests: an authority with a key of its
// own, and what it vouches for. Keys are of ECDSA on P-256, which is quick to
// make; nothing is read from the machine.
package certs
