// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// allMethods are the methods that are forwarded and that we know by name.
const allMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"

// lastHop counts Max-Forwards down where that is asked of a proxy, in the
// methods that look for the way of a request (RFC 9110 section 7.6.2). It
// reports whether the count is used up. What is no number is not counted.
func (h *head) lastHop() bool {
	if m := h.bytes(h.method); string(m) != http.MethodOptions && string(m) != http.MethodTrace {
		return false
	}
	for i := range h.fields {
		if h.fields[i].kind == kindMaxForwards {
			return countDown(h.bytes(h.fields[i].value))
		}
	}
	return false
}

// countDown takes one from a decimal number of any length, where it stands,
// and reports whether it is 0 instead. A digit that is not needed any more
// becomes a blank, which a value may begin with.
func countDown(number []byte) (zero bool) {
	for _, c := range number {
		if c < '0' || c > '9' {
			return false
		}
	}
	last := bytes.LastIndexFunc(number, func(c rune) bool { return c != '0' })
	if last < 0 {
		return len(number) > 0
	}
	number[last]--
	for i := last + 1; i < len(number); i++ {
		number[i] = '9'
	}
	if last == 0 && len(number) > 1 && number[0] == '0' {
		number[0] = ' '
	}
	return false
}

// answerHere answers as the last recipient of an OPTIONS or TRACE request.
// What TRACE would send back belongs to nobody but the client, who knows it,
// and to those who want to read its cookies: it is refused.
func (c *conn) answerHere() (keep bool) {
	w := c.w
	keep = !w.plan.close && w.plan.buffered
	w.exchange.Seen.Code = http.StatusOK
	allow := allMethods
	if string(w.head.bytes(w.head.method)) == http.MethodTrace {
		w.exchange.Seen.Code = http.StatusMethodNotAllowed
		allow = allMethods[:len(allMethods)-len(", TRACE")]
	}
	w.out = appendHere(w.out[:0], w.exchange.Seen.Code, allow)
	w.out = appendHSTS(w.out, w.hsts)
	if w.exchange.Trace != nil {
		w.out = appendExplain(w.out, w.explained("last hop"))
	}
	w.out = appendConnection(w.out, !keep, keep && w.plan.http10)
	w.out = append(w.out, "\r\n"...)
	if c.send(w.out) != nil {
		keep = false
	}
	c.unread = c.unread || !w.plan.buffered
	w.now = socket.Now()
	c.unbind()
	w.exchange.End(w.now)
	return keep
}

// appendHere appends the head of an answer of our own but its last lines. It
// has no content.
func appendHere(b []byte, status int, allow string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nAllow: "...)
	b = append(b, allow...)
	return append(b, "\r\nContent-Length: 0\r\n"...)
}
