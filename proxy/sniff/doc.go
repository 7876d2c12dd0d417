// SPDX-License-Identifier: Apache-2.0

// Package sniff reads what a connection says before its protocol proper
// begins: the ClientHello of TLS, which names the server that is asked for,
// and the header of the PROXY protocol, which names the client behind a
// balancer. It parses bytes that were received and does no I/O.
package sniff
