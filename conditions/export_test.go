// SPDX-License-Identifier: Apache-2.0

package conditions

import "slices"

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
