// SPDX-License-Identifier: Apache-2.0

// Package arrive brings connections in: it reads what stands before the
// protocol that they are for. That is the PROXY header of those that a balancer
// made for somebody else, and the handshake of TLS. It is the same for all
// ports, whatever is spoken behind it.
package arrive
