// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"
	"net/netip"
)

// errForwarded reports what does not follow the grammar of Forwarded.
var errForwarded = errors.New("malformed")

// element is what one proxy says in Forwarded (RFC 7239 section 4). Values are
// without quotes; one that has an escape is left out, since neither addresses
// nor hosts need any.
type element struct{ node, host, proto []byte }

// cutElement takes the first element of a list, and reports whether the list
// is well formed so far. Parameters that mean nothing to us are passed over.
func cutElement(list []byte) (e element, rest []byte, ok bool) {
	seen := uint8(0)
	for {
		list = trimLeft(list)
		switch {
		case len(list) == 0:
			return e, nil, true
		case list[0] == ',':
			return e, list[1:], true
		case list[0] == ';':
			list = list[1:]
			continue
		}
		name, value, after, ok := cutPair(list)
		if !ok {
			return e, nil, false
		}
		var bit uint8
		switch {
		case fold(name, "for"):
			bit, e.node = 1, value
		case fold(name, "host"):
			bit, e.host = 2, value
		case fold(name, "proto"):
			bit, e.proto = 4, value
		}
		if seen&bit != 0 {
			return e, nil, false // each at most once
		}
		seen |= bit
		list = trimLeft(after)
		if len(list) > 0 && list[0] != ';' && list[0] != ',' {
			return e, nil, false
		}
	}
}

func trimLeft(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

// cutPair takes token "=" value from the front.
func cutPair(b []byte) (name, value, rest []byte, ok bool) {
	n := tokenLen(b)
	if n == 0 || n == len(b) || b[n] != '=' {
		return nil, nil, nil, false
	}
	name, b = b[:n], b[n+1:]
	if len(b) == 0 || b[0] != '"' {
		n = tokenLen(b)
		return name, b[:n], b[n:], n > 0
	}
	escaped := false
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			if value = b[1:i]; escaped {
				value = nil
			}
			return name, value, b[i+1:], true
		case '\\':
			escaped = true
			i++
		}
	}
	return nil, nil, nil, false
}

// tokenLen returns how many bytes at the front of b make a token.
func tokenLen(b []byte) int {
	for i, c := range b {
		if class[c]&tokenByte == 0 {
			return i
		}
	}
	return len(b)
}

// elements holds the last ones of a list.
type elements struct {
	ring  [maxHops]element
	count int // of all
}

// read reads a whole list, and reports whether it is well formed.
func (es *elements) read(list []byte) bool {
	es.count = 0
	for len(list) > 0 {
		e, rest, ok := cutElement(list)
		if !ok {
			return false
		}
		if e.node != nil || e.host != nil || e.proto != nil {
			es.ring[es.count%maxHops] = e
			es.count++
		}
		list = rest
	}
	return true
}

// last returns the element at a position counted from the right, from 0; nil
// if there is none, or it is not held any more.
func (es *elements) last(i int) *element {
	if i >= min(es.count, maxHops) {
		return nil
	}
	return &es.ring[(es.count-1-i)%maxHops]
}

// appendNode appends an address as the value of a parameter of Forwarded.
func appendNode(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		return a.AppendTo(b)
	}
	b = append(b, `"[`...)
	b = a.AppendTo(b)
	return append(b, `]"`...)
}

// appendValue appends a value, in quotes if it needs them. It has neither
// quotes nor backslashes.
func appendValue(b, value []byte) []byte {
	if tokenLen(value) == len(value) && len(value) > 0 {
		return append(b, value...)
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}
