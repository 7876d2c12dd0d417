// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Run tries a write that failed again after firstRetry, then after twice as
// long each time, up to lastRetry; a newer table is tried at once.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Write is an attempt to write a table.
type Write struct {
	Version routing.Version
	Bytes   int           // of the file, as far as it was written
	Took    time.Duration // until it was durable, or failed
	Err     error         // nil if it is durable
}

// Save hands a table over to be written by Run and returns at once. A newer
// one takes the place of one that is not yet written. The payload must not be
// changed from here on; a Stream that brings more than the bound fails the write.
//
// It refuses what is not newer than what is kept or waits (ErrNotNewer; see
// [routing.Version.Newer], by which another epoch passes), what is in
// quarantine (ErrQuarantined) and what is above the bound (ErrTooLarge).
func (k *Keeper) Save(t Table) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refuse(t); err != nil {
		return fmt.Errorf("table %s: %w", t.Version, err)
	}
	if k.pending != nil && k.pending != k.writing {
		k.status.Superseded++
	}
	k.pending = &t
	select {
	case k.work <- struct{}{}:
	default: // Run knows
	}
	return nil
}

func (k *Keeper) refuse(t Table) error {
	if k.closed {
		return ErrClosed
	}
	if len(t.Payload) > k.o.MaxBytes {
		return fmt.Errorf("%w: payload of %d bytes, above %d", ErrTooLarge, len(t.Payload), k.o.MaxBytes)
	}
	if _, barred := k.starts.barred[t.Version]; barred {
		return ErrQuarantined
	}
	if k.pending != nil {
		if !t.Version.Newer(k.pending.Version) {
			return ErrNotNewer
		}
	} else if g := k.newest(); g != nil && !t.Version.Newer(g.version) {
		return ErrNotNewer
	}
	return nil
}

// Flush waits until nothing waits to be written, the next attempt to write
// has failed, whose error it returns, or ctx ends.
func (k *Keeper) Flush(ctx context.Context) error {
	k.mu.Lock()
	failures := k.status.Failures
	for {
		switch {
		case k.pending == nil:
			k.mu.Unlock()
			return nil
		case k.closed:
			k.mu.Unlock()
			return ErrClosed
		case k.status.Failures != failures:
			err := k.status.Err
			k.mu.Unlock()
			return err
		}
		changed := k.changed
		k.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		k.mu.Lock()
	}
}

// Run writes what Save hands over until ctx ends, and then once more what is
// left. A write that fails is told to Options.Wrote and tried again; the
// tables on disk stay as they are. It returns nil. At most one Run may be
// under way, and Close comes after it.
func (k *Keeper) Run(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait := firstRetry
	for {
		if k.write() {
			wait = firstRetry
			retry.Stop()
		} else {
			retry.Reset(wait)
			wait = min(2*wait, lastRetry)
		}
		select {
		case <-ctx.Done():
			k.write()
			return nil
		case <-k.work:
		case <-retry.C:
		}
	}
}

// write writes the table that waits, if any, and reports whether that is not
// to be tried again.
func (k *Keeper) write() bool {
	k.mu.Lock()
	t, g := k.pending, generation{number: k.next}
	if t == nil || k.closed {
		k.mu.Unlock()
		return true
	}
	k.writing = t
	k.mu.Unlock()
	g.version, g.saved = t.Version, t.Saved
	f := frame{schema: k.o.Schema, number: g.number, table: *t}
	// The monotonic clock, which Options.Now need not have.
	began := time.Now()
	var out counted
	err := replace(k.folder, g.file(), tableDraft, func(to io.Writer) error {
		out.to = to
		return f.write(&out, k.o.MaxBytes)
	})
	if err != nil {
		// It may have its name, while nobody knows for how long.
		_ = k.folder.remove(g.file())
	}
	done := Write{Version: t.Version, Bytes: out.bytes, Took: time.Since(began), Err: err}
	ok := k.wrote(t, g, err)
	if k.o.Wrote != nil {
		k.o.Wrote(done)
	}
	return ok
}

// counted counts what is written.
type counted struct {
	to    io.Writer
	bytes int
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += n
	return n, err
}

// wrote takes note of an attempt and drops what is not kept any more.
func (k *Keeper) wrote(t *Table, g generation, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.tell()
	k.writing = nil
	k.status.Err = err
	// A number is used once: after a failure nobody knows what the file is.
	k.next = g.number + 1
	if err != nil {
		k.status.Failures++
		if k.pending != t {
			k.status.Superseded++
		}
		return false
	}
	k.status.Writes++
	k.held = append(k.held, g)
	if k.pending == t {
		k.pending = nil
	}
	k.trim()
	return true
}

// trim removes files until there are no more than Generations. A file that
// cannot be removed is tried again with the next table. k.mu is held.
func (k *Keeper) trim() {
	kept := k.held
	for len(kept) > Generations {
		i := k.victim(kept)
		if k.folder.remove(kept[i].file()) != nil {
			break
		}
		kept = slices.Delete(kept, i, i+1)
	}
	k.held = kept
}

// victim returns which of more than two files to do without: one that is
// damaged, or in quarantine, or the oldest; never the last one, which was
// just written, nor the newest that is known to serve.
func (k *Keeper) victim(held []generation) int {
	old := held[:len(held)-1]
	if i := slices.IndexFunc(old, func(g generation) bool { return !g.whole() }); i >= 0 {
		return i
	}
	if i := slices.IndexFunc(old, func(g generation) bool { _, ok := k.starts.barred[g.version]; return ok }); i >= 0 {
		return i
	}
	if k.starts.proven != nil && old[0].version == k.starts.proven.version {
		return 1
	}
	return 0
}
