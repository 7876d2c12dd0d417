// SPDX-License-Identifier: Apache-2.0

// Package freeport hands out TCP ports for tests that must know a port before
// the program under test listens on it.
//
// A port that the kernel chose and that was closed again may be taken by any
// other socket before the program gets it, as the local port of a connection
// too. So the ports come from below the range which kernels choose from, and
// each process has whole blocks of them to itself: it holds a block by
// listening on the block's first port for as long as it lives.
package freeport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// The ports that are handed out: blocks of size from low up to high. Linux
// chooses from 32768, the lab from 20000.
const (
	low, high = 10_000, 20_000
	size      = 50
)

// errNone reports that each block is held by another process.
var errNone = errors.New("freeport: all ports are handed out")

// reserve is what this process holds.
type reserve struct {
	mu   sync.Mutex // guards what follows
	held []net.Listener
	next []int // not handed out yet
}

var ports reserve

// Take returns n different ports that no other test of this machine is given
// while this process lives, and that nothing listens on now.
func Take(ctx context.Context, n int) ([]int, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	var taken []int
	for len(taken) < n {
		if len(ports.next) == 0 {
			if err := ports.more(ctx); err != nil {
				return nil, err
			}
		}
		port := ports.next[0]
		ports.next = ports.next[1:]
		if free(ctx, port) {
			taken = append(taken, port)
		}
	}
	return taken, nil
}

// One returns one such port.
func One(tb testing.TB) int {
	tb.Helper()
	taken, err := Take(tb.Context(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	return taken[0]
}

// more holds one more block. A process that holds a fifth of all goes through
// its own once more: those of its first tests are free again by then.
func (r *reserve) more(ctx context.Context) error {
	const blocks = (high - low) / size
	if len(r.held) >= blocks/5 {
		for _, ln := range r.held {
			r.add(ln)
		}
		return nil
	}
	begin := rand.IntN(blocks)
	for i := range blocks {
		first := low + (begin+i)%blocks*size
		if ln, err := listen(ctx, first); err == nil {
			r.held = append(r.held, ln)
			r.add(ln)
			return nil
		}
	}
	return errNone
}

// add adds the ports of the block that ln holds.
func (r *reserve) add(ln net.Listener) {
	first := ln.Addr().(*net.TCPAddr).Port
	for i := 1; i < size; i++ {
		r.next = append(r.next, first+i)
	}
}

// free reports whether a port can be listened on at all addresses.
func free(ctx context.Context, port int) bool {
	ln, err := listen(ctx, port)
	return err == nil && ln.Close() == nil
}

func listen(ctx context.Context, port int) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("", strconv.Itoa(port)))
}
