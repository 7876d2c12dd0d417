// SPDX-License-Identifier: Apache-2.0

// Package tlsconf turns the files that a table names into what TLS is spoken
// with, and keeps it up to date.
//
// A Store watches the files. What can be used of a change is, by handshakes
// from then on; what cannot, such as a certificate whose key is not written
// yet, is told and shown while the last good one stays. Keys never leave the
// package but inside what crypto/tls needs of them: errors, logs and the
// status name files and what stands in certificates.
package tlsconf
