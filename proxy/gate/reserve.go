// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"os"
	"sync"
)

// Reserve holds a file descriptor back for the time when there are no others:
// a connection that waits in the kernel can then be told so. The zero Reserve
// holds none yet. It is safe for concurrent use.
type Reserve struct {
	mu   sync.Mutex // guards file
	file *os.File
}

// Hold makes sure that a descriptor is held back, if one can be had.
func (r *Reserve) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold()
}

func (r *Reserve) hold() {
	if r.file == nil {
		if f, err := os.Open(os.DevNull); err == nil {
			r.file = f
		}
	}
}

// Lend calls f while the descriptor is free.
func (r *Reserve) Lend(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
	defer r.hold()
	f()
}

// Close lets go of the descriptor.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
}

func (r *Reserve) release() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}
