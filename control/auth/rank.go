// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"fmt"
	"slices"
)

// Rank is what a person may do. Higher ranks may do all that lower ones may.
// The zero Rank may do nothing.
type Rank uint8

// The ranks.
const (
	Viewer   Rank = iota + 1 // sees everything but secrets
	Operator                 // moves traffic
	Admin                    // changes everything, and issues tokens
)

var ranks = []string{"none", "viewer", "operator", "admin"}

// String returns the rank in lower case, "none" for the zero Rank.
func (r Rank) String() string {
	if int(r) < len(ranks) {
		return ranks[r]
	}
	return fmt.Sprintf("rank(%d)", uint8(r))
}

// ParseRank returns the rank of a name: viewer, operator or admin.
func ParseRank(name string) (Rank, error) {
	if at := slices.Index(ranks, name); at > 0 {
		return Rank(at), nil //nolint:gosec // at is below len(ranks)
	}
	return 0, fmt.Errorf("%.40q is not a rank; viewer, operator or admin", name)
}

// MarshalText returns the name of a rank that is one.
func (r Rank) MarshalText() ([]byte, error) {
	if r < Viewer || r > Admin {
		return nil, fmt.Errorf("%s cannot be granted", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (r *Rank) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRank(string(text))
	return err
}

// Grant gives a rank in a namespace, or Everywhere.
type Grant struct {
	Namespace string `json:"namespace"`
	Rank      Rank   `json:"rank"`
}

// Person is who uses the API. The zero Person may do nothing.
type Person struct {
	Token  string // the ID of the token that was shown
	Name   string // as given when it was issued
	Grants []Grant
}

// String returns who it is, for logs and as the author of changes.
func (p Person) String() string {
	if p.Name == "" {
		return "token " + p.Token
	}
	return p.Name + " (token " + p.Token + ")"
}

// Rank returns the highest rank that is granted in a namespace. Only grants for
// Everywhere count for the namespace Everywhere: what concerns all of them.
func (p Person) Rank(namespace string) (best Rank) {
	for _, g := range p.Grants {
		if g.Namespace == namespace || g.Namespace == Everywhere {
			best = max(best, g.Rank)
		}
	}
	return best
}

// Allow returns a *DeniedError unless the person has at least the rank need in a
// namespace. A need that is no rank is always denied.
func (p Person) Allow(namespace string, need Rank) error {
	has := p.Rank(namespace)
	if need < Viewer || need > Admin || has > Admin || has < need {
		return &DeniedError{Who: p.String(), Namespace: namespace, Need: need, Has: has}
	}
	return nil
}
