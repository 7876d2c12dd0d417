// SPDX-License-Identifier: Apache-2.0

// Package marathontest is a Marathon to test against, and to try things with: a
// cluster of Marathons, of which one leads, with apps whose tasks may be real
// servers on this machine.
//
// It answers the calls that a gateway makes, and those by which apps are
// deployed, in the shapes that Marathon 1.4 to 1.11 document. It is stricter
// than they are where that finds mistakes of callers: a call says what it
// accepts, and sees only what it asks to have embedded. What goes wrong in
// clusters can be had here by asking for it: elections, lost events, answers
// that hang, break off, or are none.
//
// Nothing of it lasts: a Cluster lives in memory, and ends with its Run.
package marathontest
