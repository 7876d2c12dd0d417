// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"testing"
)

func TestAPooledWorkForgetsItsLastConnection(t *testing.T) {
	w := newWork()
	w.grow()
	w.from, w.to = 20_000, 30_000 // as a refused head leaves it
	w.shrink()
	s := New(Options{})
	s.worksOf(0).put(w)
	part := bytes.Repeat([]byte("a"), bufferSize-1)
	c := &conn{server: s, part: bytes.Clone(part)}
	c.take()
	if got := c.w.in[c.w.from:c.w.to]; !bytes.Equal(got, part) {
		t.Errorf("%d bytes stand in the buffer, want the %d that were put aside", len(got), len(part))
	}
	if room := len(c.Buffer()); room < bufferSize/2 {
		t.Errorf("room for %d bytes, want more for the rest of the head", room)
	}
}

func TestWorksBeyondTheBoundAreNotKept(t *testing.T) {
	l := &New(Options{}).works[0]
	for range 2 * maxFree {
		l.put(newWork())
	}
	if n := len(l.free); n != maxFree {
		t.Errorf("%d are kept, want %d", n, maxFree)
	}
	top := l.free[maxFree-1]
	if got := l.get(); got != top {
		t.Error("the one used last is not the next one")
	}
}
