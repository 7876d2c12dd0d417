// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/rand/v2"

	"github.com/sluice-mesh/sluice/conditions"
)

// request shows a connection as a conditions.Request: TCP gateways know no
// more of it.
type request forward

var _ conditions.Request = (*request)(nil)

func (*request) Method() string                  { return "" }
func (*request) Host() string                    { return "" }
func (*request) Target() string                  { return "" }
func (*request) Path() string                    { return "" }
func (*request) Query() string                   { return "" }
func (*request) Field(string, int) (string, int) { return "", -1 }
func (r *request) Conn() *conditions.Conn        { return &r.facts }

// Random draws when it is asked first: few conditions ask.
func (r *request) Random() uint32 {
	if !r.drawn {
		r.random, r.drawn = rand.Uint32(), true
	}
	return r.random
}
