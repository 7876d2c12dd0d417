// SPDX-License-Identifier: Apache-2.0

// Package stream hands route tables to proxies, and knows what each of them
// serves.
//
// # Sessions
//
// A proxy opens one stream, says who it is and what it holds (Hello), and is
// told of what it lacks from then on. It serves the gateways of the namespaces
// that it claims, and has proven to be for; nothing of any other namespace
// goes to it. A second session of a node with the same namespaces takes the
// place of the first.
//
// Sessions with the same namespaces in the same order share a view: one table,
// encoded once, and one message for all that go from the same table to the
// same next one. Where two namespaces have a gateway of one name, that of the
// namespace which was claimed first is served.
//
// A session has at most one update under way. A proxy that is slow misses
// versions and gets the newest when it has taken the one before: nothing is
// queued for it.
//
// # What proxies say
//
// A proxy acknowledges a table once it serves it (Ack), by its version and by the
// number of the update that brought it: a write to several namespaces may come
// as several tables of one version. Gateways that it does not take are refused
// (Nack) before that; a Nack that names no gateway refuses the whole table. A
// gateway in the served of a later Ack is refused no more. All that it says is
// bounded: counters beyond the bound are dropped, answers are read more slowly.
//
// What is told of a proxy (Heard, Joined, Left) is told in its order: the end of
// a session before anything of the next one, also if that took its place.
//
// A change has converged when every connected proxy of its namespace has
// acknowledged a table that it is in, and refuses no gateway that came with it.
// Proxies that have gone do not count.
package stream
