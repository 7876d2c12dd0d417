// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"sync"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// work is what serving a request needs: buffers and scratch space. A
// connection has one only while it has something to do; between requests it
// is the pool's.
type work struct {
	in       []byte // what the client sent
	from, to int    // the part of in that is not used yet
	head     head
	view     request
	body     body
	plan     plan

	out []byte // what is sent next

	now        int64 // the latest reading of socket.Now: one a station is enough
	exchange   live.Exchange
	bounds     *routing.Bounds // of the exchange
	room       routing.Bounds  // for them
	end        int64           // when the exchange must be over; 0: never
	left       span            // where out says how long that is, if it must
	hurried    bool            // end is sooner than the bounds say
	walk       upstream.Walk
	found      *upstream.Instance // by one that waited
	halfClosed int64              // when a client that waits was first seen so; 0: it was not
	retries    *routing.Retries   // what the route says of them; nil if nothing
	retried    int                // attempts at further instances
	replays    int                // further attempts at the same one
	taken      []byte             // of the body, by the pump
	next       *upstream.Instance // that is tried
	keeper     keeper
	asked      []byte // the fields that ask for an upgrade, and others behind them
	told       string // the explanation that the answer carries, as JSON
	hsts       string // what the answer says in Strict-Transport-Security; empty for nothing
	edits      edits
	claims     claims
	own        []byte // the fields that tell of the client, if they are this request's

	back    []byte // what the instance sent
	got     int    // bytes in back
	answer  head
	interim int         // answers 1xx so far
	fault   live.Reason // why the answer is refused
	chunks  chunks      // of the answer
	client  *conn       // whose request is under way
}

// plan is what must be known of a request once its head is overwritten.
type plan struct {
	head     bool // the method is HEAD
	safe     bool // may be sent again
	http10   bool
	close    bool // the client wants, or is given, no further exchange
	buffered bool // the whole body was in the buffer
	grpc     bool // a call of gRPC
	upgrade  span // the protocols that are asked for, in work.asked; empty if there are none
}

// body is what is known of a request's body.
type body struct {
	have   []byte // what stands in the buffer, ready to be sent
	left   int64  // of a Content-Length, after have
	chunks chunks // after have
	framed bool   // chunked
}

func newWork() *work {
	return &work{
		in:     make([]byte, bufferSize),
		back:   make([]byte, bufferSize),
		out:    make([]byte, 0, 4<<10),
		head:   head{fields: make([]field, 0, 32)},
		answer: head{fields: make([]field, 0, 32)},
		bounds: &defaultBounds,
	}
}

// works holds what connections of a shard do not need now. The one used last
// is on top: it is still in the processor's caches. A sync.Pool holds the rest,
// so that memory for the busiest moment is not kept.
type works struct {
	mu   sync.Mutex // guards free
	free []*work
	_    [32]byte // shards do not share cache lines
}

// maxFree bounds the works of a shard that are kept for good: 2.3 MB of
// buffers.
const maxFree = 64

var moreWorks = sync.Pool{New: func() any { return newWork() }}

func (s *Server) worksOf(shard uint32) *works { return &s.works[shard&uint32(len(s.works)-1)] }

func (l *works) get() *work {
	l.mu.Lock()
	n := len(l.free)
	if n == 0 {
		l.mu.Unlock()
		return moreWorks.Get().(*work)
	}
	w := l.free[n-1]
	l.free = l.free[:n-1]
	l.mu.Unlock()
	return w
}

func (l *works) put(w *work) {
	l.mu.Lock()
	kept := len(l.free) < maxFree
	if kept {
		l.free = append(l.free, w)
	}
	l.mu.Unlock()
	if !kept {
		moreWorks.Put(w)
	}
}

// grow makes room for the largest head.
func (w *work) grow() {
	larger := make([]byte, 2*len(w.in))
	w.to = copy(larger, w.in[w.from:w.to])
	w.from = 0
	w.in = larger
}

// shrink returns to the usual size of buffers.
func (w *work) shrink() {
	if len(w.in) > bufferSize {
		w.in = make([]byte, bufferSize)
	}
	if len(w.back) > bufferSize {
		w.back = make([]byte, bufferSize)
	}
	if cap(w.out) > 4*bufferSize {
		w.out = make([]byte, 0, 4<<10)
	}
	if cap(w.own) > bufferSize {
		w.own = nil
	}
	if cap(w.taken) > bufferSize {
		w.taken = nil
	}
	w.claims.shrink()
	w.client = nil
	w.exchange.Generation = nil
	w.bounds = &defaultBounds // nothing of a former snapshot
	w.head.entry = nil
	w.retries, w.next = nil, nil
	w.exchange.Trace = nil
}

// takeBody takes the body's bytes that stand behind the head, and reports
// whether that is all of it, and whether it is well formed. It may have come in a
// carried connection.
func (w *work) takeBody(carried bool) (complete, ok bool) {
	h := &w.head
	w.body = body{framed: h.chunked}
	w.body.chunks.lenient = carried
	rest := w.in[w.from:w.to]
	if h.chunked {
		n, err := w.body.chunks.take(rest)
		if err != nil {
			return false, false
		}
		w.body.have = rest[:n]
		w.from += n + w.body.chunks.skip
		return w.body.chunks.done(), true
	}
	length := max(h.length, 0)
	n := int(min(length, int64(len(rest))))
	w.body.have = rest[:n]
	w.body.left = length - int64(n)
	w.from += n
	return w.body.left == 0, true
}

// Buffer implements socket.Handler for answers.
func (w *work) Buffer() []byte {
	if w.got == len(w.back) {
		larger := make([]byte, 2*len(w.back))
		copy(larger, w.back)
		w.back = larger
	}
	return w.back[w.got:]
}

// Data implements socket.Handler: it is done when the head of the final
// answer is complete.
func (w *work) Data(n int) socket.Next {
	w.got += n
	for w.got > 0 {
		size, reason := w.answer.scanResponse(w.back[:w.got])
		switch {
		case reason != live.None:
			w.fault = reason
			return socket.Done
		case size == 0:
			w.client.moved.Add(1)
			return socket.More
		case w.answer.status >= 200 || w.switches():
			return socket.Done
		}
		if !w.passInterim() {
			w.fault = live.UpstreamProtocol
			return socket.Done
		}
		w.got = copy(w.back, w.back[size:w.got])
	}
	return socket.More
}

// Idle implements socket.Handler.
func (w *work) Idle() {}

// Woken implements socket.Handler.
func (w *work) Woken() socket.Next { return socket.More }

// maxInterim bounds the answers 1xx before the final one.
const maxInterim = 20

// passInterim passes an answer 1xx on (RFC 9110 section 15.2). One that
// switches protocols was not asked for.
func (w *work) passInterim() bool {
	w.interim++
	w.client.moved.Add(1)
	if w.answer.status == 101 || w.interim > maxInterim {
		return false
	}
	if w.plan.http10 {
		return true // it knows none
	}
	b := appendAnswer(nil, &w.answer, answerEdit{})
	// If the client is gone, writing the final answer tells.
	_, _ = w.client.WriteWithin(b, w.bounds.Idle)
	return true
}
