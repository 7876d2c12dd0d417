// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// What a path may ask for.
const (
	defaultSize = 128
	maxSize     = 1 << 30
	maxDelay    = 10 * time.Minute
)

// answer is what a request is answered with.
type answer struct {
	status int
	size   int64 // of the body
	delay  time.Duration
	bare   bool // the head stands alone, though it tells the size
	close  bool // the connection ends
	keeps  bool // it does not, which has to be said to a client of HTTP/1.0
	// refused: what was read was no request, and more of it may follow.
	refused bool
}

func answerTo(h head) answer {
	a := answer{status: http.StatusOK, size: defaultSize}
	if len(h.target) != 1 || h.target[0] != '/' {
		a = answerAt(h.target)
	}
	a.bare, a.close, a.keeps = h.bare, h.close, h.old && !h.close
	return a
}

// answerAt returns what a target other than the plain / is answered with.
func answerAt(target []byte) answer {
	missing := answer{status: http.StatusNotFound}
	path, _, _ := bytes.Cut(target, []byte("?"))
	if scheme := []byte("http://"); bytes.HasPrefix(path, scheme) { // RFC 9112 section 3.2.2
		_, after, ok := bytes.Cut(path[len(scheme):], []byte("/"))
		if path = path[len(path)-len(after)-1:]; !ok {
			path = []byte("/")
		}
	}
	if string(path) == "/" {
		return answer{status: http.StatusOK, size: defaultSize}
	}
	if rest, ok := bytes.CutPrefix(path, []byte("/bytes/")); ok {
		n, ok := sizeOf(rest)
		if !ok {
			return missing
		}
		return answer{status: http.StatusOK, size: n}
	}
	rest, ok := bytes.CutPrefix(path, []byte("/delay/"))
	if !ok {
		return missing
	}
	text, digits, sized := bytes.Cut(rest, []byte("/"))
	delay, err := time.ParseDuration(string(text))
	if err != nil || delay < 0 || delay > maxDelay {
		return missing
	}
	n := int64(defaultSize)
	if sized {
		if n, ok = sizeOf(digits); !ok {
			return missing
		}
	}
	return answer{status: http.StatusOK, size: n, delay: delay}
}

func sizeOf(digits []byte) (n int64, ok bool) {
	n, status := decimal(digits)
	return n, status == 0 && n <= maxSize
}

// body returns how many bytes follow the head.
func (a answer) body() int64 {
	if a.bare {
		return 0
	}
	return a.size
}

// appendHead appends the head, of at most maxAnswerHead bytes.
func (a answer) appendHead(b []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.status)...)
	b = append(b, "\r\nContent-Type: text/plain\r\nContent-Length: "...)
	b = strconv.AppendInt(b, a.size, 10)
	switch {
	case a.close:
		b = append(b, "\r\nConnection: close"...)
	case a.keeps:
		b = append(b, "\r\nConnection: keep-alive"...)
	}
	return append(b, "\r\n\r\n"...)
}

const maxAnswerHead = 256

// proceed is sent to those who wait for it before they send a body.
const proceed = "HTTP/1.1 100 Continue\r\n\r\n"

// page holds a head and the beginning of a body side by side, so that they go
// out in one write and nothing is copied but the head, and that only if it is
// another one than last time.
type page struct {
	bytes []byte // room for a head, then the filler
	last  answer
	start int // of the last head, which ends where the filler begins
}

// pageBody is how much of a body one write has at most: enough to make the
// cost of the call small, little enough to stay in the cache of the processor.
const pageBody = 256 << 10

func newPage() *page {
	return &page{bytes: bytes.Repeat([]byte("x"), maxAnswerHead+pageBody)}
}

// frame returns the head of an answer with as much of its body as the page
// has, and how long the head is. It is valid until the next call.
func (p *page) frame(a answer) (b []byte, head int) {
	if a.delay = 0; a != p.last {
		var room [maxAnswerHead]byte
		h := a.appendHead(room[:0])
		p.start = maxAnswerHead - len(h)
		copy(p.bytes[p.start:], h)
		p.last = a
	}
	end := maxAnswerHead + int(min(a.body(), pageBody))
	return p.bytes[p.start:end], maxAnswerHead - p.start
}

// filler returns the next bytes of a body of which n are left.
func (p *page) filler(n int64) []byte {
	return p.bytes[maxAnswerHead : maxAnswerHead+min(n, pageBody)]
}
