// SPDX-License-Identifier: Apache-2.0

package conditions

// ACL shows an ACL to tests.
type ACL struct{ a *acl }

// ParseACL parses an ACL.
func ParseACL(text string) (ACL, error) {
	a, err := parseACL(text)
	if err != nil {
		return ACL{}, err
	}
	return ACL{a}, nil
}

// Holds reports whether the ACL is true of r.
func (a ACL) Holds(r Request) bool { return a.a.holds(r) }

// Trace reports what Holds does, and what was seen.
func (a ACL) Trace(r Request) (holds bool, saw string) { return a.a.trace(r) }

// Equal reports whether both mean the same.
func (a ACL) Equal(b ACL) bool { return a.a.equal(b.a) }

func (a ACL) String() string { return a.a.String() }

// LooksLikeACL reports whether a text was meant to be an ACL.
func LooksLikeACL(text string) bool { return looksLikeACL(text) }
