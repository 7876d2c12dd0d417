// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"math/rand/v2"
	"unsafe"

	"github.com/sluice-mesh/sluice/conditions"
)

// request shows a scanned head as a conditions.Request.
type request struct {
	head   *head
	conn   *conditions.Conn
	random uint32 // once drawn
	drawn  bool
}

var _ conditions.Request = (*request)(nil)

func (r *request) Method() string { return view(r.head.bytes(r.head.method)) }

func (r *request) Host() string { return view(r.head.effectiveHost()) }

// Target returns scheme and authority of an absolute form, too.
func (r *request) Target() string {
	h := r.head
	return view(h.bytes(span{h.method.to + 1, h.target.to}))
}

func (r *request) Path() string {
	path, _, _ := bytes.Cut(r.head.originForm(), question)
	return view(path)
}

func (r *request) Query() string {
	_, query, _ := bytes.Cut(r.head.originForm(), question)
	return view(query)
}

func (r *request) Field(name string, from int) (value string, next int) {
	h := r.head
	for i := from; i < len(h.fields); i++ {
		f := &h.fields[i]
		if int(f.name.to-f.name.from) == len(name) && equalFold(h.bytes(f.name), name) {
			return view(h.bytes(f.value)), i + 1
		}
	}
	return "", -1
}

func (r *request) Conn() *conditions.Conn { return r.conn }

// Random draws when it is asked first: few conditions ask.
func (r *request) Random() uint32 {
	if !r.drawn {
		r.random, r.drawn = rand.Uint32(), true
	}
	return r.random
}

// effectiveHost returns the authority that the request is for.
func (h *head) effectiveHost() []byte {
	if h.authority.to > 0 {
		return h.bytes(h.authority)
	}
	return h.bytes(h.host)
}

// originForm returns the target without scheme and authority; "/" stands in
// for an empty path.
func (h *head) originForm() []byte {
	t := h.bytes(h.target)
	if len(t) == 0 {
		return slash
	}
	return t
}

var (
	question = []byte{'?'}
	slash    = []byte{'/'}
)

// view returns b as a string without copying it. The string changes once the
// buffer is used again, so it must not outlive the exchange.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
