// SPDX-License-Identifier: Apache-2.0

// Package bench measures systems that speak HTTP, one beside the other.
//
// What is compared is measured in the same run: in rounds that take turns, in
// reversed order each second round, so that a machine which gets slower or
// busier meanwhile does so to all alike. What is told of two systems is the
// ratio of rounds that stood beside each other: the median of them, with the
// extremes. Absolute figures belong to a machine, ratios travel.
//
// [Compare] does that for any number of addresses. [Run] is the suite in which
// Sluice stands beside other proxies: rows of loads, with the CPU time that
// each proxy took for a request, and goals for the ratios.
//
// Every system is seen through its sockets and what the operating system says
// of its processes, Sluice too.
package bench
