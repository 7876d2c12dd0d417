// SPDX-License-Identifier: Apache-2.0

// Package remember keeps in a file what a source knows, for the next start of
// the process.
package remember

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"
)

const (
	// every is how often it is looked whether there is anything new. What is
	// known after an end in bad order is older by that much at most.
	every = time.Minute
	// lastly is how long the end waits for the file to be written.
	lastly = 5 * time.Second
)

// MaxSize bounds a file that is read, in bytes: more than what 100,000 pods or
// tasks come to.
const MaxSize = 256 << 20

// Keeper writes a file whenever there is something new in it. Nobody waits for
// it: what becomes known while it writes is in what it writes next.
type Keeper struct {
	// Path is that of the file; empty means that nothing is kept.
	Path string
	// Take returns what writes all that is known now; nil if that is in the file,
	// or not all is known yet. It is called by one goroutine at a time.
	Take func() func(io.Writer) error
	// Lost is called if what Take returned could not be written, so that Take
	// returns it again.
	Lost func()
	Log  *slog.Logger
}

// Start begins to write: when full is called, each minute, and at the end, which
// end says. full may be called once, and end waits 5 s at most: what hangs for
// longer holds nothing but its goroutine. Both are there also without a path.
func (k *Keeper) Start(ctx context.Context) (full, end func()) {
	if k.Path == "" {
		return func() {}, func() {}
	}
	ctx = context.WithoutCancel(ctx)
	known, over, saved := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(saved)
		k.keep(ctx, known, over)
	}()
	full = func() { known <- struct{}{} } // there is room
	end = func() {
		close(over)
		late := time.NewTimer(lastly)
		defer late.Stop()
		select {
		case <-saved:
		case <-late.C:
			k.Log.WarnContext(ctx, "what is known is not remembered for the next start: the file cannot be written in time", "file", k.Path)
		}
	}
	return full, end
}

func (k *Keeper) keep(ctx context.Context, known, over <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-over:
			k.save(ctx)
			return
		case <-known:
		case <-tick.C:
		}
		k.save(ctx)
	}
}

// save writes what is known. What cannot be written is tried again later.
func (k *Keeper) save(ctx context.Context) {
	text := k.Take()
	if text == nil {
		return
	}
	if err := write(k.Path, text); err != nil {
		k.Lost()
		k.Log.WarnContext(ctx, "what is known is not remembered for the next start", "file", k.Path, "error", err)
	}
}

// write writes the file, or leaves the one before. What a process that was
// killed meanwhile had written is overwritten by the next one.
func write(path string, text func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	if err = text(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
