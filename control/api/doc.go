// SPDX-License-Identifier: Apache-2.0

// Package api serves the REST API of the control plane: the artifacts of a
// store as Vamp served them, and what became of them.
//
// # Paths
//
// Everything is below /api/v1 for the default namespace, and below
// /ORGANISATION/ENVIRONMENT/api/v1 for any. Names that hold a slash are written
// as they are or with %2F; the escaped form is needed where something follows
// that could belong to the name, such as /history.
//
// # Texts
//
// The store keeps what a user wrote, byte by byte. What GET answers is made
// from it: with its defaults, and with what only the control plane knows. A
// document that comes back in that form, told by its lookup_name, changes what
// differs from what GET answers now, and leaves comments, references and imports
// of the stored text alone; any other document takes the place of the stored
// text.
//
// # Who may do what
//
// Without tokens everybody on this machine may do everything, and nobody else
// anything. With tokens each request must show one, and what it may do follows
// from the rank that the token has in the namespace. Pages of other origins are
// never let in.
package api
