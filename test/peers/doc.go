// SPDX-License-Identifier: Apache-2.0

// Package peers compares Sluice with programs that others wrote, where it
// promises to behave as they do. Its tests need these programs and so have a
// build tag of their own, peers; make test-peers runs them.
//
// Access control lists: HAProxy evaluates them for the same requests as
// package conditions does, and both must agree on every one. So do they of what
// they see of TLS: the certificates of clients, and what passes through.
//
// TLS: testssl looks for old protocols and for weaknesses with a name, and
// openssl and curl are clients that share no code with ours. By the name that a
// client asks for, gateways of connections choose what HAProxy chooses.
//
// The PROXY protocol: HAProxy sends it to us and gets it from us.
//
// HTTP/2: h2spec holds our server against the RFCs, and h2load has all its
// requests answered whatever becomes of tables and instances meanwhile. gRPC:
// the client and the server of its interoperability tests speak through us.
package peers
