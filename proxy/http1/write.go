// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// appendRequest appends the head that the instance gets: the client's, less
// what ends here, what only we may set and what routes change, plus our own
// fields. now is socket.Now().
func appendRequest(b []byte, h *head, forwarded []byte, e *edits, now int64) []byte {
	b = append(b, h.bytes(h.method)...)
	b = append(b, ' ')
	b = appendTarget(b, h, e)
	b = append(b, " HTTP/1.1\r\n"...)
	absolute := h.authority.to > 0
	if absolute && !e.drops(hostName) {
		b = append(b, "Host: "...)
		b = append(b, h.bytes(h.authority)...)
		b = append(b, "\r\n"...)
	}
	run := h.lines // what is kept is copied in runs
	for i := range h.fields {
		f := &h.fields[i]
		if f.kind == kindOther && !h.connection && !e.on {
			continue
		}
		drop := f.kind == kindOwn || h.drops(f) || f.kind == kindHost && absolute ||
			f.kind == kindExpect && h.minor == 0 || e.drops(h.bytes(f.name))
		if drop {
			b = append(b, h.raw[run:f.name.from]...)
			run = f.end
		}
	}
	b = append(b, h.raw[run:len(h.raw)-2]...)
	if e.on {
		b = append(b, e.request.put...)
	}
	b = append(b, forwarded...)
	if !h.told {
		b = append(b, "X-Forwarded-Host: "...)
		b = append(b, h.effectiveHost()...)
		b = append(b, "\r\n"...)
	}
	if !h.identified {
		b = append(b, "X-Request-Id: "...)
		b = appendRequestID(b, socket.UnixMilli(now), rand.Uint64(), rand.Uint64())
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendRequestID appends a UUID version 7 (RFC 9562 section 5.7) of a time in
// milliseconds since 1970 and random bits.
func appendRequestID(b []byte, milli int64, r1, r2 uint64) []byte {
	high := uint64(milli)<<16 | 0x7000 | r1&0x0fff
	low := 1<<63 | r2>>2
	var id [36]byte
	putHex(id[0:8], high>>32)
	id[8] = '-'
	putHex(id[9:13], high>>16)
	id[13] = '-'
	putHex(id[14:18], high)
	id[18] = '-'
	putHex(id[19:23], low>>48)
	id[23] = '-'
	putHex(id[24:36], low)
	return append(b, id[:]...)
}

// putHex fills b with the last digits of n.
func putHex(b []byte, n uint64) {
	const digits = "0123456789abcdef"
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digits[n&15]
		n >>= 4
	}
}

// answerEdit says what changes in the head of an answer.
type answerEdit struct {
	close     bool // add Connection: close
	keepAlive bool // add Connection: keep-alive, for HTTP/1.0
	unchunked bool // nothing of the chunked coding: HTTP/1.0 does not know it
	explain   string
	cookies   string // fields that set cookies
	upgrade   string // fields that speak of one
	hsts      string // the value of Strict-Transport-Security
	changes   *fieldEdits
}

// unchanged reports whether the answer's head may go through as it is.
func (h *head) unchanged(e answerEdit) bool {
	const changing = 1<<kindHop | 1<<kindUpgrade | 1<<kindConnection | 1<<kindReason
	return e == (answerEdit{}) && !h.amend && h.seen&changing == 0
}

// appendAnswer appends the head that the client gets.
func appendAnswer(b []byte, h *head, e answerEdit) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(b, h.raw[9:12]...)
	if h.reason.from == h.reason.to {
		b = append(b, ' ') // RFC 9112 section 4: also where no phrase follows
	}
	b = append(b, h.bytes(h.reason)...)
	b = append(b, "\r\n"...)
	run := h.reason.to + 2
	for i := range h.fields {
		f := &h.fields[i]
		if h.drops(f) || e.unchunked && h.ofChunks(f) || e.changes != nil && e.changes.drops(h.bytes(f.name)) {
			b = append(b, h.raw[run:f.name.from]...)
			run = f.end
		}
	}
	b = append(b, h.raw[run:len(h.raw)-2]...)
	if e.changes != nil {
		b = append(b, e.changes.put...)
	}
	b = append(b, e.cookies...)
	b = append(b, e.upgrade...)
	b = appendHSTS(b, e.hsts)
	b = appendExplain(b, e.explain)
	b = appendConnection(b, e.close, e.keepAlive)
	return append(b, "\r\n"...)
}

// ofChunks reports whether a field speaks of the chunked coding (RFC 9112
// sections 6.1 and 7.1.3).
func (h *head) ofChunks(f *field) bool {
	return f.kind == kindTransferEncoding || fold(h.bytes(f.name), "trailer")
}

func appendExplain(b []byte, explain string) []byte {
	if explain == "" {
		return b
	}
	b = append(b, "Sluice-Explain: "...)
	b = append(b, explain...)
	return append(b, "\r\n"...)
}

func appendConnection(b []byte, closes, keepAlive bool) []byte {
	switch {
	case closes:
		return append(b, "Connection: close\r\n"...)
	case keepAlive:
		return append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}

// appendComeAgain appends when it is worth to come again, where that may help.
func appendComeAgain(b []byte, f failure) []byte {
	switch f.status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return appendDenied(b, f.denied)
	}
	return b
}

// failure is an answer of our own.
type failure struct {
	reason    live.Reason
	status    int
	close     bool
	keepAlive bool
	head      bool // the request was HEAD: no body
	explain   string
	hsts      string
	denied    live.Denied
	grpc      bool // the request is a call of gRPC
}

// appendFailure appends an answer that says, to people and machines, what the
// proxy could not do.
func appendFailure(b []byte, f failure) []byte {
	if f.grpc {
		return appendGRPCFailure(b, f)
	}
	text := f.reason.Text()
	name := f.reason.String()
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(f.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(f.status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(name)+len(": ")+len(text)+len("\n")), 10)
	b = append(b, "\r\nSluice-Reason: "...)
	b = append(b, name...)
	b = append(b, "\r\n"...)
	b = appendComeAgain(b, f)
	if f.status == http.StatusMethodNotAllowed {
		b = append(b, "Allow: "+allMethods+"\r\n"...)
	}
	b = appendHSTS(b, f.hsts)
	b = appendExplain(b, f.explain)
	b = appendConnection(b, f.close, f.keepAlive)
	b = append(b, "\r\n"...)
	if f.head {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, text...)
	return append(b, '\n')
}
