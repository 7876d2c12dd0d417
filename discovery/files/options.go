// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Source. The zero Options are ready to use.
type Options struct {
	// Settle is how long a text must stay the same to be believed.
	// Zero means 50 ms.
	Settle time.Duration
	// Hold is how long an absence that only seems so is held back.
	// Zero means 60 s.
	Hold time.Duration
	// Poll is how often the paths are looked at when the system reports no
	// change. Zero means 5 s; where the system cannot report changes, they
	// are looked at each second at least.
	Poll time.Duration
	// MaxBytes bounds one file; a larger one is refused unread.
	// Zero means 8 MiB.
	MaxBytes int64
	// MaxFiles bounds all files together. A directory that would exceed it
	// is refused as a whole. Zero means 10,000.
	MaxFiles int
	// Read makes documents of the text of a file, and says what is wrong with
	// it. Nil means routing.Read.
	Read func(path string, data []byte) ([]*routing.Document, []*routing.Fault)
	// Log takes what concerns the watching itself; faults in files are told
	// to the sink. Nil discards it.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Settle = cmp.Or(o.Settle, 50*time.Millisecond)
	o.Hold = cmp.Or(o.Hold, time.Minute)
	o.Poll = cmp.Or(o.Poll, 5*time.Second)
	o.MaxBytes = cmp.Or(o.MaxBytes, 8<<20)
	o.MaxFiles = cmp.Or(o.MaxFiles, 10_000)
	if o.Read == nil {
		o.Read = routing.Read
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}
