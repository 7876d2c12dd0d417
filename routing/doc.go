// SPDX-License-Identifier: Apache-2.0

// Package routing holds the vocabulary of gateways and decides which route
// serves a request. It does no I/O, reads no clock, starts no goroutine and
// draws no random numbers: whatever comes from outside is handed in.
//
// # What is asked for
//
// A [Table] is all that was asked for. It has gateways; each [Gateway] takes
// traffic on a port of its own and for virtual hosts, and spreads it over its
// routes. A [Route] is one branch: it has a weight, its share of what is
// spread, and may have a condition, which says to which requests it applies,
// with a strength, the share of those that it really takes. It leads to an
// address or to another gateway, which then decides in its turn.
//
// Tables are made of documents: Read finds them in a text, Resolve follows
// the references between them. What is wrong in a text is a [Fault], with its
// place; all faults are told at once.
//
// # What it means
//
// [Compile] turns a table into a [Snapshot]: immutable, indexed for look-up
// by name, port and host. A gateway that is not right keeps the form that it
// has in the snapshot before, and a gateway that did not change is the same
// one as before, so that a change costs what it changes. A [Current] holds
// the snapshot on which requests are decided now and swaps it whole.
//
// # What serves a request
//
// [Snapshot.Decide] walks from a gateway to the route that serves a request
// and writes the walk into a [Decision], a [Hop] for each gateway:
//
//   - Conditions are asked in the order of the routes, up to the first that
//     holds. Its strength is drawn; if the draw is won, its route is taken.
//   - If it is lost, or no condition holds, the weights of all routes decide,
//     those with conditions included. Later conditions are not asked. So a
//     route of weight w with a condition of strength s gets s + (1-s)*w of
//     what the condition matches.
//   - A route that leads to another gateway goes on there, through at most
//     MaxDepth gateways.
//
// # How draws are made
//
// A [Split] is a weighted choice, made into a schedule. A draw takes the next
// ticket of the split, and ticket and schedule alone determine the choice:
// shares hold exactly, over any hundred requests if weights are in whole
// percents, and not only in the long run. The weights of a gateway, each
// strength, and what each strength leaves over have splits of their own, so
// that no sequence disturbs another. A split lives on, counter and all, while
// its weights stay. The tickets are handed in ([Draws]), which lets tests and
// explanations walk all of them.
package routing
