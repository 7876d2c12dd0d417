// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is how calls go wrong. Of its effects, those that are set come in the
// order in which they are written here.
type Fault struct {
	// Path is the path of the calls, without the prefix; empty means all, and
	// one that ends in * all that begin so.
	Path string
	// Times is how many calls it concerns; zero means all until it is healed.
	Times int

	// Hang answers nothing until it is healed, or the caller has gone.
	Hang bool
	// Delay passes before the answer.
	Delay time.Duration
	// Status, Header and Body take the place of the answer if Status is set.
	Status int
	Header http.Header
	Body   string
	// Huge adds that many bytes to a list of apps, which stays good JSON.
	Huge int64
	// Cut ends the connection after that many bytes of the answer's body.
	Cut int
	// Slow is how long each byte of the answer's body takes.
	Slow time.Duration
}

// Request is a call that was made.
type Request struct {
	Instance int // which of the Marathons was asked
	Method   string
	Path     string // without the prefix
	Query    string // as sent
	Header   http.Header
	Status   int // of the answer; 0 as long as there is none
}

// broken is a fault while it holds.
type broken struct {
	Fault
	left   int // calls; negative means all
	healed chan struct{}
}

// Break has calls go wrong until heal is called, or as often as the fault says.
// Of several faults that concern a call the first one counts.
func (c *Cluster) Break(f Fault) (heal func()) {
	b := &broken{Fault: f, left: f.Times, healed: make(chan struct{})}
	if f.Times == 0 {
		b.left = -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, b)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(b.healed)
		c.faults = slices.DeleteFunc(c.faults, func(other *broken) bool { return other == b })
	})
}

// fault returns what is to go wrong with a call, or nil.
func (c *Cluster) fault(path string) *broken {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.faults {
		if b.left == 0 || !b.concerns(path) {
			continue
		}
		if b.left > 0 {
			b.left--
		}
		return b
	}
	return nil
}

func (f *Fault) concerns(path string) bool {
	if start, ok := strings.CutSuffix(f.Path, "*"); ok {
		return strings.HasPrefix(path, start)
	}
	return f.Path == "" || f.Path == path
}

// strike has a call go wrong before it is answered, and returns what it is
// answered through. It reports whether there is an answer yet to be made.
func (b *broken) strike(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, bool) {
	if b.Hang {
		select {
		case <-b.healed:
		case <-r.Context().Done():
			return w, false
		}
	}
	if b.Delay > 0 && !pause(r.Context(), b.Delay) {
		return w, false
	}
	if b.Huge > 0 || b.Cut > 0 || b.Slow > 0 {
		w = &brokenWriter{ResponseWriter: w, fault: b.Fault, ctx: r.Context().Done(), huge: b.Huge, left: b.Cut}
	}
	if b.Status == 0 {
		return w, true
	}
	for name, values := range b.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(b.Status)
	_, _ = io.WriteString(w, b.Body) // a failed write is the caller's, who has gone
	return w, false
}

// pause waits, and reports whether it was for as long as asked.
func pause(ctx context.Context, d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-late.C:
		return true
	}
}

// brokenWriter writes an answer's body as a fault asks.
type brokenWriter struct {
	http.ResponseWriter
	fault Fault
	ctx   <-chan struct{}
	huge  int64 // bytes to be added yet
	left  int   // bytes until the connection is cut
}

// Unwrap returns what the answer is really written to.
func (w *brokenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes a part of the body.
func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.huge > 0 && len(b) > 0 && b[0] == '{' {
		if err := w.blow(); err != nil {
			return 0, err
		}
		n, err := w.write(b[1:])
		return n + 1, err
	}
	return w.write(b)
}

// blow writes the beginning of an object, with a field of the asked size.
func (w *brokenWriter) blow() error {
	if _, err := w.write([]byte(`{"huge":"`)); err != nil {
		return err
	}
	block := bytes.Repeat([]byte("x"), 64<<10)
	for w.huge > 0 {
		n, err := w.write(block[:min(int64(len(block)), w.huge)])
		if err != nil {
			return err
		}
		w.huge -= int64(n)
	}
	_, err := w.write([]byte(`",`))
	return err
}

func (w *brokenWriter) write(b []byte) (int, error) {
	if w.fault.Cut > 0 && len(b) >= w.left {
		_, _ = w.ResponseWriter.Write(b[:w.left])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(b)
	if w.fault.Slow == 0 {
		return w.ResponseWriter.Write(b)
	}
	for i := range b {
		if _, err := w.ResponseWriter.Write(b[i : i+1]); err != nil {
			return i, err
		}
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		late := time.NewTimer(w.fault.Slow)
		select {
		case <-w.ctx:
			late.Stop()
			return i, context.Canceled
		case <-late.C:
		}
	}
	return len(b), nil
}

// remembered bounds the calls that are told about.
const remembered = 10_000

// record notes a call, and returns how its status is noted.
func (c *Cluster) record(r Request) (done func(status int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) == remembered {
		c.requests = slices.Delete(c.requests, 0, remembered/2)
		c.forgotten += remembered / 2
	}
	c.requests = append(c.requests, r)
	n := c.forgotten + len(c.requests) - 1
	c.note()
	return func(status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if i := n - c.forgotten; i >= 0 {
			c.requests[i].Status = status
		}
	}
}

// Requests returns the calls that were made, in their order; of many, only the
// last 5,000 or more.
func (c *Cluster) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Count returns how many of Requests were made to a path, without the prefix.
func (c *Cluster) Count(path string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted(path)
}

func (c *Cluster) counted(path string) (n int) {
	for _, r := range c.requests {
		if r.Path == path {
			n++
		}
	}
	return n
}

// AwaitCount waits until that many calls or more were made to a path, or ctx
// ends.
func (c *Cluster) AwaitCount(ctx context.Context, path string, n int) error {
	return c.await(ctx, func() bool { return c.counted(path) >= n })
}
