// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// bell rings when something may have changed. Its methods but rung are called
// by one goroutine.
type bell interface {
	// rung holds a token when something may have changed.
	rung() <-chan struct{}
	// follow watches the homes of a look. It reports whether that changed
	// what is watched, after which a change may have been missed.
	follow(ctx context.Context, l *look) bool
	// blind reports that changes may pass without a ring.
	blind() bool
	close()
}

// notices rings for what the system says about directories.
//
// A watch belongs to an inode, and whoever replaces a directory takes the
// watch along. So the watcher is made anew, with all its watches, whenever a
// watched directory is not the one that it was: this leaves no old watch to
// be confused with a new one of the same path.
type notices struct {
	log     *slog.Logger
	ring    chan struct{}
	watcher *fsnotify.Watcher
	homes   map[string]fs.FileInfo
	failed  bool // a watch could not be set
	running sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	names map[string]bool
	stale bool // a watched directory was replaced
}

func newNotices(log *slog.Logger) *notices {
	return &notices{log: log, ring: make(chan struct{}, 1)}
}

func (n *notices) rung() <-chan struct{} { return n.ring }

func (n *notices) blind() bool { return n.failed }

func (n *notices) follow(ctx context.Context, l *look) bool {
	n.mu.Lock()
	stale := n.stale
	n.stale, n.names = false, l.names
	n.mu.Unlock()
	if !stale && !n.failed && sameHomes(n.homes, l.homes) {
		return false
	}
	before, failed := n.homes, n.failed
	n.close()
	n.homes = l.homes
	err := n.open()
	n.failed = err != nil
	if n.failed && !failed {
		n.log.WarnContext(ctx, "cannot watch for changes, looking each second instead", "error", err)
	}
	return !n.failed || !sameHomes(before, l.homes)
}

// open watches all homes.
func (n *notices) open() error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	n.watcher = w
	var errs []error
	for dir := range n.homes {
		if err := w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	n.running.Go(func() { n.listen(w, n.homes) })
	return errors.Join(errs...)
}

// listen rings for each event that may concern the files, until w is closed.
func (n *notices) listen(w *fsnotify.Watcher, homes map[string]fs.FileInfo) {
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if !n.concerns(e, homes) {
				continue
			}
		case _, ok := <-w.Errors:
			// Events may be lost, such as when there were too many.
			if !ok {
				return
			}
		}
		select {
		case n.ring <- struct{}{}:
		default:
		}
	}
}

// concerns reports whether an event may concern the files.
func (n *notices) concerns(e fsnotify.Event, homes map[string]fs.FileInfo) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, home := homes[e.Name]; home && e.Op&^(fsnotify.Write|fsnotify.Chmod) != 0 {
		n.stale = true
		return true
	}
	base := filepath.Base(e.Name)
	// A mounted ConfigMap changes by a rename of "..data".
	return n.names[base] || gatewayFile(base) || strings.HasPrefix(base, "..")
}

func (n *notices) close() {
	if n.watcher == nil {
		return
	}
	if err := n.watcher.Close(); err != nil {
		n.log.Debug("closing a watcher", "error", err)
	}
	n.running.Wait()
	n.watcher = nil
}

func sameHomes(a, b map[string]fs.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for dir, info := range a {
		if other, ok := b[dir]; !ok || !os.SameFile(info, other) {
			return false
		}
	}
	return true
}
