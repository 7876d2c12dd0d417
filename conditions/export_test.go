// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"slices"
	"strings"
)

// ReadACL returns the canonical form of a text as a raw ACL, if it is one.
func ReadACL(text string) (canonical string, ok bool) {
	a, err := parseACL(text)
	if err != nil {
		return "", false
	}
	return a.String(), true
}

// RawACL returns the raw ACL that a condition consists of, in canonical form.
func RawACL(e *Expr) (canonical string, ok bool) {
	if e.op != opTest || e.test.subject != ofRaw {
		return "", false
	}
	return e.test.raw.String(), true
}

// ACLNames returns the names of all that a raw ACL may hold.
func ACLNames() []string {
	names := predefinedNames()
	for i := range aclFetchSpecs {
		names = append(names, aclFetchSpecs[i].names...)
	}
	names = append(names, converterNames()...)
	return append(names, aclMethodNames[:]...)
}

// ProgramNames returns the names of all that a program may hold.
func ProgramNames() []string {
	return slices.Concat(programVariables, programFunctions, programBuiltins, programOperators[:len(programOperators)-1])
}

// AttributeValue returns a text as the value of an attribute of a
// distinguished name.
func AttributeValue(text string) string {
	var b strings.Builder
	writeAttributeValue(&b, text)
	return b.String()
}

// SubjectOf returns what ssl_c_s_dn yields of a connection.
func SubjectOf(conn *Conn, name string) (string, bool) {
	var c aclCursor
	defer c.release()
	t := aclTest{arg: name}
	s, ok := t.ofSubject(conn, &c)
	return strings.Clone(s.text), ok
}
