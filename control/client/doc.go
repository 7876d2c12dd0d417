// SPDX-License-Identifier: Apache-2.0

// Package client speaks the REST API of the control plane: artifacts with
// their revisions and former versions, weights, what became of a change,
// proxies, events and figures. The commands of sluice are written with it.
//
// # Writing beside others
//
// Whoever reads an artifact gets its revision, and may write on condition that
// it is still the present one (Condition). If it is not, the write fails with
// an *Error of status 412 that holds the present version; nothing was lost.
//
// # What became of a write
//
// A write is answered when it is durable. Written.Change names it, and Await
// tells how many proxies serve it so far, and what keeps the others.
package client
