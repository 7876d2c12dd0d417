// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// A Sender writes while another goroutine is inside Loop.
func TestSenderWritesBesideLoop(t *testing.T) {
	s := new(socket.Sweeper)
	c, peer := pair(t, s)
	in := &script{data: func([]byte) socket.Next { return socket.Done }}
	done := make(chan error, 1)
	go func() { done <- c.Loop(in) }()
	var by socket.Sender
	by.Over(c)
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // more than the kernel takes at once
	failed := make(chan error, 1)
	go func() {
		n, err := by.Try(want)
		if err == nil {
			var m int
			m, err = by.Send(want[n:], time.Minute)
			n += m
		}
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		failed <- err
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("received something else, %v", err)
	}
	if err := result(t, failed); err != nil {
		t.Error(err)
	}
	write(t, peer, "end")
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

// A peer that takes nothing does not hold a Sender for longer than it is told.
func TestSenderGivesUp(t *testing.T) {
	s := new(socket.Sweeper)
	c, _ := pair(t, s)
	sweep(t, s)
	var by socket.Sender
	by.Over(c)
	n, err := by.Send(make([]byte, 64<<20), time.Millisecond)
	if !errors.Is(err, socket.ErrExpired) || n == 64<<20 {
		t.Errorf("sent %d bytes, %v, want ErrExpired", n, err)
	}
	if n, err := by.Try([]byte("more")); n != 0 {
		t.Errorf("tried: %d bytes, %v, want none", n, err)
	}
}
