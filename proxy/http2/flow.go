// SPDX-License-Identifier: Apache-2.0

package http2

// What a peer may send is bounded by windows, of the connection and of each
// stream (RFC 9113 section 5.2), which are widened again by half at a time. That
// of a stream is as large as what is kept of it unread at most: it is widened as
// its lane takes what came. That of a client's connection, too: however many
// streams it has, no more of it is kept. But what instances send is for many
// clients, of whom some are slow: the window of their connection is widened by
// all that comes, or a few clients that do not read would keep the answers of
// all others back.

// kept notes n bytes of content that lie in the text of the lane. The mutex is
// held.
func (l *lane) kept(n int) {
	l.owed += n
	if l.conn.accept == nil {
		l.conn.credit(n)
	}
}

// taken notes that n bytes of it do so no more. The mutex is held.
func (l *lane) taken(n int) {
	l.owed -= n
	if l.conn.accept != nil {
		l.conn.credit(n)
	}
}

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
