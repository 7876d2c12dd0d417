// SPDX-License-Identifier: Apache-2.0

// Package metrics holds the series in which a proxy counts what happened to
// the traffic of its gateways and routes.
//
// A [Registry] has two sides. Binding looks series up by name, under a lock,
// once for each table. Serving counts through the pointers that binding
// returned: without a lock, an allocation or a string. Counts are spread over
// shards, so that processors do not wait for each other's cache lines, and
// are summed when somebody reads them.
//
// # Counting
//
// Every exchange is counted once: by the route that it was given to, or by its
// gateway if it reached none. The counts of a gateway are the sum of both,
// taken when they are read, with what the routes counted that are gone; so
// they never fall. The two are families of their own, so that a sum over one
// family counts an exchange once. In a chain of gateways each hop counts.
//
// # Memory
//
// A series (one gateway, or one route) has a cell of 1,408 bytes from its first
// exchange on, and another of 1,024 from the first one on that ended in anything
// but 2xx. One that has counted some ten thousand exchanges is given cells of
// its own for the shards that count in it, at most 16,384 of these (38 MiB) in
// all. Series are limited in number, see [Options]; those above the limit share
// one whose label is [Other].
package metrics
