// SPDX-License-Identifier: Apache-2.0

// Package wire translates between the messages of controlpb and the vocabulary
// of routing, by hand and without loss.
//
// The control plane encodes a table once for all sessions (Encode) and tells
// each of them what it lacks (Table.Complete, Table.Since, Parts). A proxy
// merges that into the table that it has (Receiver).
//
// Reading a message checks what the rest of the program relies on whatever a
// table says: known words, numbers that fit and do not overflow when they are
// added up, addresses that are addresses, rates with a time to count in.
// Whether what is asked for makes sense is for routing.Compile to say.
package wire
