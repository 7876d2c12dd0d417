// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"io/fs"
	"time"
)

// handBell rings only when a test rings it.
type handBell struct {
	ring   chan struct{}
	failed bool
}

func (b handBell) rung() <-chan struct{}              { return b.ring }
func (b handBell) follow(context.Context, *look) bool { return false }
func (b handBell) blind() bool                        { return b.failed }
func (b handBell) close()                             {}

// NewUnwatched returns a source that learns of changes by ring and by
// polling only, so that it can run on a test's own time.
func NewUnwatched(paths []string, o Options) (s *Source, ring func()) {
	s = New(paths, o)
	b := handBell{ring: make(chan struct{}, 1)}
	s.bell = b
	return s, func() {
		select {
		case b.ring <- struct{}{}:
		default:
		}
	}
}

// NewBlind returns a source that the system tells of no change.
func NewBlind(paths []string, o Options) *Source {
	s := New(paths, o)
	s.bell = handBell{failed: true}
	return s
}

// Holds reports whether a file that was read at a time, with the facts read,
// still has that text if its facts are now.
func Holds(read, now fs.FileInfo, at time.Time) bool {
	return reading{info: read, at: at}.holds(now)
}

// Stamp returns the time of a file's last change.
func Stamp(info fs.FileInfo) time.Time { return stamp(info) }
