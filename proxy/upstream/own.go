// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"sync"
	"time"
)

// A connection that begins with a PROXY header says whom it is made for. It
// serves this client alone: what came over it from others would be taken for
// the same one's. Such connections do not wait in a stack for whoever comes
// next. Whoever has one keeps it, and tells the instance while it rests, which
// ends it when it was idle for too long, or is to end itself.

// Own reports that connections to the instance belong to the clients that they
// are made for: Get has none, and in place of Put there is Rest.
func (i *Instance) Own() bool { return i.special != nil && i.special.own }

// resting holds connections that wait for the next request of their clients.
type resting struct {
	mu    sync.Mutex // guards conns and Conn.place of those in it
	conns []*Conn    // in no order
}

// add makes a connection rest.
func (r *resting) add(c *Conn) {
	r.conns = append(r.conns, c)
	c.place = len(r.conns)
}

// remove reports whether the connection rested.
func (r *resting) remove(c *Conn) bool {
	if c.place == 0 {
		return false
	}
	last := len(r.conns) - 1
	moved := r.conns[last]
	r.conns[c.place-1], moved.place = moved, c.place
	r.conns[last], c.place = nil, 0
	r.conns = r.conns[:last]
	return true
}

// Rest lets a connection wait for the next request of its client, at time now,
// which is socket.Now(); it is closed if there is none for as long as keep. Its
// last answer must have been read to the end. Only Resume and Leave may be
// called meanwhile.
func (i *Instance) Rest(c *Conn, now int64, keep time.Duration) {
	c.Due(0)
	c.idleSince, c.idleUntil = now, now+int64(keep)
	if c.Expired() || !i.rest(c) {
		c.Close()
	}
}

// rest makes the connection rest, unless the instance is retired.
func (i *Instance) rest(c *Conn) bool {
	i.special.resting.mu.Lock()
	defer i.special.resting.mu.Unlock()
	if i.retired.Load() {
		return false
	}
	i.special.resting.add(c)
	return true
}

// rise ends the rest of a connection, and reports whether it rested: it may
// have been closed.
func (i *Instance) rise(c *Conn) bool {
	i.special.resting.mu.Lock()
	defer i.special.resting.mu.Unlock()
	return i.special.resting.remove(c)
}

// Resume ends the rest of a connection and reports whether it may carry a
// request; if not it is closed. now and look are those of Get.
func (c *Conn) Resume(now int64, look bool) bool {
	if !c.Instance.rise(c) {
		return false
	}
	if !c.usable(now, look) {
		c.Close()
		return false
	}
	c.Reused = true
	return true
}

// Leave closes a connection that rests: its client is gone.
func (c *Conn) Leave() {
	c.Instance.rise(c)
	c.Close()
}

// takeDead removes the dead ones of a batch from position from on, and
// returns where the next batch begins.
func (r *resting) takeDead(from int, now int64) (dead []*Conn, next int, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range reapBatch {
		if from >= len(r.conns) {
			break
		}
		if c := r.conns[from]; c.idleUntil <= now || !c.Alive() {
			r.remove(c) // another one takes its place
			dead = append(dead, c)
			continue
		}
		from++
	}
	return dead, from, from < len(r.conns)
}
