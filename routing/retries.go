// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Retries say what is tried again, and how often, when an instance fails.
// Comparable.
type Retries struct {
	Attempts int      // instances that are tried after the first one
	Statuses Statuses // the answers after which another instance is asked
	// Methods may be sent twice, beside those that are safe (RFC 9110 section
	// 9.2.1); the first empty one ends them.
	Methods [MaxRetryMethods]string
	// Budget is the share of the exchanges under way on a route that may be
	// retries, beside Spare of them.
	Budget Weight
	Spare  int64
	// Written tells what a route says from the zero Retries, which is not
	// written.
	Written bool
}

// MaxRetryMethods bounds the methods that a route declares.
const MaxRetryMethods = 8

// DefaultRetries returns the Retries of a route that says nothing.
func DefaultRetries() Retries { return Retries{Attempts: 2, Budget: 20_00, Spare: 3} }

// Repeats reports whether a request of a method that is not safe may be sent
// twice.
func (r *Retries) Repeats(method string) bool {
	for _, m := range &r.Methods {
		if m == "" {
			return false
		}
		if m == method {
			return true
		}
	}
	return false
}

// Allowed returns how many retries may be under way at once on a route on which
// so many exchanges are.
func (r *Retries) Allowed(active uint64) int64 {
	return r.Spare + int64(active)*int64(r.Budget)/int64(FullWeight)
}

// Statuses is a set of statuses from 400 to 599. Comparable.
type Statuses [4]uint64

const (
	firstStatus = 400
	lastStatus  = 599
)

// Add adds a status from 400 to 599.
func (s *Statuses) Add(status int) {
	i := uint(status - firstStatus)
	s[i/64] |= 1 << (i % 64)
}

// Has reports whether a status is one of the set. Any number may be asked for.
func (s *Statuses) Has(status int) bool {
	i := uint(status - firstStatus)
	return i < 64*uint(len(s)) && s[i/64]&(1<<(i%64)) != 0
}

// Empty reports whether the set has none.
func (s *Statuses) Empty() bool { return *s == Statuses{} }

// String returns the statuses in order, such as "502, 503".
func (s *Statuses) String() string {
	var list []string
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			list = append(list, strconv.Itoa(firstStatus+64*i+bits.TrailingZeros64(word)))
		}
	}
	return strings.Join(list, ", ")
}

// retries returns what a route says, nil if it says nothing.
func (r *Route) retries() *Retries {
	said := r.Retries.Value()
	if !said.Written {
		return nil
	}
	said.Written = false
	return &said
}

// retryText says for people what is tried again, if the route says so.
func (r *CompiledRoute) retryText() string {
	if r.Retries == nil {
		return ""
	}
	return r.Retries.text()
}

// text says for people what is tried again.
func (r *Retries) text() string {
	if r.Attempts == 0 {
		return "no other instance is tried"
	}
	text := fmt.Sprintf("up to %d more instances are tried", r.Attempts)
	if r.Attempts == 1 {
		text = "one more instance is tried"
	}
	if !r.Statuses.Empty() {
		text += ", also after an answer " + r.Statuses.String()
	}
	safe := "GET, HEAD, OPTIONS and TRACE"
	if r.Methods[0] != "" {
		safe = strings.TrimRight("GET, HEAD, OPTIONS, TRACE, "+strings.Join(r.Methods[:], ", "), ", ")
	}
	return fmt.Sprintf("%s; once it was sent only %s; at most %v of the requests under way and %d", text, safe, r.Budget, r.Spare)
}
