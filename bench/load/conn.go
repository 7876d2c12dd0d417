// SPDX-License-Identifier: Apache-2.0

package load

// conn is one of a run's connections, through all that are opened in its
// place.
type conn struct {
	index    int
	state    state
	codec    codec
	lanes    []lane
	busy     int   // lanes whose request is out
	served   int   // answers since it was opened
	retiring bool  // it takes no more requests, and is shut when the last is answered
	since    int64 // when it began to open
}

// state is how far a connection is.
type state int

const (
	shut state = iota
	opening
	open
)

// lane carries one request at a time on a connection.
type lane struct {
	conn    *conn
	index   int
	request int32 // of the mix
	busy    bool
	queued  bool  // it stands in the ring, or is parked
	due     int64 // when its request was due; in a closed loop, when it was begun
	begun   int64 // when the connection took it
	freed   int64 // when its last request ended
}

// ring is a queue of lanes of fixed capacity.
type ring struct {
	lanes   []*lane
	head, n int
}

func (r *ring) push(l *lane) {
	l.queued = true
	i := r.head + r.n
	if i >= len(r.lanes) {
		i -= len(r.lanes)
	}
	r.lanes[i] = l
	r.n++
}

// pop returns the lane that was pushed first, nil if there is none.
func (r *ring) pop() *lane {
	if r.n == 0 {
		return nil
	}
	l := r.lanes[r.head]
	l.queued = false
	if r.head++; r.head == len(r.lanes) {
		r.head = 0
	}
	r.n--
	return l
}
