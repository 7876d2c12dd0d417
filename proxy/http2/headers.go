// SPDX-License-Identifier: Apache-2.0

package http2

// block is a header block that comes in more than one frame.
type block struct {
	open   bool
	id     uint32
	ended  bool // END_STREAM came with its first frame
	itself bool // its stream depends on itself
	b      []byte
	frames int
}

// blockFrames bounds the frames of a header block, and blockSize its bytes:
// CONTINUATION frames without end would cost as much as many requests and never
// be one (CVE-2024-27316).
const blockFrames = 32

func (s *Conn) blockSize() int { return max(4*s.o.HeaderList, 64<<10) }

// takeHeaders takes in a header block, or its beginning.
func (r *reader) takeHeaders(f *frame) error {
	if f.id == 0 {
		return broken(ProtocolError, "a header list of no stream")
	}
	if !f.unpad() {
		return broken(ProtocolError, "more padding than there is")
	}
	itself := false
	if f.has(flagPriority) {
		if len(f.payload) < 5 {
			return broken(FrameSizeError, "a header list with a priority cut short")
		}
		itself = dependsOn(f.payload) == f.id
		f.payload = f.payload[5:]
	}
	if !f.has(flagEndHeaders) {
		if len(f.payload) == 0 {
			if err := r.count(emptyFrames); err != nil {
				return err
			}
		}
		r.block = block{open: true, id: f.id, ended: f.has(flagEndStream), itself: itself, b: append(r.block.b[:0], f.payload...)}
		return nil
	}
	return r.takeList(f.id, f.payload, f.has(flagEndStream), itself)
}

// takeContinuation takes in more of a header block.
func (r *reader) takeContinuation(f *frame) error {
	k := &r.block
	if !k.open {
		return broken(ProtocolError, "a continuation of nothing")
	}
	k.frames++
	if k.frames > blockFrames || len(k.b)+len(f.payload) > r.conn.blockSize() {
		return &ConnError{Code: EnhanceYourCalm, Text: "a header list that does not end", ending: EndedContinuations}
	}
	k.b = append(k.b, f.payload...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	k.open = false
	err := r.takeList(k.id, k.b, k.ended, k.itself)
	if cap(k.b) > smallestFrame {
		k.b = nil
	}
	return err
}

// takeList takes in a header list.
func (r *reader) takeList(id uint32, b []byte, ended, itself bool) error {
	s := r.conn
	s.mu.Lock()
	l := s.streams[id]
	toHead := l != nil && l.toHead
	headed := l != nil && l.headed
	s.mu.Unlock()
	switch {
	case l == nil && s.accept != nil && id > s.lastID:
		return r.takeRequest(id, b, ended, itself)
	case l == nil:
		return r.takeLate(id, b)
	case headed:
		return r.takeTrailers(id, b, ended)
	case s.accept == nil:
		return r.takeAnswer(id, b, ended, toHead)
	}
	return nil
}

// takeLate decodes a header list of a stream that is not open.
func (r *reader) takeLate(id uint32, b []byte) error {
	s := r.conn
	if err := r.decode(b, discard); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.opened(id) && s.past.wasReset(id):
		return r.guard.count(s, strays)
	case s.past.has(id):
		return broken(StreamClosed, "a header list of a stream that is over")
	default:
		return broken(ProtocolError, "a stream that may not be opened")
	}
}

// takeTrailers takes in what stands behind the content.
func (r *reader) takeTrailers(id uint32, b []byte, ended bool) error {
	s := r.conn
	r.trailers.reset()
	if err := r.decode(b, r.addTrailer); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.streams[id]
	switch {
	case l == nil:
		return nil // its lane has just ended it
	case l.remote:
		return r.breakStream(l, StreamClosed)
	case !ended:
		return r.breakStream(l, ProtocolError)
	}
	return r.complete(l, &r.trailers)
}

// takeAnswer takes in the head of an answer.
func (r *reader) takeAnswer(id uint32, b []byte, ended, toHead bool) error {
	s := r.conn
	r.answer.reset(s.o.HeaderList, toHead)
	if err := r.decode(b, r.addList); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.streams[id]
	switch {
	case l == nil:
		return nil
	case l.remote:
		return r.breakStream(l, StreamClosed)
	}
	text, got, fault := r.answer.end(r.text[:0], ended)
	r.text = text
	if fault != wellFormed {
		return r.breakStream(l, ProtocolError)
	}
	l.spare(len(text))
	l.in = append(l.in, text...)
	r.shrink()
	l.got = got
	if l.headed = !r.answer.interim(); ended {
		l.remote = true
		l.settle()
	}
	l.wake()
	return nil
}

// takeRequest takes in a header list that opens a stream.
func (r *reader) takeRequest(id uint32, b []byte, ended, itself bool) error {
	s := r.conn
	r.request.reset(s.o.HeaderList)
	if err := r.decode(b, r.addList); err != nil {
		return err
	}
	if id&1 == 0 {
		return broken(ProtocolError, "a stream with an even number")
	}
	s.mu.Lock()
	s.lastID = id
	switch {
	case s.leaving.said: // RFC 9113 section 6.8: it is not served
		s.past.add(id, true)
		s.mu.Unlock()
		return nil
	case itself:
		defer s.mu.Unlock()
		return r.refuse(id, ProtocolError, RefusedMalformed)
	// A stream that was reset is over, but what it made us do goes on for a
	// while: that is bounded, too.
	case len(s.streams) >= s.o.Streams || s.open-len(s.idle) >= 2*s.o.Streams:
		defer s.mu.Unlock()
		return r.refuse(id, RefusedStream, RefusedStreams)
	}
	text, got, fault := r.request.end(r.text[:0], ended)
	r.text = text
	if fault != wellFormed {
		defer s.mu.Unlock()
		return r.refuse(id, ProtocolError, RefusedMalformed)
	}
	l, made := s.idleLane()
	l.begin(id)
	l.spare(len(text))
	l.in = append(l.in, text...)
	l.got, l.headed, l.remote = got, true, ended
	l.out.beginAnswer(r.request.isHead())
	r.shrink()
	l.wake()
	s.mu.Unlock()
	if made {
		s.accept(s.show(l))
	}
	return nil
}

// shrink gives up room for a text that was unusually long.
func (r *reader) shrink() {
	if cap(r.text) > textKept {
		r.text = nil
	}
}

// refuse turns a stream down before anything is done for it. The mutex is held.
func (r *reader) refuse(id uint32, code Code, why Refusal) error {
	s := r.conn
	s.output.b = appendReset(s.output.buffer(), id, code)
	s.past.add(id, true)
	s.o.Counters.refused(why)
	if why == RefusedMalformed {
		return r.guard.count(s, resetStreams)
	}
	return r.guard.count(s, refusedStreams)
}

// idleLane returns a lane that waits for a stream, or a new one: it is not
// shown to anybody yet. The mutex is held.
func (s *Conn) idleLane() (l *lane, made bool) {
	if n := len(s.idle); n > 0 {
		l = s.idle[n-1]
		s.idle[n-1] = nil
		s.idle = s.idle[:n-1]
		l.resting = false
		return l, false
	}
	l = newLane(s)
	s.add(l)
	return l, true
}
