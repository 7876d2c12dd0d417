// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// mostRecorded is how much a record keeps of the beginning, and as much again
// of the end: a process that runs for an hour writes more than anybody reads.
const mostRecorded = 128 << 10

// record is what a process wrote: how it began, and the latest. It is safe for
// concurrent use.
type record struct {
	mu     sync.Mutex // guards what follows
	first  []byte
	last   []byte // up to twice as much as is kept
	left   int    // bytes that were left out
	panics bool   // a line told of one
	part   []byte // the end of what was written, too short for the word
}

// panicWord is what a panic has in the log.
const panicWord = "panic"

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.part = append(r.part, b...)
	r.panics = r.panics || bytes.Contains(r.part, []byte(panicWord))
	r.part = append(r.part[:0], r.part[max(0, len(r.part)-len(panicWord)+1):]...)
	n := min(len(b), mostRecorded-len(r.first))
	r.first = append(r.first, b[:n]...)
	r.last = append(r.last, b[n:]...)
	if over := len(r.last) - mostRecorded; over > mostRecorded {
		r.left += over
		r.last = append(r.last[:0], r.last[over:]...)
	}
	return len(b), nil
}

// panicked reports whether a panic was ever told of.
func (r *record) panicked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.panics
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := ""
	if r.left > 0 {
		left = fmt.Sprintf("\n... %d bytes left out ...\n", r.left)
	}
	return string(r.first) + left + string(r.last)
}

func TestRecordsKeepBothEnds(t *testing.T) {
	r := new(record)
	lines := 0
	for size := 0; size < 20*mostRecorded; lines++ {
		n, err := fmt.Fprintf(r, "line %d\n", lines)
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	text := r.String()
	if !strings.HasPrefix(text, "line 0\nline 1\n") || !strings.HasSuffix(text, fmt.Sprintf("\nline %d\n", lines-1)) || !strings.Contains(text, "bytes left out") {
		t.Errorf("the record begins %.30q and ends %q", text, text[len(text)-30:])
	}
	if len(text) > 4*mostRecorded {
		t.Errorf("%d bytes are kept", len(text))
	}
	if r.panicked() {
		t.Error("a panic is found where there is none")
	}
	for _, part := range []string{"a pa", "n", "ic\n", strings.Repeat("x", 9*mostRecorded)} {
		if _, err := r.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if !r.panicked() {
		t.Error("a panic in the midst, written in parts, is forgotten")
	}
}
