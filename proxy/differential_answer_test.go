// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"slices"
	"strings"
)

// answer draws the scripts of a trial: what the origin answers to HTTP/1.1,
// and the same content in what may be answered to HTTP/1.0, which knows
// neither chunks nor answers 1xx.
func (d dice) answer(t *trial) {
	status := d.status()
	reason := oneOf(d, "OK", "OK", "", "Not Quite\tRight", "a  b", "\xc3\xa4", d.text(tokenBytes, d.IntN(50)))
	if t.denied {
		status, reason = 417, "Expectation Failed"
	}
	start := fmt.Sprintf(" %d %s", status, reason)
	fields := d.fields(answerFields, 50<<10)
	if d.chance(4) {
		fields = d.put(fields, d.line(d.spelling("Connection"), oneOf(d, "X-Named", "x-other , X-NAMED", "Upgrade")))
	}
	payload := d.payload()
	if status == 205 {
		payload = nil // RFC 9110 section 15.3.6
	}
	bare := status == 204 || status == 304 || t.method == "HEAD"
	end := oneOf(d, endsByLength, endsByLength, endsByLength, endsByChunk, endsByChunk, endsByClose)
	switch {
	case t.denied && end == endsByClose:
		end = endsByLength // the client, which still could send, is who closes
	case status == 204:
		end = endsAtOnce
	case bare && end == endsByClose:
		end = endsAtOnce
	}
	older := end == endsByLength && d.chance(10) // the origin itself speaks HTTP/1.0
	switch end {
	case endsByLength:
		fields = d.put(fields, d.length(len(payload)))
		t.answer = d.script(t, end, start, fields, payload, bare, older)
	case endsByChunk:
		coding := d.line(d.spelling("Transfer-Encoding"), oneOf(d, "chunked", "chunked", "Chunked"))
		t.answer = d.script(t, end, start, d.put(slices.Clone(fields), coding), payload, bare, false)
		end = endsByClose
		if bare {
			end = endsAtOnce
		}
	default:
		t.answer = d.script(t, end, start, fields, payload, bare, older)
	}
	t.older = d.script(t, end, start, fields, payload, bare, true)
	t.older.interim = nil
}

// script draws one of the scripts. older means that the origin takes the
// client, or itself, for one of HTTP/1.0, which says so if it keeps the
// connection.
func (d dice) script(t *trial, end wireEnd, start string, fields []string, payload []byte, bare, older bool) script {
	s := script{closes: end == endsByClose || d.chance(4)}
	fields = slices.Clone(fields)
	body := payload
	switch {
	case bare:
		body = nil
	case end == endsByChunk:
		body = d.chunked(payload)
	}
	version := "HTTP/1.1"
	if older && d.chance(50) {
		version = "HTTP/1.0"
	}
	says := ""
	switch {
	case t.denied:
		says, s.closes = "close", true
	case s.closes && (end != endsByClose || d.chance(50)):
		says = "close"
	case s.closes:
	case older && (t.keep || !t.old):
		says = "keep-alive"
	case older:
		says, s.closes = "close", true
	case d.chance(5):
		says = "keep-alive"
	}
	if says != "" {
		fields = d.put(fields, d.line(d.spelling("Connection"), d.spelling(says)))
	}
	head := wireHead(version+start, fields)
	s.final = slices.Concat(head, body)
	s.pieces = d.pieces(len(head), len(body))
	if len(t.body) > 0 && len(body) > 0 && !t.waits && d.chance(5) {
		s.early = d.IntN(len(s.final))
	}
	s.interim = d.interim(t, version)
	s.joined = !t.waits && d.chance(50)
	return s
}

// status draws the status code of a final answer. 408 is none of them: over a
// kept connection it means that the request is to be sent again.
func (d dice) status() int {
	if d.chance(60) {
		return 200
	}
	return oneOf(d, 201, 202, 203, 204, 204, 204, 205, 206, 207, 226, 299, 300, 301, 302, 303, 304, 304, 304, 307, 308, 399,
		400, 401, 403, 404, 410, 413, 416, 418, 421, 426, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 599)
}

// interim draws the answers before the final one. A client that waits is told
// to go on last.
func (d dice) interim(t *trial, version string) []byte {
	var all []string
	if version == "HTTP/1.1" && d.chance(10) {
		for range d.upTo(1, 3) {
			fields := d.fields(answerFields, 300)
			code := oneOf(d, "102 Processing", "103 Early Hints", "199 ", "110 x")
			if !t.waits && d.chance(20) {
				code = "100 Continue"
			}
			all = append(all, string(wireHead("HTTP/1.1 "+code, fields)))
		}
	}
	if t.waits && !t.denied {
		all = append(all, string(wireHead("HTTP/1.1 100 "+oneOf(d, "Continue", ""), nil)))
	}
	return []byte(strings.Join(all, ""))
}
