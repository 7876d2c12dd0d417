// SPDX-License-Identifier: Apache-2.0

package http2

// What a peer may send is bounded by windows, of the connection and of each
// stream, which are as large as what is kept of it unread at most (RFC 9113
// section 5.2). They are widened again by half at a time, as lanes take what
// came.

// credit gives n bytes back to the window of the connection. The mutex is held.
func (s *Conn) credit(n int) {
	s.owed += n
	if s.owed >= s.o.ConnWindow/2 && s.err == nil {
		s.output.b = appendWindow(s.output.buffer(), 0, s.owed)
		s.recvWindow += s.owed
		s.owed = 0
	}
}

// widen gives n bytes back to the window of the stream. The mutex is held.
func (l *lane) widen(n int) {
	l.back += n
	if l.id == 0 || l.remote || l.back < l.conn.o.StreamWindow/2 || l.conn.err != nil {
		return
	}
	s := l.conn
	s.output.b = appendWindow(s.output.buffer(), l.id, l.back)
	l.recvWindow += l.back
	l.back = 0
}
