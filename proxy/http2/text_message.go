// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"unsafe"
)

// errText reports text that is no message of HTTP/1: a fault of ours, since
// what the exchange writes was looked at before.
var errText = errors.New("http2: what was written is no message of HTTP/1")

// maxText bounds the bytes of a head or a trailer section that come in pieces.
const maxText = 1 << 20

// part is what message found in the text.
type part uint8

const (
	// partNone is nothing to send: all of the text was used, and more is needed.
	partNone part = iota
	// partHead is a head: appendHead gives its fields. Ask done for END_STREAM.
	partHead
	// partData is content. Ask done for END_STREAM.
	partData
	// partTrailers is a trailer section: appendTrailers gives its fields, and
	// END_STREAM goes with them.
	partTrailers
	// partEnd is END_STREAM alone.
	partEnd
)

// state is where in a message the next byte of the text stands.
type state uint8

const (
	inHead     state = iota
	inSized          // content of left bytes
	inClose          // content until the end of the text
	inSize           // the size of a chunk
	inExt            // the rest of the line of the size
	inChunk          // content of a chunk, of which left bytes follow
	inChunkEnd       // the line break behind it
	inTrailers       // the trailer section
	atEnd
)

// message reads the text of one message of HTTP/1 that the exchange writes,
// in whatever pieces, and says what to send for it. It copies nothing but
// heads and trailer sections that come in more than one piece. It is used
// again for the next message: beginRequest or beginAnswer, and next until done.
type message struct {
	state  state
	answer bool
	toHead bool  // an answer to HEAD: it has no content
	left   int64 // of content, or the size of a chunk as far as it was read
	digits int   // of that size

	kept  []byte // of a head or trailer section that is not complete
	text  []byte // the last one that was: valid as long as the text it is in
	lines []line

	method, target span  // of requests
	host           span  // value of Host
	status         int   // of answers
	length         int64 // content-length; -1: none
	chunked        bool
	grpc           bool // content-type is that of gRPC
	trailers       bool // TE says that trailers are understood
}

// span is a part of a text.
type span struct{ from, to uint32 }

// line is one field of a text.
type line struct {
	name, value span
	index       uint8 // of the name in the static table, or what is done with it
}

// beginRequest begins the text of a request.
func (m *message) beginRequest() { m.begin(false, false) }

// beginAnswer begins the text of an answer, interim ones before it. toHead
// says that the request was HEAD.
func (m *message) beginAnswer(toHead bool) { m.begin(true, toHead) }

func (m *message) begin(answer, toHead bool) {
	*m = message{answer: answer, toHead: toHead, kept: m.kept[:0], lines: m.lines[:0]}
}

// done reports whether the message is complete.
func (m *message) done() bool { return m.state == atEnd }

// untouched reports whether nothing of the message was read.
func (m *message) untouched() bool { return m.state == inHead && len(m.kept) == 0 }

// untilClose reports whether the message ends, complete, where the text does.
func (m *message) untilClose() bool { return m.state == inClose }

// isHead reports whether the request that was read asks for a head alone.
func (m *message) isHead() bool { return string(m.bytes(m.method)) == "HEAD" }

// interim reports whether the head that was found is of an interim answer: the
// head of another follows.
func (m *message) interim() bool { return m.answer && m.status < 200 }

func (m *message) bytes(s span) []byte { return m.text[s.from:s.to] }

// next reads from b, which goes on where the bytes used so far ended, up to
// the next part that is to be sent. It returns how many bytes of b it used
// and, of content, which of them: at most room, so that partData without any
// says that there is no room. What it found of a head or a trailer section is
// valid as long as b, and until it is called again.
func (m *message) next(b []byte, room int) (p part, n int, data []byte, err error) {
	for n < len(b) && m.state != atEnd {
		rest := b[n:]
		switch m.state {
		case inHead:
			used, complete, err := m.section(rest)
			n += used
			if err != nil || !complete {
				return partNone, n, nil, err
			}
			if err := m.readHead(); err != nil {
				return partNone, n, nil, err
			}
			ahead, err := m.frame(b[n:])
			return partHead, n + ahead, nil, err
		case inSized, inChunk, inClose:
			data = m.content(rest, room)
			n += len(data)
			if len(data) == 0 {
				return partData, n, nil, nil
			}
			ahead, err := m.frame(b[n:])
			return partData, n + ahead, data, err
		case inTrailers:
			used, complete, err := m.trailerSection(rest)
			n += used
			if err != nil || !complete {
				return partNone, n, nil, err
			}
			m.state = atEnd
			if len(m.lines) == 0 {
				return partEnd, n, nil, nil
			}
			return partTrailers, n, nil, nil
		default:
			used, err := m.frame(rest)
			n += used
			if err != nil {
				return partNone, n, nil, err
			}
			if m.state == atEnd {
				return partEnd, n, nil, nil
			}
		}
	}
	if m.state == atEnd && n < len(b) {
		return partNone, n, nil, errText // nothing follows a message
	}
	return partNone, n, nil, nil
}

// content takes what of b is content, at most room bytes.
func (m *message) content(b []byte, room int) []byte {
	n := min(len(b), room)
	if m.state == inClose {
		return b[:n]
	}
	n = int(min(int64(n), m.left))
	if m.left -= int64(n); m.left == 0 {
		if m.state == inSized {
			m.state = atEnd
		} else {
			m.state = inChunkEnd
		}
	}
	return b[:n]
}

// frame reads what stands between pieces of content, as far as it is there,
// and returns how many bytes of b that is. An empty trailer section is part of
// it, so that END_STREAM can go with the piece before.
func (m *message) frame(b []byte) (n int, err error) {
	for n < len(b) {
		c := b[n]
		switch m.state {
		case inSize:
			err = m.sizeByte(c)
		case inExt:
			if c == '\n' {
				m.state = inChunk
				if m.left == 0 {
					m.state = inTrailers
				}
			}
		case inChunkEnd: // CR, LF
			if c == '\n' {
				m.state, m.left, m.digits = inSize, 0, 0
			} else if c != '\r' {
				err = errText
			}
		case inTrailers:
			if len(m.kept) > 0 || len(b)-n < 2 || c != '\r' || b[n+1] != '\n' {
				return n, nil
			}
			m.state = atEnd
			return n + 2, nil
		default:
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// sizeByte reads a byte of the size of a chunk.
func (m *message) sizeByte(c byte) error {
	var digit int64
	switch {
	case '0' <= c && c <= '9':
		digit = int64(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		digit = int64(c|0x20-'a') + 10
	case m.digits > 0 && (c == '\r' || c == ';'):
		m.state = inExt
		return nil
	default:
		return errText
	}
	if m.digits++; m.digits > 15 {
		return errText
	}
	m.left = m.left<<4 | digit
	return nil
}

// endOfLines ends a head, and a trailer section that has fields.
var endOfLines = []byte("\r\n\r\n")

// section takes the bytes of b up to the end of a head. If it is complete,
// text has its lines.
func (m *message) section(b []byte) (used int, complete bool, err error) {
	was := len(m.kept)
	if was == 0 {
		if i := bytes.Index(b, endOfLines); i >= 0 {
			m.text = b[:i+2]
			return i + len(endOfLines), true, nil
		}
	}
	if was > maxText {
		return 0, false, errText
	}
	m.kept = append(m.kept, b...)
	from := max(0, was-len(endOfLines)+1) // the end may stand across two pieces
	i := bytes.Index(m.kept[from:], endOfLines)
	if i < 0 {
		return len(b), false, nil
	}
	i += from
	m.text, m.kept = m.kept[:i+2], m.kept[:0]
	return i + len(endOfLines) - was, true, nil
}

// trailerSection does so with a trailer section, which may be empty, and reads
// its lines.
func (m *message) trailerSection(b []byte) (used int, complete bool, err error) {
	m.lines = m.lines[:0]
	switch {
	case len(m.kept) == 0 && len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		return 2, true, nil
	case len(m.kept) == 1 && m.kept[0] == '\r' && b[0] == '\n':
		m.kept = m.kept[:0]
		return 1, true, nil
	}
	used, complete, err = m.section(b)
	if err != nil || !complete {
		return used, complete, err
	}
	return used, true, m.readLines(0)
}

// readHead reads the head that text has, and what it says of the content.
func (m *message) readHead() error {
	m.lines = m.lines[:0]
	m.host, m.length = span{}, -1
	m.chunked, m.grpc, m.trailers = false, false, false
	first := bytes.IndexByte(m.text, '\n') + 1
	var ok bool
	if m.answer {
		ok = m.readStatus(m.text[:first])
	} else {
		ok = m.readRequestLine(m.text[:first])
	}
	if !ok {
		return errText
	}
	if err := m.readLines(first); err != nil {
		return err
	}
	m.state = m.afterHead()
	return nil
}

// readStatus reads "HTTP/1.1 200 OK".
func (m *message) readStatus(b []byte) bool {
	const form = "HTTP/1.1 200\r\n"
	if len(b) < len(form) || string(b[:7]) != form[:7] {
		return false
	}
	m.status = parseStatus(view(b[9:12]))
	return m.status != 0
}

// readRequestLine reads "METHOD target HTTP/1.1". The target is in the origin
// form, or "*".
func (m *message) readRequestLine(b []byte) bool {
	method := bytes.IndexByte(b, ' ')
	if method <= 0 {
		return false
	}
	target := bytes.IndexByte(b[method+1:], ' ')
	if target <= 0 {
		return false
	}
	m.method = span{0, uint32(method)}
	m.target = span{uint32(method + 1), uint32(method + 1 + target)}
	c := b[method+1]
	return c == '/' || c == '*' && target == 1
}

// readLines reads the fields that text has from a byte on.
func (m *message) readLines(from int) error {
	for from < len(m.text) {
		end := from + bytes.IndexByte(m.text[from:], '\n')
		name := bytes.IndexByte(m.text[from:end], ':')
		if name <= 0 || m.text[end-1] != '\r' {
			return errText
		}
		l := line{name: span{uint32(from), uint32(from + name)}}
		l.value = trimmed(m.text, from+name+1, end-1)
		l.index = indexOf(m.bytes(l.name))
		m.note(&l)
		m.lines = append(m.lines, l)
		from = end + 1
	}
	return nil
}

// trimmed returns the span without the blanks around it.
func trimmed(b []byte, from, to int) span {
	for from < to && blank(b[from]) {
		from++
	}
	for to > from && blank(b[to-1]) {
		to--
	}
	return span{uint32(from), uint32(to)}
}

// note takes in what a field means for the content.
func (m *message) note(l *line) {
	switch l.index {
	case nameHost:
		m.host = l.value
	case nameContentLength:
		if n, ok := parseLength(view(m.bytes(l.value))); ok {
			m.length = n
		}
	case nameTransferEncoding:
		m.chunked = true // no other coding goes through
	case nameContentType:
		m.grpc = isGRPC(view(m.bytes(l.value)))
	case nameTE:
		m.trailers = m.trailers || bytes.Contains(m.bytes(l.value), trailersName)
	}
}

// afterHead says what follows the head (RFC 9112 section 6.3).
func (m *message) afterHead() state {
	switch {
	case m.interim():
		return inHead
	case m.answer && (m.toHead || m.status == 204 || m.status == 304):
		return atEnd
	case m.chunked:
		m.left, m.digits = 0, 0
		return inSize
	case m.length > 0:
		m.left = m.length
		return inSized
	case m.answer && m.length < 0:
		return inClose
	default:
		return atEnd
	}
}

var trailersName = []byte("trailers")

// view returns b as a string without copying it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
