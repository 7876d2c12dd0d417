// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"strings"
)

// Position is a place in a source text. The zero Position is unknown.
type Position struct {
	Source string // file name, or what else names the text; may be empty
	Line   int    // from 1; 0 is unknown
	Column int    // from 1, in characters; 0 is unknown
}

// String returns source:line:column, without the parts that are unknown.
func (p Position) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		if b.Len() > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%d:%d", p.Line, p.Column)
	}
	return b.String()
}

// Severity says what a fault does to the object that it is found in.
type Severity uint8

const (
	// Refused means that the object does not take effect; its last good form
	// stays.
	Refused Severity = iota
	// Warning means that the object takes effect, but not as its author may
	// think.
	Warning
)

// Fault is one thing wrong in what a user wrote. It names its author's place
// and what would be right.
type Fault struct { //nolint:errname // it is shown, counted and kept; an error is the least of it
	Code     string   // stable name, such as GatewayRouteWeightError
	At       Position // where it was written
	Kind     string   // plural kind of the object, such as gateways; empty if unknown
	Name     string   // name of the object; empty if it could not be read
	Path     string   // path within the object, such as routes.canary.weight; may be empty
	Problem  string   // what is wrong, lower case
	Allowed  string   // what is allowed instead; may be empty
	Severity Severity
}

// Error returns "file:line:col: path: what is wrong; what is allowed". The
// path starts with the kind and name of the object where they are known.
func (f *Fault) Error() string {
	var b strings.Builder
	if at := f.At.String(); at != "" {
		b.WriteString(at)
		b.WriteString(": ")
	}
	if f.Severity == Warning {
		b.WriteString("warning: ")
	}
	if path := f.FullPath(); path != "" {
		b.WriteString(path)
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	if f.Allowed != "" {
		b.WriteString("; ")
		b.WriteString(f.Allowed)
	}
	return b.String()
}

// FullPath returns the path from the top: kind, name and path within.
func (f *Fault) FullPath() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{f.Kind, f.Name, f.Path} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ".")
}
