// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// maxLeaving bounds the clients that are told to go at a time. The others
	// get their answer at once, and are closed without a wait.
	maxLeaving = 128
	// leaveTime is how long a client that was refused may take to send its
	// request and to read the answer.
	leaveTime = time.Second
	// leaveBytes is how much of what it sends is read meanwhile.
	leaveBytes = 64 << 10
	// leavePeriod is how often they are looked at.
	leavePeriod = 20 * time.Millisecond
)

// Leaving holds the connections that were refused until they have been told.
// One goroutine looks after all of them, so that a flood costs memory for
// maxLeaving connections and nothing else. The zero Leaving is ready once Run
// is called. It is safe for concurrent use.
type Leaving struct {
	mu     sync.Mutex // guards the fields below
	conns  []*leaver
	closed bool
	wake   chan struct{} // holds one if there may be somebody; made by the first who needs it
}

// leaver is one client that was refused.
type leaver struct {
	conn   *net.TCPConn
	answer []byte // nil once it was sent
	due    time.Time
	read   int
}

// Dismiss tells a client to go: it gets the answer when its request arrives,
// or after a second, and time to read it. It does not block.
func (l *Leaving) Dismiss(c *net.TCPConn, answer []byte) {
	v := &leaver{conn: c, answer: answer, due: time.Now().Add(leaveTime)}
	l.mu.Lock()
	full := l.closed || len(l.conns) >= maxLeaving
	if !full {
		l.conns = append(l.conns, v)
	}
	wake := l.wakeUp()
	l.mu.Unlock()
	if full {
		v.tell()
		_ = c.Close()
		return
	}
	select {
	case wake <- struct{}{}:
	default: // it is awake
	}
}

// wakeUp returns the channel that wakes Run. The mutex is held.
func (l *Leaving) wakeUp() chan struct{} {
	if l.wake == nil {
		l.wake = make(chan struct{}, 1)
	}
	return l.wake
}

// Run sees them out until ctx ends.
func (l *Leaving) Run(ctx context.Context) {
	l.mu.Lock()
	wake := l.wakeUp()
	l.mu.Unlock()
	defer l.closeAll()
	tick := time.NewTicker(leavePeriod)
	defer tick.Stop()
	tick.Stop()
	buf := make([]byte, 16<<10)
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
			tick.Reset(leavePeriod)
		case now := <-tick.C:
			if l.look(now, buf) == 0 {
				tick.Stop()
			}
		}
	}
}

// look looks at each of them once and returns how many are left.
func (l *Leaving) look(now time.Time, buf []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.conns[:0]
	for _, v := range l.conns {
		if v.stays(now, buf) {
			kept = append(kept, v)
		} else {
			_ = v.conn.Close()
		}
	}
	clear(l.conns[len(kept):])
	l.conns = kept
	return len(kept)
}

func (l *Leaving) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.conns {
		v.tell()
		_ = v.conn.Close()
	}
	l.conns, l.closed = nil, true
}

// stays reads what has come, answers if anything has, and reports whether the
// client is to be waited for.
func (v *leaver) stays(now time.Time, buf []byte) bool {
	n, open := readNow(v.conn, buf)
	v.read += n
	if v.answer != nil && (n > 0 || !now.Before(v.due)) {
		v.tell()
	}
	return open && now.Before(v.due) && v.read < leaveBytes
}

// tell sends the answer, as far as the kernel takes it at once, and ends the
// sending half.
func (v *leaver) tell() {
	if v.answer == nil {
		return
	}
	writeNow(v.conn, v.answer)
	v.answer = nil
	_ = v.conn.CloseWrite()
}
