// SPDX-License-Identifier: Apache-2.0

package origin

import "context"

// RunPlain is Run with a goroutine a connection, as on other systems than
// Linux.
func (s *Server) RunPlain(ctx context.Context) error {
	defer s.Close()
	return servePlain(ctx, s.listeners)
}

// Request is what was understood of a request.
type Request struct {
	Bare, Close bool
	Size        int64
	End         int // offset in the stream of what follows it
	Refused     int // status, if it was refused; it is the last one then
}

// Requests reads the requests of a connection that brings the pieces one
// after the other, and tells how many bytes are left at the end.
func Requests(pieces ...[]byte) (all []Request, left int) {
	var x exchange
	var in []byte
	taken := 0
	for _, p := range pieces {
		in = append(in, p...)
		for do := consent; do != read && len(in) > 0; {
			var n int
			n, do = x.next(in)
			in = in[n:]
			taken += n
			switch a := x.answer; {
			case do == reply && a.refused:
				return append(all, Request{Refused: a.status}), 0
			case do == reply:
				all = append(all, Request{Bare: a.bare, Close: a.close, Size: a.size, End: taken})
			}
		}
	}
	return all, len(in)
}
