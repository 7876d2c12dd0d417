// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"slices"
	"strings"
)

// maxAttributes bounds the attributes of a distinguished name that ACLs look
// at. Longer names are as if they were not there.
const maxAttributes = 64

// attribute is one part of a distinguished name, such as CN=me: views of it.
type attribute struct {
	name  string
	value string // as written, escapes and quotes included
}

// nextAttribute returns the first attribute of a distinguished name (RFC
// 2253), and what follows it; false if there is none.
func nextAttribute(subject string) (a attribute, rest string, ok bool) {
	name, text, ok := strings.Cut(subject, "=")
	if !ok {
		return attribute{}, "", false
	}
	a.name = strings.Trim(name, " ")
	quoted, end := false, 0
	for ; end < len(text); end++ {
		switch c := text[end]; {
		case c == '\\':
			end++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ';' || c == '+'):
			a.value = trimValue(text[:end])
			return a, text[end+1:], true
		}
	}
	a.value = trimValue(text)
	return a, "", true
}

// trimValue cuts blanks off that are not escaped.
func trimValue(text string) string {
	text = strings.TrimLeft(text, " ")
	for strings.HasSuffix(text, " ") && !strings.HasSuffix(text, `\ `) {
		text = text[:len(text)-1]
	}
	return text
}

// appendValue appends what the value of an attribute stands for to b, as far
// as there is room; false if there is not.
func (a attribute) appendValue(b []byte) ([]byte, bool) {
	for i := 0; i < len(a.value); i++ {
		if len(b) == cap(b) {
			return b, false
		}
		c := a.value[i]
		switch {
		case c == '"':
			continue
		case c == '\\' && i+2 < len(a.value) && hexDigit(a.value[i+1]) >= 0 && hexDigit(a.value[i+2]) >= 0:
			c = byte(hexDigit(a.value[i+1])<<4 | hexDigit(a.value[i+2]))
			i += 2
		case c == '\\' && i+1 < len(a.value):
			i++
			c = a.value[i]
		}
		b = append(b, c)
	}
	return b, true
}

// attributes returns the attributes of a distinguished name in the order of
// the certificate, which is the opposite of the text's.
func attributes(subject string, room *[maxAttributes]attribute) []attribute {
	at := len(room)
	for rest := subject; rest != ""; {
		a, after, ok := nextAttribute(rest)
		if !ok || at == 0 {
			return nil
		}
		at--
		room[at], rest = a, after
	}
	return room[at:]
}

// ofSubject returns the subject of a client's certificate as OpenSSL writes it
// in one line, or the values of one of its attributes.
func (t *aclTest) ofSubject(conn *Conn, c *aclCursor) (aclSample, bool) {
	if conn.TLS == nil || conn.TLS.Client == nil {
		return aclSample{}, false
	}
	var room [maxAttributes]attribute
	all := attributes(conn.TLS.Client.Subject, &room)
	if len(all) == 0 {
		return aclSample{}, false
	}
	b := c.buffer()[:0]
	if t.arg != "" {
		a, found := attributeNamed(all, t.arg, t.number)
		if !found {
			return aclSample{}, false
		}
		b, ok := a.appendValue(b)
		return aclSample{text: viewACL(b)}, ok
	}
	for _, a := range all {
		if len(b)+len(a.name)+2 > cap(b) {
			return aclSample{}, false
		}
		b = append(append(append(b, '/'), a.name...), '=')
		value, whole := a.appendValue(b)
		if !whole {
			return aclSample{}, false
		}
		b = value
	}
	return aclSample{text: viewACL(b)}, true
}

// attributeNamed returns the n-th attribute of a name in any letter case, from
// the last one if n is negative; 0 counts as 1.
func attributeNamed(all []attribute, name string, n int64) (attribute, bool) {
	if n < 0 {
		for _, a := range slices.Backward(all) {
			if strings.EqualFold(a.name, name) {
				if n++; n == 0 {
					return a, true
				}
			}
		}
		return attribute{}, false
	}
	n = max(n, 1)
	for _, a := range all {
		if strings.EqualFold(a.name, name) {
			if n--; n == 0 {
				return a, true
			}
		}
	}
	return attribute{}, false
}
