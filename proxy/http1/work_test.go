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
	s := &Server{}
	s.works.New = func() any { return w }
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
