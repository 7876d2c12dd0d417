// SPDX-License-Identifier: Apache-2.0

// Package report makes of the series of a proxy what the control plane is told
// of them: those that changed, with what they counted since the proxy started.
//
// # Finding what changed
//
// A table has some ten thousand routes, of which few serve at a time. Of a
// route the reporter keeps how many exchanges had begun on it, and whether any
// was in flight when it was told last. One on which none began since, with
// none in flight, is passed by with three loads: it is not read, and makes no
// garbage.
//
// # What is told
//
// Families have the names and labels of package metrics, and these only:
// requests by class, both durations, bytes, exchanges in flight, what decided,
// failures by reason, the share that is asked for, instances by state and
// their ejections, and of gateways and conditions what there is of it. Values
// count from the start of the process. Of a histogram only those bounds are
// told that a bucket which is not empty lies between.
//
// What is gone is told as such: of a gateway or route a duration without
// bounds that counted nothing, of a condition no evaluations. What was told of
// it before is over, and it begins at 0 if it comes back.
package report
