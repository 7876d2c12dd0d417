// SPDX-License-Identifier: Apache-2.0

// Package marathon is the source of what a Marathon says: which apps run
// where, and which gateways their labels ask for.
//
// Events only say that something has changed, never what: what there is comes
// from snapshots, GET /v2/apps with the tasks inside, or from GET /v2/apps/ID
// where few apps are concerned (events.go, watch.go, client.go). What is read
// is cut at once to the fields that count (objects.go, read.go). Everything
// from there to the updates is pure: apps go in, whole states come out.
//
// Nothing is ever written to Marathon.
package marathon
