// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net"
	"sync"
)

// maxLarge is how many bodies of several artifacts are read at a time, so that
// they do not fill the memory together.
const maxLarge = 8

// turnstile lets as many in at a time as it holds.
type turnstile chan struct{}

// enter waits for its turn.
func (t turnstile) enter(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turnstile) leave() { <-t }

// limit returns a listener that has at most n connections open at a time.
func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, turns: make(turnstile, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	turns  turnstile
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a turn, and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.turns <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.turns.leave()
		return nil, err
	}
	return &turn{Conn: c, leave: sync.OnceFunc(l.turns.leave)}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// turn is a connection that gives up its turn when it is closed.
type turn struct {
	net.Conn
	leave func()
}

func (t *turn) Close() error {
	defer t.leave()
	return t.Conn.Close()
}
