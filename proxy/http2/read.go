// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"sync"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// reader takes in what the peer sends: it is the socket.Handler of the
// connection, and belongs to the goroutine of Run.
type reader struct {
	conn *Conn
	err  error // why reading ends; nil: orderly, or by the socket

	buf      []byte // nil while nothing is there
	from, to int
	part     []byte // what stands of an incomplete frame while nothing comes

	prefaced bool // the preface was read
	greeted  bool // the first SETTINGS were

	decoder    *hpack.Decoder
	addList    func(hpack.HeaderField)
	addTrailer func(hpack.HeaderField)
	request    requestText
	answer     answerText
	trailers   trailerText
	text       []byte // of a request, before a lane takes it

	block block
	guard guard
	gone  []*socket.Conn // to be told that their peer is, outside the mutex
}

const (
	readSize = 32 << 10
	readKept = 1 << 10
)

var reads = sync.Pool{New: func() any { return new([readSize]byte) }}

// begin takes in what was read before.
func (r *reader) begin(pre []byte) error {
	r.prefaced = r.conn.accept == nil
	if len(pre) == 0 {
		return nil
	}
	for len(pre) > 0 {
		n := copy(r.Buffer(), pre)
		pre = pre[n:]
		if r.Data(n) == socket.Done {
			return r.err
		}
	}
	r.Idle()
	return nil
}

// Buffer implements socket.Handler.
func (r *reader) Buffer() []byte {
	if r.buf == nil {
		r.buf = reads.Get().(*[readSize]byte)[:]
		if need := len(r.part) + frameHeader + r.conn.o.FrameSize; need > len(r.buf) {
			r.buf = make([]byte, 2*need)
		}
		r.from, r.to = 0, copy(r.buf, r.part)
		r.part = r.part[:0]
	}
	if r.from > 0 {
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	return r.buf[r.to:]
}

// Idle implements socket.Handler.
func (r *reader) Idle() {
	if r.buf == nil {
		return
	}
	r.part = append(r.part[:0], r.buf[r.from:r.to]...)
	if len(r.part) == 0 && cap(r.part) > readKept {
		r.part = nil
	}
	r.release()
}

// release gives the buffer back.
func (r *reader) release() {
	if cap(r.buf) == readSize {
		reads.Put((*[readSize]byte)(r.buf))
	}
	r.buf, r.from, r.to = nil, 0, 0
}

// Data implements socket.Handler.
func (r *reader) Data(n int) socket.Next {
	r.to += n
	s := r.conn
	if s.o.Ping > 0 {
		s.heard.Store(socket.Now())
	}
	err := r.consume()
	for _, c := range r.gone {
		c.Hangup()
	}
	clear(r.gone)
	r.gone = r.gone[:0]
	s.mu.Lock()
	if err == nil && len(s.output.b) > outputFull {
		err = &ConnError{Code: EnhanceYourCalm, Text: "what it is sent is not read", ending: EndedBuffered}
	}
	over := s.leaving.over(s)
	write := err == nil && !over && s.claim()
	if s.leaving.asked != 0 {
		s.leaving.asked = 0 // whatever came, it is there
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		r.err = err
		return socket.Done
	case over:
		return socket.Done
	case write:
		go s.write(nil, 0)
	}
	if r.from < r.to {
		return socket.More
	}
	return socket.Park
}

// consume takes in what is complete.
func (r *reader) consume() error {
	if !r.prefaced {
		b := r.buf[r.from:r.to]
		if n := min(len(b), len(preface)); string(b[:n]) != preface[:n] {
			return broken(ProtocolError, "no preface of HTTP/2")
		}
		if len(b) < len(preface) {
			return nil
		}
		r.from += len(preface)
		r.prefaced = true
	}
	for r.to-r.from >= frameHeader {
		f, length := parseFrame(r.buf[r.from:])
		if length > r.conn.o.FrameSize {
			return broken(FrameSizeError, "a frame that is too large")
		}
		if r.to-r.from < frameHeader+length {
			break
		}
		f.payload = r.buf[r.from+frameHeader : r.from+frameHeader+length]
		r.from += frameHeader + length
		if err := r.take(&f); err != nil {
			return err
		}
	}
	return nil
}

// take takes in one frame.
func (r *reader) take(f *frame) error {
	switch {
	case !r.greeted:
		if f.kind != frameSettings || f.has(flagAck) {
			return broken(ProtocolError, "something else before SETTINGS")
		}
		r.greeted = true
		r.conn.sock.Due(0)
	case r.block.open && (f.kind != frameContinuation || f.id != r.block.id):
		return broken(ProtocolError, "a frame inside a header list")
	}
	switch f.kind {
	case frameData:
		return r.takeData(f)
	case frameHeaders:
		return r.takeHeaders(f)
	case framePriority:
		return r.takePriority(f)
	case frameReset:
		return r.takeReset(f)
	case frameSettings:
		return r.takeSettings(f)
	case framePush:
		return broken(ProtocolError, "a push")
	case framePing:
		return r.takePing(f)
	case frameGoAway:
		return r.takeGoAway(f)
	case frameWindow:
		return r.takeWindow(f)
	case frameContinuation:
		return r.takeContinuation(f)
	default: // RFC 9113 section 5.5
		return r.count(strays)
	}
}

// count counts abuse where the mutex is not held.
func (r *reader) count(what abuse) error {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	return r.guard.count(r.conn, what)
}

// opened reports whether a stream was opened before by the side that may. The
// mutex is held.
func (s *Conn) opened(id uint32) bool {
	if s.accept != nil {
		return id&1 == 1 && id <= s.lastID
	}
	return id&1 == 1 && id < s.nextID
}

// stray says what becomes of a frame of a stream that is not open. The mutex is
// held.
func (r *reader) stray(f *frame) error {
	s := r.conn
	if !s.opened(f.id) {
		return broken(ProtocolError, "a frame of a stream that is not open")
	}
	if err := r.guard.count(s, strays); err != nil {
		return err
	}
	if !s.past.wasReset(f.id) && f.kind == frameData {
		s.output.b = appendReset(s.output.buffer(), f.id, StreamClosed)
	}
	return nil
}

// takeData takes in content.
func (r *reader) takeData(f *frame) error {
	s := r.conn
	if f.id == 0 {
		return broken(ProtocolError, "content of no stream")
	}
	size := len(f.payload)
	if !f.unpad() {
		return broken(ProtocolError, "more padding than there is")
	}
	if size == 0 && !f.has(flagEndStream) || size > 0 && len(f.payload) == 0 && !f.has(flagEndStream) {
		if err := r.count(emptyFrames); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recvWindow -= size; s.recvWindow < 0 {
		return broken(FlowControlError, "more content than the connection may hold")
	}
	l := s.streams[f.id]
	if l == nil {
		s.credit(size)
		return r.stray(f)
	}
	switch {
	case l.remote:
		s.credit(size)
		return r.breakStream(l, StreamClosed)
	case size > l.recvWindow:
		s.credit(size)
		return r.breakStream(l, FlowControlError)
	case s.accept == nil && !l.headed:
		s.credit(size)
		return r.breakStream(l, ProtocolError)
	}
	l.recvWindow -= size
	if padding := size - len(f.payload); padding > 0 {
		s.credit(padding)
		l.widen(padding)
	}
	return r.fill(l, f)
}

// fill adds content to the text of a lane. The mutex is held.
func (r *reader) fill(l *lane, f *frame) error {
	s := r.conn
	if len(l.in)-l.from > 2*s.o.StreamWindow+textSize {
		s.credit(len(f.payload))
		return &ConnError{Code: EnhanceYourCalm, Text: "content in pieces that are too small", ending: EndedEmpty}
	}
	l.spare(textOf(len(f.payload)))
	was := len(l.in)
	var fault malformed
	l.in, fault = l.got.appendData(l.in, f.payload)
	if fault != wellFormed {
		s.credit(len(f.payload))
		return r.breakStream(l, ProtocolError)
	}
	if len(l.in) > was {
		l.kept(len(f.payload))
	} else {
		s.credit(len(f.payload)) // passed over
		l.widen(len(f.payload))
	}
	if f.has(flagEndStream) {
		return r.complete(l, nil)
	}
	l.wake()
	return nil
}

// complete ends the peer's message. The mutex is held.
func (r *reader) complete(l *lane, trailers *trailerText) error {
	var fault malformed
	if trailers != nil {
		l.spare(len(trailers.lines) + textOf(0))
	} else {
		l.spare(textOf(0))
	}
	l.in, fault = l.got.appendEnd(l.in, trailers)
	if fault != wellFormed {
		return r.breakStream(l, ProtocolError)
	}
	l.remote = true
	l.wake()
	l.settle()
	return nil
}

// breakStream ends a stream of which the peer broke the rules. That it did
// costs it something, or it could make us end what it began without end
// (CVE-2025-8671). The mutex is held.
func (r *reader) breakStream(l *lane, code Code) error {
	id := l.id
	r.drop(l, resetBy(code))
	s := r.conn
	s.output.b = appendReset(s.output.buffer(), id, code)
	return r.guard.count(s, resetStreams)
}

// drop ends the exchange of a stream that was ended before its time. The mutex
// is held.
func (r *reader) drop(l *lane, err error) {
	l.over = true
	if l.err == nil && !l.remote {
		l.err = err
	}
	l.outErr = err
	if r.conn.accept != nil {
		l.err = err
		l.discard()
	}
	l.forget(true)
	l.wake()
	l.roomy()
	if l.sock != nil {
		r.gone = append(r.gone, l.sock)
	}
}

// takePriority passes over what RFC 9113 section 5.3 did away with.
func (r *reader) takePriority(f *frame) error {
	switch {
	case f.id == 0:
		return broken(ProtocolError, "a priority of no stream")
	case len(f.payload) != 5:
		return broken(FrameSizeError, "a priority of the wrong size")
	}
	if dependsOn(f.payload) == f.id {
		return broken(ProtocolError, "a stream that depends on itself")
	}
	return r.count(priorities)
}

func dependsOn(b []byte) uint32 {
	return (uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) & largestID
}

// takeReset ends a stream that the peer has given up.
func (r *reader) takeReset(f *frame) error {
	s := r.conn
	switch {
	case f.id == 0:
		return broken(ProtocolError, "the end of no stream")
	case len(f.payload) != 4:
		return broken(FrameSizeError, "the end of a stream of the wrong size")
	}
	code := Code(uint32(f.payload[0])<<24 | uint32(f.payload[1])<<16 | uint32(f.payload[2])<<8 | uint32(f.payload[3]))
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.streams[f.id]
	if l == nil {
		if !s.opened(f.id) {
			return broken(ProtocolError, "the end of a stream that was not begun")
		}
		return r.guard.count(s, strays)
	}
	if s.accept == nil {
		r.resetByInstance(l, code)
		return nil
	}
	r.drop(l, resetBy(code))
	s.past.add(f.id, false)
	return r.guard.count(s, resetStreams)
}

// resetByInstance ends a stream that an instance ended: it may have answered
// before, or have done nothing at all. The mutex is held.
func (r *reader) resetByInstance(l *lane, code Code) {
	err := resetBy(code)
	if code == RefusedStream && !l.headed && l.fresh && len(l.in) == 0 {
		err = refused
	}
	r.drop(l, err)
}

// takePing answers a PING, or notes the answer to ours.
func (r *reader) takePing(f *frame) error {
	s := r.conn
	switch {
	case f.id != 0:
		return broken(ProtocolError, "a PING of a stream")
	case len(f.payload) != 8:
		return broken(FrameSizeError, "a PING of the wrong size")
	}
	if f.has(flagAck) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaving.answered(s, [8]byte(f.payload))
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.guard.count(s, pings); err != nil {
		return err
	}
	s.output.b = appendPing(s.output.buffer(), flagAck, [8]byte(f.payload))
	return nil
}

// takeWindow widens a window of ours.
func (r *reader) takeWindow(f *frame) error {
	s := r.conn
	if len(f.payload) != 4 {
		return broken(FrameSizeError, "a WINDOW_UPDATE of the wrong size")
	}
	n := int(dependsOn(f.payload))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.guard.count(s, windowUpdates); err != nil {
		return err
	}
	if f.id == 0 {
		if n == 0 {
			return broken(ProtocolError, "a WINDOW_UPDATE of nothing")
		}
		if s.sendWindow += n; s.sendWindow > largestWindow {
			return broken(FlowControlError, "a window that is too large")
		}
		s.roomForAll()
		return nil
	}
	l := s.streams[f.id]
	if l == nil {
		if !s.opened(f.id) {
			return broken(ProtocolError, "a WINDOW_UPDATE of a stream that was not begun")
		}
		return nil // RFC 9113 section 5.1: it may come late
	}
	if n == 0 {
		return r.breakStream(l, ProtocolError)
	}
	if l.sendWindow += n; l.sendWindow > largestWindow {
		return r.breakStream(l, FlowControlError)
	}
	l.roomy()
	return nil
}

// takeSettings takes in what the peer allows (RFC 9113 section 6.5).
func (r *reader) takeSettings(f *frame) error {
	s := r.conn
	switch {
	case f.id != 0:
		return broken(ProtocolError, "SETTINGS of a stream")
	case f.has(flagAck) && len(f.payload) != 0, len(f.payload)%6 != 0:
		return broken(FrameSizeError, "SETTINGS of the wrong size")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.has(flagAck) {
		s.leaving.settled = true
		return nil
	}
	if err := r.guard.count(s, settingsFrames); err != nil {
		return err
	}
	if s.accept == nil && !s.leaving.told {
		s.peerStreams = largestWindow // unless this says otherwise
		s.leaving.told = true
		defer close(s.ready)
	}
	for b := f.payload; len(b) > 0; b = b[6:] {
		value := uint32(b[2])<<24 | uint32(b[3])<<16 | uint32(b[4])<<8 | uint32(b[5])
		if err := s.set(uint16(b[0])<<8|uint16(b[1]), value); err != nil {
			return err
		}
	}
	s.output.b = appendFrame(s.output.buffer(), 0, frameSettings, flagAck, 0)
	return nil
}

// set takes in one setting. The mutex is held.
func (s *Conn) set(id uint16, value uint32) error {
	switch id {
	case settingPush:
		if value > 1 || value == 1 && s.accept == nil {
			return broken(ProtocolError, "a wrong setting of push")
		}
	case settingStreams:
		s.peerStreams = int(min(value, largestWindow))
	case settingFrame:
		if value < smallestFrame || value > largestFrame {
			return broken(ProtocolError, "a wrong size of frames")
		}
	case settingWindow:
		if value > largestWindow {
			return broken(FlowControlError, "a window that is too large")
		}
		return s.setWindow(int(value))
	}
	return nil // settingTable: header blocks do without; and unknown ones
}

// setWindow changes the window of all streams (RFC 9113 section 6.9.2). The
// mutex is held.
func (s *Conn) setWindow(size int) error {
	more := size - s.peerWindow
	s.peerWindow = size
	for _, l := range s.streams {
		if l.sendWindow += more; l.sendWindow > largestWindow {
			return broken(FlowControlError, "a window that is too large")
		}
	}
	s.roomForAll()
	return nil
}

// takeGoAway notes that the peer begins or serves no further streams.
func (r *reader) takeGoAway(f *frame) error {
	s := r.conn
	switch {
	case f.id != 0:
		return broken(ProtocolError, "GOAWAY of a stream")
	case len(f.payload) < 8:
		return broken(FrameSizeError, "GOAWAY of the wrong size")
	}
	last := dependsOn(f.payload)
	code := Code(uint32(f.payload[4])<<24 | uint32(f.payload[5])<<16 | uint32(f.payload[6])<<8 | uint32(f.payload[7]))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving.began, s.leaving.byPeer = true, true
	if s.accept != nil {
		return nil
	}
	if code != NoError {
		s.leaving.fault = &ConnError{Code: code, Text: string(bytes.ToValidUTF8(f.payload[8:min(len(f.payload), 8+200)], nil)), Peer: true}
	}
	for id, l := range s.streams {
		if id > last {
			r.drop(l, refused)
		}
	}
	return nil
}

// Woken implements socket.Handler.
func (r *reader) Woken() socket.Next {
	s := r.conn
	over, err := s.tick()
	switch {
	case err != nil:
		r.err = err
		return socket.Done
	case over:
		return socket.Done
	}
	s.kick()
	return socket.More
}

// errPast is what hpack says of a string over its limit.
var errPast = hpack.ErrStringLength

// decode has a header block decoded: whoever gets its fields, all of it must
// be, for what follows leans on it (RFC 9113 section 4.3).
func (r *reader) decode(b []byte, add func(hpack.HeaderField)) error {
	r.decoder.SetEmitFunc(add)
	_, err := r.decoder.Write(b)
	if err == nil {
		err = r.decoder.Close()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errPast):
		return &ConnError{Code: EnhanceYourCalm, Text: "a field that is too long", ending: EndedContinuations}
	default:
		return broken(CompressionError, "a header block that cannot be decoded")
	}
}

func discard(hpack.HeaderField) {}
