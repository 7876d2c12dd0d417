// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxMessageBytes bounds a message of a stream, and each of its lines.
const maxMessageBytes = 1 << 20

// errLongMessage reports a message beyond that.
var errLongMessage = errors.New("the stream of events has a message that is too long")

// message is what a stream of server-sent events says at once (HTML Living
// Standard section 9.2).
type message struct {
	id   string // that of the newest message that had one; empty if none had
	data string // lines joined by line feeds
}

// messages reads a stream of server-sent events.
type messages struct {
	r  *bufio.Reader
	id string
	// skip is set if a line feed that comes next belongs to the line before.
	skip bool
}

func newMessages(r io.Reader) *messages {
	m := &messages{r: bufio.NewReader(r)}
	if bom, err := m.r.Peek(3); err == nil && string(bom) == "\uFEFF" {
		_, _ = m.r.Discard(3)
	}
	return m
}

// next returns the next message that has data, or io.ErrUnexpectedEOF at the
// end of the stream. What was not ended by an empty line is no message.
func (m *messages) next() (message, error) {
	var data []string
	size := 0
	for {
		line, err := m.line()
		if err != nil {
			return message{}, err
		}
		if size += len(line); size > maxMessageBytes {
			return message{}, errLongMessage
		}
		if line == "" {
			if data != nil {
				return message{m.id, strings.Join(data, "\n")}, nil
			}
			size = 0
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "id":
			if !strings.ContainsRune(value, 0) {
				m.id = value
			}
		}
	}
}

// line returns the next line, which ends with a carriage return, a line feed,
// or both.
func (m *messages) line() (string, error) {
	var b strings.Builder
	for {
		c, err := m.r.ReadByte()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		skip := m.skip
		m.skip = false
		switch {
		case c == '\n' && skip:
		case c == '\r' || c == '\n':
			m.skip = c == '\r'
			return b.String(), nil
		case b.Len() >= maxMessageBytes:
			return "", errLongMessage
		default:
			b.WriteByte(c)
		}
	}
}
