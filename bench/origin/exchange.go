// SPDX-License-Identifier: Apache-2.0

package origin

import "net/http"

// step is what has to happen after some bytes were taken.
type step uint8

const (
	read    step = iota // more has to come
	consent             // the client waits for a 100 before it goes on
	reply               // the request is complete, or refused: answer it
)

// exchange reads the requests of one connection, one after the other. It does
// no I/O; the zero exchange waits for the first head.
type exchange struct {
	body   body   // of the request whose head was read
	answer answer // of that request
}

// next takes bytes from the beginning of in and returns how many. Those that
// it leaves are to be given to it again: with more behind them if it says
// read, otherwise after what it says was done.
func (x *exchange) next(in []byte) (n int, do step) {
	if x.body.next == nothing {
		h, size, status := scanHead(in[:min(len(in), maxHead)])
		if status == 0 && size == 0 && len(in) >= maxHead {
			status = http.StatusRequestHeaderFieldsTooLarge
		}
		switch {
		case status != 0:
			return x.refuse(in, status)
		case size == 0:
			return 0, read
		}
		x.answer, x.body = answerTo(h), bodyOf(h)
		if x.body.next == nothing {
			return size, reply
		}
		if h.expects && size == len(in) {
			return size, consent
		}
		n = size
	}
	size, ok := x.body.drop(in[n:])
	switch {
	case !ok:
		return x.refuse(in, http.StatusBadRequest)
	case x.body.next == nothing:
		return n + size, reply
	}
	return n + size, read
}

// refuse takes all there is, since nobody knows where the next request begins.
func (x *exchange) refuse(in []byte, status int) (n int, do step) {
	x.body, x.answer = body{}, answer{status: status, close: true, refused: true}
	return len(in), reply
}
