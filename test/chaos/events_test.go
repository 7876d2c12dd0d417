// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// events are the last things that happened, told when something went wrong.
// It is safe for concurrent use.
type events struct {
	began time.Time

	mu   sync.Mutex // guards what follows
	last [60]string
	next int
}

func newEvents() *events { return &events{began: time.Now()} }

func (e *events) add(format string, args ...any) {
	at := time.Since(e.began).Round(time.Millisecond)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last[e.next%len(e.last)] = at.String() + " " + fmt.Sprintf(format, args...)
	e.next++
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for i := max(0, e.next-len(e.last)); i < e.next; i++ {
		b.WriteString(e.last[i%len(e.last)] + "\n")
	}
	return b.String()
}
