// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// staticRequest is a request made of its header fields, in the order sent.
type staticRequest struct {
	fields []field
	conn   conditions.Conn
	random uint32
}

type field struct{ name, value string }

// newRequest makes a request of lines "Name: value".
func newRequest(lines ...string) *staticRequest {
	r := &staticRequest{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		r.fields = append(r.fields, field{name, strings.TrimSpace(value)})
	}
	return r
}

func (r *staticRequest) Method() string         { return "GET" }
func (r *staticRequest) Target() string         { return "/" }
func (r *staticRequest) Path() string           { return "/" }
func (r *staticRequest) Query() string          { return "" }
func (r *staticRequest) Conn() *conditions.Conn { return &r.conn }
func (r *staticRequest) Random() uint32         { return r.random }

func (r *staticRequest) Host() string {
	host, _ := r.Field("Host", 0)
	return host
}

func (r *staticRequest) Field(name string, from int) (string, int) {
	for i := from; i < len(r.fields); i++ {
		if len(r.fields[i].name) == len(name) && strings.EqualFold(r.fields[i].name, name) {
			return r.fields[i].value, i + 1
		}
	}
	return "", -1
}
