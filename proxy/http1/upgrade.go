// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"iter"
)

// An upgrade (RFC 9110 section 7.8) goes through if the client's Connection
// names it: what an instance agrees to, out of what the client asked for, is
// spoken by the two of them through a tunnel. Protocols that carry HTTP are
// taken out of the list, and of the answer too: requests in a tunnel would be
// decided by nobody.

// protocols yields the members of the Upgrade fields, but not empty ones.
func (h *head) protocols() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range h.fields {
			if h.fields[i].kind != kindUpgrade {
				continue
			}
			rest := h.bytes(h.fields[i].value)
			for len(rest) > 0 {
				var p []byte
				if p, rest = cutToken(rest); len(p) > 0 && !yield(p) {
					return
				}
			}
		}
	}
}

// upgrades reports whether a head whose Connection names Upgrade asks for, or
// agrees to, a protocol that may be spoken through us. HTTP/1.0 knows none.
func (h *head) upgrades() bool {
	if h.minor == 0 {
		return false
	}
	for p := range h.protocols() {
		if passable(p) {
			return true
		}
	}
	return false
}

// passable reports whether a member is well formed, token ["/" token], and
// names a protocol that does not carry HTTP.
func passable(protocol []byte) bool {
	name, version, versioned := bytes.Cut(protocol, slash)
	if !isToken(name) || versioned && !isToken(version) {
		return false
	}
	for _, of := range [...]string{"h2c", "h2", "http", "tls"} {
		if equalFold(name, of) {
			return false
		}
	}
	return true
}

func isToken(b []byte) bool {
	for _, c := range b {
		if class[c]&tokenByte == 0 {
			return false
		}
	}
	return len(b) > 0
}

// appendUpgrade appends the passable protocols of a head as fields of ours,
// and returns which part of them is the list. If there are none it appends
// nothing.
func appendUpgrade(b []byte, h *head) (out []byte, list span) {
	start := len(b)
	b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
	list.from = uint32(len(b))
	for p := range h.protocols() {
		if !passable(p) {
			continue
		}
		if len(b) > int(list.from) {
			b = append(b, ", "...)
		}
		b = append(b, p...)
	}
	list.to = uint32(len(b))
	if list.from == list.to {
		return b[:start], span{}
	}
	return append(b, "\r\n"...), list
}

// ask notes in the plan what the request asks for, and returns the fields that
// say so, followed by more.
func (w *work) ask(more []byte) []byte {
	w.asked, w.plan.upgrade = appendUpgrade(w.asked[:0], &w.head)
	w.asked = append(w.asked, more...)
	return w.asked
}

// takeTrailers returns fields followed by more, of which the first says that
// trailers are welcome, if the client says so: what it says of that ends here
// (RFC 9110 section 10.1.4), and we pass trailers on.
func (w *work) takeTrailers(more []byte) []byte {
	h := &w.head
	if h.seen&(1<<kindHop) == 0 {
		return more
	}
	for i := range h.fields {
		f := &h.fields[i]
		if f.kind != kindHop || !fold(h.bytes(f.name), "te") {
			continue
		}
		for rest := h.bytes(f.value); len(rest) > 0; {
			var coding []byte
			if coding, rest = cutToken(rest); fold(coding, "trailers") {
				w.asked = append(append(w.asked[:0], "TE: trailers\r\n"...), more...)
				return w.asked
			}
		}
	}
	return more
}

// switches reports whether the answer 101 is the agreement to protocols that
// the client asked for, and to no others.
func (w *work) switches() bool {
	if w.answer.status != 101 || !w.answer.upgrade {
		return false
	}
	for p := range w.answer.protocols() {
		if !w.asks(p) {
			return false
		}
	}
	return true
}

// asks reports whether the request asked for a protocol.
func (w *work) asks(protocol []byte) bool {
	rest := w.asked[w.plan.upgrade.from:w.plan.upgrade.to]
	for len(rest) > 0 {
		var p []byte
		if p, rest = cutToken(rest); equalFold(p, view(protocol)) {
			return true
		}
	}
	return false
}

// ofUpgrade returns the fields of an answer in which its instance speaks of
// upgrades to the client: 101, and 426, which has to say what is required.
// Others offer something, which is for us alone.
func (w *work) ofUpgrade() string {
	a := &w.answer
	if !a.upgrade || a.status != 101 && a.status != 426 {
		return ""
	}
	fields, _ := appendUpgrade(nil, a)
	return view(fields)
}
