// SPDX-License-Identifier: Apache-2.0

// Package agent is a proxy's end of the control plane: it keeps a session with
// one of several servers, has the tables served that they send, tells what
// became of them, and keeps the last good one on disk.
//
// # What is believed
//
// Nothing that a control plane says or fails to say takes away what is served,
// but by rule. A session that ends, or says what cannot be, leaves everything
// as it is. A table that is older than the one that is served, in the same
// epoch, is ignored. In the first table of another epoch, which is that of a
// restored or lost store, gateways may be missing only because the store
// forgot them: those, and gateways that lost more than half of their
// instances, are kept as they were for a minute, or until somebody confirms
// it. So are all gateways if a session of the same epoch begins with a table
// that has none.
package agent
