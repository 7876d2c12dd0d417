// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// form says how the content of a stream stands in the text.
type form uint8

const (
	// empty has none: what comes is a fault.
	empty form = iota
	// asIs has the bytes as they come: a content-length says how many.
	asIs
	// byChunks has a chunk for each piece, and trailers behind the last.
	byChunks
	// passedOver has nothing, whatever comes: the head was refused.
	passedOver
)

// content turns the content of a stream into text, and sees to it that it is
// as long as its content-length says (RFC 9113 section 8.1.1).
type content struct {
	form form
	want int64 // as declared; -1: not
	got  int64
}

// appendFraming appends the fields that say where content ends, and the end of
// the head. length is the content-length that the message has, -1 if none.
func appendFraming(b []byte, f form, length int64) []byte {
	switch {
	case f == byChunks:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, '\r', '\n')
	}
	return append(b, '\r', '\n')
}

// textOf bounds the bytes of text that n bytes of content become.
func textOf(n int) int { return n + len("12345678\r\n\r\n") }

// appendData appends the next piece of content to b as text. An empty one is
// nothing: it does not end the text.
func (c *content) appendData(b, data []byte) ([]byte, malformed) {
	if len(data) == 0 || c.form == passedOver {
		return b, wellFormed
	}
	c.got += int64(len(data))
	switch {
	case c.form == empty:
		return b, badContent
	case c.want >= 0 && c.got > c.want:
		return b, badLength
	case c.form == asIs:
		return append(b, data...), wellFormed
	}
	b = strconv.AppendInt(b, int64(len(data)), 16)
	b = append(b, '\r', '\n')
	b = append(b, data...)
	return append(b, '\r', '\n'), wellFormed
}

// appendEnd appends to b what ends the text: END_STREAM came. trailers are
// those of the stream, nil if it has none; where the text has no place for
// them they are dropped.
func (c *content) appendEnd(b []byte, trailers *trailerText) ([]byte, malformed) {
	if c.form == passedOver {
		return b, wellFormed
	}
	if trailers != nil && trailers.fault != wellFormed {
		return b, trailers.fault
	}
	if c.want >= 0 && c.got != c.want {
		return b, badLength
	}
	if c.form != byChunks {
		return b, wellFormed
	}
	b = append(b, '0', '\r', '\n')
	if trailers != nil {
		b = append(b, trailers.lines...)
	}
	return append(b, '\r', '\n'), wellFormed
}

// trailerText turns the header list behind the content into a trailer
// section. What trailers must not say is left to who reads the text.
type trailerText struct{ list }

// reset begins a list.
func (t *trailerText) reset() { t.list.reset(maxTrailers) }

// add takes in the next field of the list.
func (t *trailerText) add(f hpack.HeaderField) {
	switch {
	case !t.counts(&f):
	case t.past:
		t.fault = tooManyTrailers
	case f.Name == "":
		t.fault = badName
	case f.Name[0] == ':':
		t.fault = badPseudo // RFC 9113 section 8.1
	case !only(f.Name, nameByte):
		t.fault = badName
	case !validValue(f.Value):
		t.fault = badValue
	case ofConnection(f.Name):
		t.fault = badConnection
	default:
		t.line(f.Name, f.Value)
	}
}
