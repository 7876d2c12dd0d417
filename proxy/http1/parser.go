// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"io"
	"sync"

	"github.com/valyala/fasthttp"
)

// parser gives fasthttp's opinion of a request head. It may only refuse more
// than our scan: where the two read a head differently, it is refused.
type parser struct {
	header fasthttp.RequestHeader
	reader *bufio.Reader
	source headReader
}

// headReader is an io.Reader over one head.
type headReader struct{ rest []byte }

func (r *headReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// usualHead is the size of head that a parser's own buffer holds.
const usualHead = 4 << 10

func newParser() *parser {
	p := new(parser)
	p.header.DisableNormalizing() // no name is looked up in it
	p.reader = bufio.NewReaderSize(&p.source, usualHead)
	return p
}

// parsers holds those that are not in use. One that was used a moment ago is
// in the processor's caches, which one for each request under way is not.
var parsers = sync.Pool{New: func() any { return newParser() }}

// agree reports whether fasthttp reads the head as our scan did. A plain head
// is not read a second time.
func agree(h *head) bool {
	if h.plain() {
		return true
	}
	p := parsers.Get().(*parser)
	ok := p.agrees(h)
	parsers.Put(p)
	return ok
}

// plain reports whether a head is such that there are no two ways to read it:
// no body, the origin form, only visible ASCII and spaces. What differs between
// readers is framing, forms of the target, and odd bytes. FuzzScanRequest shows
// that fasthttp reads every plain head as we do.
func (h *head) plain() bool {
	return h.seen&framingKinds == 0 && !h.odd && h.authority.to == 0 && h.raw[h.target.from] == '/'
}

// agrees reports whether fasthttp reads the head as our scan did: the same
// method, target and framing.
func (p *parser) agrees(h *head) bool {
	p.source.rest = h.raw
	p.reader.Reset(&p.source)
	reader := p.reader
	if len(h.raw) > usualHead {
		reader = bufio.NewReaderSize(&p.source, len(h.raw))
	}
	if err := p.header.Read(reader); err != nil {
		return false
	}
	if !bytes.Equal(p.header.Method(), h.bytes(h.method)) {
		return false
	}
	switch n := p.header.ContentLength(); {
	case h.chunked:
		return n == -1
	case h.length >= 0:
		return int64(n) == h.length
	default:
		return n <= 0 // no body; fasthttp says 0 or, for methods without one, -2
	}
}
