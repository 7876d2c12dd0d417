// SPDX-License-Identifier: Apache-2.0

// Package planner makes one table a namespace of what all objects of a source
// say.
//
// # Namespaces
//
// Each namespace is planned by itself: its objects see no others, its ports
// are its own, and what is wrong in one changes nothing in another. All share
// one sequence of versions, so that a later plan has a higher revision,
// whatever its namespace.
//
// # Sources in their order
//
// Where several objects have a document of one kind and name, one of them
// counts: the first that could be read, in the order of origins (Options.Origins:
// api, kubernetes, marathon, files, then all others) and within an origin of
// keys. The others are told so by a fault that names the place of the first. A
// document that is only kept, as its object cannot be read or its absence is
// held back, yields to one that is there, whatever the origins of the two.
//
// # Forms
//
// A gateway that is refused, by reading, resolving, selecting or compiling,
// keeps its last good form, which stays in the table. One that never had any is
// named in Table.Broken. Whoever stays as he was is not refused for a conflict
// with someone new.
//
// # Memory
//
// What cannot be found again in what sources say is kept in a Memory, by
// gateway: the port that it was assigned, the routes that its selector made
// with their weights, and its last good form while it is refused. It is saved
// before a plan that relies on it is published. If that fails, as on a full
// disk, the plan is published all the same, since traffic comes first, and
// saving is tried again with each further plan; Status tells of it. A disk that
// does not answer holds up the plans of the namespaces concerned, for 5 s, and
// nothing else: savings have a goroutine of their own (save.go).
package planner
