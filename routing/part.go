// SPDX-License-Identifier: Apache-2.0

package routing

import "unique"

// Part is a part of a gateway or route that few of them write: it takes one
// word in each, and all that are equal share their value. Parts are compared by
// ==, which compares what they hold. The zero Part holds the zero value.
type Part[T comparable] struct {
	shared unique.Handle[T] // the zero Handle for the zero value, so that each has one form
}

// PartOf returns the Part that holds v.
func PartOf[T comparable](v T) Part[T] {
	if v == *new(T) {
		return Part[T]{}
	}
	return Part[T]{unique.Make(v)}
}

// Written reports whether the value is not the zero value.
func (p Part[T]) Written() bool { return p != Part[T]{} }

// Value returns what the Part holds.
func (p Part[T]) Value() T {
	if !p.Written() {
		return *new(T)
	}
	return p.shared.Value()
}
