// SPDX-License-Identifier: Apache-2.0

// Package discovery says what a source of gateways is, and folds bursts of
// what sources say into few batches.
//
// A source tells the whole state of one object at a time, never a
// difference, so that whatever is said next about an object heals whatever
// was lost about it before. Each source has a package of its own below this
// one and passes the contract suite in discoverytest.
package discovery
