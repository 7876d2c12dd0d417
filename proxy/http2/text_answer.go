// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"net/http"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// answerText turns the header list of an answer into the head of a message of
// HTTP/1, as requestText does with a request.
type answerText struct {
	list

	status int  // 0: none yet
	toHead bool // the request was HEAD
}

// reset begins a list of at most so many bytes. toHead says that the request
// was HEAD, so that the answer ends with its head whatever it says.
func (t *answerText) reset(most int, toHead bool) {
	t.list.reset(most)
	t.status, t.toHead = 0, toHead
}

// add takes in the next field of the list.
func (t *answerText) add(f hpack.HeaderField) {
	if !t.counts(&f) {
		return
	}
	switch {
	case f.Name == "":
		t.fault = badName
	case f.Name[0] != ':':
		t.put(f.Name, f.Value)
	case t.fields || f.Name != ":status" || t.status != 0:
		t.fault = badPseudo
	default:
		t.status = parseStatus(f.Value)
		if t.status == 0 {
			t.fault = badStatus
		}
	}
}

// interim reports whether another answer follows (RFC 9110 section 15.2).
func (t *answerText) interim() bool { return t.status < 200 }

// end appends the text of the list to b, and says how the content becomes
// text. ended says that there is none: END_STREAM came with the list. A list
// over its limit becomes a head without an end.
func (t *answerText) end(b []byte, ended bool) ([]byte, content, malformed) {
	switch {
	case t.fault != wellFormed:
		return b, content{}, t.fault
	case t.status == 0, t.status == 101, t.interim() && ended:
		return b, content{}, badStatus // RFC 9113 sections 8.1.1 and 8.6
	}
	from := len(b)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(t.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(t.status)...) // there are clients of HTTP/1 that take no empty one
	b = append(b, "\r\n"...)
	if t.past {
		for len(b)-from <= t.most {
			b = append(b, 'x')
		}
		return b, content{form: passedOver}, wellFormed
	}
	c, fault := t.content(ended)
	if fault != wellFormed {
		return b[:from], content{}, fault
	}
	b = append(b, t.lines...)
	return t.appendFraming(b, c.form, ended), c, wellFormed
}

// content says how the content becomes text. Of gRPC, and where trailers are
// announced, it is by chunks: what has a length has no trailers in HTTP/1.
func (t *answerText) content(ended bool) (content, malformed) {
	switch {
	case t.empty():
		return content{want: -1}, wellFormed
	case ended && t.length > 0:
		return content{}, badLength
	case ended:
		return content{want: -1}, wellFormed
	case t.length < 0 || t.grpc || t.tells:
		return content{form: byChunks, want: t.length}, wellFormed
	default:
		return content{form: asIs, want: t.length}, wellFormed
	}
}

// empty reports whether the answer ends with its head whatever that says
// (RFC 9112 section 6.3).
func (t *answerText) empty() bool {
	return t.toHead || t.interim() || t.status == 204 || t.status == 304
}

func (t *answerText) appendFraming(b []byte, f form, ended bool) []byte {
	length := t.length
	if ended && length < 0 && !t.empty() {
		length = 0
	}
	if t.interim() || t.status == 204 {
		length = -1
	}
	return appendFraming(b, f, length)
}

// parseStatus reads a status of three digits; 0 if it is not one.
func parseStatus(s string) int {
	n, ok := parseLength(s)
	if !ok || len(s) != 3 || n < 100 {
		return 0
	}
	return int(n)
}
