// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

const (
	// leastGap is the least time between two looks, so that a storm of
	// changes costs little.
	leastGap = 10 * time.Millisecond
	// patience is how many times Settle a settled change waits for others
	// that have not settled. Files written one after the other are believed
	// together; one that is written without end holds up nobody.
	patience = 5
	// blindPoll is how often paths are looked at that cannot be watched.
	blindPoll = time.Second
)

// Source tells what stands in files. It implements discovery.Source and
// discovery.Confirmer; the key of an update is the path of the file as it was
// given or, for a file in a directory, as joined to the directory's path. A
// fault that concerns a directory itself has its path and a "/" as key.
//
// A directory stands for the files directly in it whose names end in .yaml,
// .yml or .json and do not begin with a dot. Symbolic links are followed.
type Source struct {
	o     Options
	roots []*root
	bell  bell
	wake  chan struct{} // holds a token when Confirm was called

	// The following belong to Run's goroutine.
	files  map[string]*file   // what is believed, by key
	dirs   map[string]mark    // what is believed of directories, by key
	latest map[string]sighted // what the last look saw that is not believed yet
	read   map[string]reading // the last reading of each file
	told   map[string]bool    // the keys that were told and are not gone
	began  time.Time          // since when something has waited to be believed
	cost   time.Duration      // of the last look

	mu        sync.Mutex // guards the fields below
	held      map[string]*discovery.Held
	confirmed map[string]*discovery.Held // held absences to believe at once
}

// root is a path as given.
type root struct {
	path string // clean
	dir  bool   // it was a directory when it was last seen
}

// New returns a source of the files and directories at paths. A path given
// twice counts once.
func New(paths []string, o Options) *Source {
	s := &Source{
		o:      o.withDefaults(),
		wake:   make(chan struct{}, 1),
		files:  make(map[string]*file),
		dirs:   make(map[string]mark),
		latest: make(map[string]sighted),
		read:   make(map[string]reading),
		told:   make(map[string]bool),
		held:   make(map[string]*discovery.Held),
	}
	s.bell = newNotices(s.o.Log)
	given := make(map[string]bool, len(paths))
	for _, p := range paths {
		if p = filepath.Clean(p); !given[p] {
			given[p] = true
			s.roots = append(s.roots, &root{path: p})
		}
	}
	return s
}

// Run implements discovery.Source. It returns an error if a path is missing
// or cannot be looked at from the start; a file that cannot be read, or read
// wrong, is a fault of an update.
func (s *Source) Run(ctx context.Context, sink func(discovery.Batch)) error {
	defer s.bell.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	poll := time.NewTicker(s.o.Poll)
	defer poll.Stop()

	listed := false
	var first []discovery.Update
	var looked time.Time
	began := time.Now()
	for {
		again := false
		select {
		case <-ctx.Done():
			return nil
		case <-s.bell.rung():
			if gap := max(leastGap, s.cost) - time.Since(looked); gap > 0 {
				timer.Reset(gap)
				continue
			}
		case <-s.wake:
			again = true
		case <-timer.C:
		case <-poll.C:
		}
		updates, denied := s.step(ctx, again)
		looked = time.Now()
		if listed {
			if len(updates) > 0 {
				sink(discovery.Batch{Updates: updates})
			}
			timer.Reset(s.next(looked))
			continue
		}
		first = append(first, updates...)
		// A file that is written without end is told when it ends.
		if listed = s.settled() || looked.Sub(began) >= patience*s.o.Settle; listed {
			if denied != nil {
				return denied
			}
			sink(discovery.Batch{Updates: newest(first), Listed: true})
		}
		timer.Reset(s.next(looked))
	}
}

// Confirm implements discovery.Confirmer. It also has every file read anew.
func (s *Source) Confirm() int {
	s.mu.Lock()
	n := len(s.held)
	s.confirmed = maps.Clone(s.held)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return n
}
