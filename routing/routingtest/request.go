// SPDX-License-Identifier: Apache-2.0

package routingtest

import (
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// Request is a conditions.Request that is written down. Make it with
// NewRequest. It is immutable but for what Conn returns and SetRandom sets.
type Request struct {
	method, host, target string
	fields               []field
	conn                 conditions.Conn
	random               uint32
}

type field struct{ name, value string }

// NewRequest returns a request of host for target, such as "/a?b=c". Fields
// are lines such as "User-Agent: Firefox", in the order sent; one without a
// colon has no value.
func NewRequest(method, host, target string, fields ...string) *Request {
	r := &Request{method: method, host: host, target: target}
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ":")
		r.fields = append(r.fields, field{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return r
}

// Method returns the method.
func (r *Request) Method() string { return r.method }

// Host returns the host as it was given.
func (r *Request) Host() string { return r.host }

// Target returns the target as it was given.
func (r *Request) Target() string { return r.target }

// Path returns what stands in the target before "?".
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.target, "?")
	return path
}

// Query returns what stands in the target after "?".
func (r *Request) Query() string {
	_, query, _ := strings.Cut(r.target, "?")
	return query
}

// Field walks through the fields of a name, as conditions.Request says.
func (r *Request) Field(name string, from int) (value string, next int) {
	for i := from; i < len(r.fields); i++ {
		if f := &r.fields[i]; len(f.name) == len(name) && strings.EqualFold(f.name, name) {
			return f.value, i + 1
		}
	}
	return "", -1
}

// Conn returns the connection, which the caller may fill in.
func (r *Request) Conn() *conditions.Conn { return &r.conn }

// SetRandom sets what Random returns, which is 0 unless set.
func (r *Request) SetRandom(n uint32) { r.random = n }

// Random returns the number that was set.
func (r *Request) Random() uint32 { return r.random }
