// SPDX-License-Identifier: Apache-2.0

package origin

import "bytes"

// maxLine is how many bytes a line between chunks may have, and maxTrailers
// how many all lines after the last chunk.
const (
	maxLine     = 8 << 10
	maxTrailers = 64 << 10
)

// part is what comes next of a body.
type part uint8

const (
	nothing  part = iota // the body is complete
	length               // left bytes to the end
	size                 // the line with the size of a chunk
	chunk                // left bytes of a chunk
	gap                  // the end of the line behind a chunk
	trailers             // lines up to an empty one, of left bytes at most
)

// body is what is still to come of a request's body. The zero body is
// complete.
type body struct {
	next part
	left int64
}

func bodyOf(h head) body {
	switch {
	case h.chunked:
		return body{next: size}
	case h.length > 0:
		return body{next: length, left: h.length}
	}
	return body{}
}

// drop reads as much of the body as is in b and returns how many bytes that
// are. The others belong to a line that is not complete, or to what follows
// the body. It is not ok if the chunks are not what they should be.
func (d *body) drop(b []byte) (n int, ok bool) {
	for d.next != nothing {
		var k int
		if d.next == length || d.next == chunk {
			k = d.bytes(b[n:])
			ok = true
		} else {
			k, ok = d.line(b[n:])
		}
		n += k
		if k == 0 || !ok {
			return n, ok
		}
	}
	return n, true
}

func (d *body) bytes(b []byte) (n int) {
	k := min(d.left, int64(len(b)))
	if d.left -= k; d.left == 0 {
		if d.next == chunk {
			d.next = gap
		} else {
			d.next = nothing
		}
	}
	return int(k)
}

func (d *body) line(b []byte) (n int, ok bool) {
	line, n, ok := cutLine(b[:min(len(b), maxLine)])
	if !ok || n == 0 {
		return 0, ok && len(b) < maxLine
	}
	switch d.next {
	case gap:
		d.next = size
		return n, len(line) == 0
	case trailers:
		if len(line) == 0 {
			d.next = nothing
			return n, true
		}
		d.left -= int64(n)
		return n, d.left >= 0 && bytes.IndexByte(line, ':') > 0
	default:
		return n, d.size(line)
	}
}

// size reads the line in front of a chunk: hexadecimal digits, and maybe
// extensions, which have no meaning here.
func (d *body) size(line []byte) bool {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 {
		return false
	}
	var n int64
	for _, c := range digits {
		v, ok := hexDigit(c)
		if !ok {
			return false
		}
		n = n<<4 | int64(v)
	}
	d.next, d.left = chunk, n
	if n == 0 {
		d.next, d.left = trailers, maxTrailers
	}
	return true
}

func hexDigit(c byte) (v byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
