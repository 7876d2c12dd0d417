// SPDX-License-Identifier: Apache-2.0

// Package store keeps what users ask for: artifacts by namespace with their
// former versions, and beside them the small values, leases and events of
// the control plane.
//
// # Revisions
//
// Every Apply that changes artifacts makes exactly one revision, the next
// number of the present epoch, whatever the number of its changes. Values,
// leases and events make none: they do not concern proxies. An epoch is the
// life of one store; a store that is made, or restored from a backup, begins
// a new one, so that nobody takes revision 7 of a former life for the
// present one. What is numbered without an epoch (events, terms of leases,
// revisions of values) goes on after a restoration with numbers that were never
// handed out, above all former ones.
//
// # Watching
//
// A watch reads the log of commits at the pace of whoever ranges over it.
// Nothing is queued for it: a watcher that is slower than the log is long
// gets [ErrCompacted] and lists anew, and costs nobody else anything.
//
// # Durability
//
// What a method acknowledged survives the end of the process and of the
// machine; what it did not acknowledge is there whole or not at all. [Open]
// keeps a store in one file of bbolt (files bolt_*.go). Each of its commits
// waits for the disk twice, for its pages and then for the page that makes
// them count, and once more where the file grows: with a single sync, a power
// failure could bring that page to the disk without the others. Writers that
// come together are committed together and share these syncs (BenchmarkPut).
// Package storetest holds what every implementation has to keep.
package store
