// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"io"
)

// Peek looks at what was received without taking it: it calls enough with all
// that is there, and again whenever more has come, until enough returns true,
// b is full, the peer has ended (io.EOF) or the connection expires
// (ErrExpired). It returns how many bytes of b it saw, whatever the error. What
// it looks at is what came over the network, below any TLS. It must not be
// called inside Loop. Where sockets cannot be looked at it is
// errors.ErrUnsupported, as where a connection is carried.
func (c *Conn) Peek(b []byte, enough func(seen []byte) bool) (int, error) {
	if c.by != nil {
		return 0, errors.ErrUnsupported
	}
	seen := 0
	var failed error
	look := func(fd uintptr) bool {
		for ended := false; ; ended = true {
			n, err := lookFD(fd, b)
			if n > seen {
				seen = n
				if n == len(b) || enough(b[:n]) {
					return true
				}
			}
			switch {
			case err != nil:
				failed = err
				return true
			case ended:
				failed = io.EOF
				return true
			case !endedFD(fd):
				return false
			}
			// It has ended, maybe behind what came since it was looked at.
		}
	}
	err := c.raw.Read(look)
	for err != nil && c.onlyWoken(err) {
		err = c.raw.Read(look)
	}
	if err != nil {
		return seen, c.translate(err)
	}
	return seen, failed
}
