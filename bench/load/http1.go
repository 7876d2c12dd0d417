// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
)

// http1 is HTTP/1.1 as a client sees it (RFC 9112): one request at a time. It
// is strict: lines end in CRLF, lengths are unambiguous, fields are not folded.
type http1 struct {
	asks []http1Ask // by index of the mix
	step step
	ask1 *http1Ask // what is being answered

	held   []byte // of a line that is not complete
	budget int    // bytes that lines may still have
	left   int64  // bytes of the body, or of the chunk, that are due

	status             int
	minor              byte // of the version
	length             int64
	lengthText         []byte // the value of Content-Length, nil: none
	lengthStore        [18]byte
	chunked            bool
	closes, keepsAlive bool
}

// http1Ask is what there is to know of a request of the mix.
type http1Ask struct {
	wire   []byte
	noBody bool
	last   bool // it ends its connection
}

// step is what comes next in an answer.
type step int

const (
	atNothing step = iota // no answer is due
	atStatus
	atField
	atLength
	atChunkSize
	atChunk
	atChunkEnd
	atTrailer
	atClose // the body goes on until the connection ends
)

// Bounds of what has no end in sight.
const (
	maxHead      = 64 << 10
	maxChunkLine = 4 << 10
)

// protocolPrefix is how each answer begins.
const protocolPrefix = "HTTP/1."

// asksOf reads what the requests of a mix say of themselves.
func asksOf(requests []Request) []http1Ask {
	asks := make([]http1Ask, len(requests))
	for i, r := range requests {
		asks[i] = http1Ask{
			wire:   r.Wire,
			noBody: r.NoBody || bytes.HasPrefix(r.Wire, []byte("HEAD ")),
			last:   endsConnection(r.Wire),
		}
	}
	return asks
}

// endsConnection tells whether a request says that it is the last one.
func endsConnection(wire []byte) bool {
	first, rest, _ := bytes.Cut(wire, []byte("\r\n"))
	var closes, keepsAlive bool
	for len(rest) > 0 {
		var line []byte
		if line, rest, _ = bytes.Cut(rest, []byte("\r\n")); len(line) == 0 {
			break
		}
		if name, value, ok := field(line); ok && fold(name, "connection") {
			closes = closes || listed(value, "close")
			keepsAlive = keepsAlive || listed(value, "keep-alive")
		}
	}
	return closes || bytes.HasSuffix(first, []byte(" HTTP/1.0")) && !keepsAlive
}

func (h *http1) lanes() int { return 1 }

func (h *http1) reset() []byte {
	h.step = atNothing
	return nil
}

func (h *http1) ask(_ int, request int32) []byte {
	h.ask1 = &h.asks[request]
	h.expectHead()
	return h.ask1.wire
}

// expectHead readies h for the head of an answer.
func (h *http1) expectHead() {
	h.step, h.held, h.budget = atStatus, h.held[:0], maxHead
	h.lengthText, h.chunked, h.closes, h.keepsAlive = nil, false, false, false
}

func (h *http1) take(b []byte) (n int, a answer, done bool, err error) {
	rest := b
	for len(rest) > 0 {
		switch h.step {
		case atNothing:
			return 0, answer{}, false, errProtocol
		case atLength, atChunk:
			k := min(h.left, int64(len(rest)))
			rest, h.left = rest[k:], h.left-k
			if h.left > 0 {
				continue
			}
			if h.step == atChunk {
				h.expectLine(atChunkEnd, len("\r\n"))
				continue
			}
			h.step = atNothing
		case atClose:
			rest = nil
			continue
		default:
			var line []byte
			var whole bool
			if line, rest, whole, err = h.line(rest); err == nil && whole {
				err = h.read(line)
			}
			if err != nil {
				return 0, answer{}, false, err
			}
		}
		if h.step == atNothing {
			if len(rest) > 0 { // nobody asked for more
				return 0, answer{}, false, errProtocol
			}
			return len(b), h.answered(), true, nil
		}
	}
	return len(b), answer{}, false, nil
}

func (h *http1) end() (a answer, done bool) {
	if h.step != atClose {
		return answer{}, false
	}
	h.step = atNothing
	return h.answered(), true
}

// answered is the answer that has just become complete.
func (h *http1) answered() answer {
	last := h.closes || h.ask1.last || h.minor == '0' && !h.keepsAlive
	return answer{status: h.status, last: last}
}

// expectLine says that a line of at most so many bytes comes next.
func (h *http1) expectLine(s step, budget int) { h.step, h.budget = s, budget }

// line cuts the next line off b, without its end. An incomplete one is held,
// so the line is valid until the next call.
func (h *http1) line(b []byte) (line, rest []byte, whole bool, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		i = len(b) - 1
	} else {
		whole = true
	}
	if h.budget -= i + 1; h.budget < 0 {
		return nil, nil, false, errProtocol
	}
	line, rest = b[:i+1], b[i+1:]
	if len(h.held) > 0 || !whole {
		h.held = append(h.held, line...)
		line = h.held
	}
	if !whole {
		if h.step == atStatus && !prefixes(line, protocolPrefix) {
			return nil, nil, false, errProtocol // it may never end
		}
		return nil, rest, false, nil
	}
	h.held = h.held[:0]
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, nil, false, errProtocol
	}
	return line[:len(line)-2], rest, true, nil
}

// prefixes tells whether b and the prefix agree as far as both go.
func prefixes(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}

// read reads one line and decides what comes next.
func (h *http1) read(line []byte) error {
	ok := true
	switch h.step {
	case atStatus:
		ok = h.statusLine(line)
		h.step = atField
	case atField:
		if len(line) == 0 {
			return h.body()
		}
		ok = h.field(line)
	case atChunkSize:
		ok = h.chunkSize(line)
	case atChunkEnd:
		ok = len(line) == 0
		h.expectLine(atChunkSize, maxChunkLine)
	default: // atTrailer
		if len(line) == 0 {
			h.step = atNothing
			break
		}
		_, _, ok = field(line)
	}
	if !ok {
		return errProtocol
	}
	return nil
}

// statusLine reads HTTP/1.x, a status of three digits, and maybe a reason.
func (h *http1) statusLine(line []byte) bool {
	const digits = len(protocolPrefix) + 2 // where the status stands
	if len(line) < digits+3 || string(line[:len(protocolPrefix)]) != protocolPrefix || line[digits-1] != ' ' {
		return false
	}
	h.minor = line[digits-2]
	if !digit(h.minor) {
		return false
	}
	h.status = 0
	for _, c := range line[digits : digits+3] {
		if !digit(c) {
			return false
		}
		h.status = h.status*10 + int(c-'0')
	}
	reason := line[digits+3:]
	return len(reason) == 0 || reason[0] == ' ' && printable(reason)
}

// field reads one field of the head.
func (h *http1) field(line []byte) bool {
	name, value, ok := field(line)
	if !ok {
		return false
	}
	switch len(name) { // of those that matter
	case len("connection"):
		if fold(name, "connection") {
			h.closes = h.closes || listed(value, "close")
			h.keepsAlive = h.keepsAlive || listed(value, "keep-alive")
		}
	case len("content-length"):
		if fold(name, "content-length") {
			return h.contentLength(value)
		}
	case len("transfer-encoding"):
		if fold(name, "transfer-encoding") {
			ok = !h.chunked && fold(value, "chunked")
			h.chunked = true
		}
	}
	return ok
}

// contentLength reads a length. It may be said twice, if the same is said.
func (h *http1) contentLength(value []byte) bool {
	if h.lengthText != nil {
		return string(h.lengthText) == string(value)
	}
	if len(value) == 0 || len(value) > 18 { // less than 1<<63
		return false
	}
	h.length = 0
	for _, c := range value {
		if !digit(c) {
			return false
		}
		h.length = h.length*10 + int64(c-'0')
	}
	h.lengthText = append(h.lengthStore[:0], value...)
	return true
}

// body decides, at the end of a head, how its body ends (RFC 9112 section 6.3).
func (h *http1) body() error {
	switch {
	case h.status == 101:
		return errProtocol // nobody asked for another protocol
	case h.chunked && (h.lengthText != nil || h.minor == '0'):
		return errProtocol // two readings
	case h.status/100 == 1:
		h.expectHead()
	case h.ask1.noBody, h.status == 204, h.status == 304:
		h.step = atNothing
	case h.chunked:
		h.expectLine(atChunkSize, maxChunkLine)
	case h.lengthText == nil:
		h.step, h.closes = atClose, true
	case h.length == 0:
		h.step = atNothing
	default:
		h.step, h.left = atLength, h.length
	}
	return nil
}

// chunkSize reads the size of a chunk and passes over its extensions.
func (h *http1) chunkSize(line []byte) bool {
	size, _, extended := bytes.Cut(line, []byte(";"))
	if !extended {
		size = trim(size)
	}
	if len(size) == 0 || len(size) > 15 || !printable(line) { // less than 1<<63
		return false
	}
	h.left = 0
	for _, c := range size {
		d, ok := hexDigit(c)
		if !ok {
			return false
		}
		h.left = h.left<<4 | int64(d)
	}
	h.step = atChunk
	if h.left == 0 {
		h.expectLine(atTrailer, maxHead)
	}
	return true
}

// field cuts a line into the name of a field and its value.
func field(line []byte) (name, value []byte, ok bool) {
	i := 0
	for i < len(line) && classes[line[i]]&inToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return nil, nil, false
	}
	value = trim(line[i+1:])
	return line[:i], value, printable(value)
}

// listed tells whether a comma-separated list has the token, in lower case.
func listed(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		if item, list, _ = bytes.Cut(list, []byte(",")); fold(trim(item), token) {
			return true
		}
	}
	return false
}

// fold tells whether b is s, which is in lower case, in any case.
func fold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// trim cuts blanks off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for n := len(b); n > 0 && (b[n-1] == ' ' || b[n-1] == '\t'); n-- {
		b = b[:n-1]
	}
	return b
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func hexDigit(c byte) (byte, bool) {
	switch {
	case digit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// printable tells whether b has no control characters but tabs.
func printable(b []byte) bool {
	for _, c := range b {
		if classes[c]&inValue == 0 {
			return false
		}
	}
	return true
}

// What a byte may be part of.
const (
	inToken = 1 << iota
	inValue
)

// classes says it of each byte (RFC 9110 sections 5.5 and 5.6.2).
var classes = func() (t [256]byte) {
	for c := range t {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= inValue
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		t[c] |= inToken
	}
	return t
}()
