// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Source is where changes come from.
type Source interface {
	// Run tells sink what there is and then what changes, until ctx ends; it
	// returns nil after that. It returns an error if the first listing is
	// impossible, or if the source cannot go on.
	//
	// The first listing may take several batches; the last of them, and no
	// other, has Listed set. Until then a key that was not named says
	// nothing. Run calls sink from one goroutine at a time and not after it
	// returned. A source is run once.
	Run(ctx context.Context, sink func(Batch)) error
}

// Confirmer is a source that holds back absences.
type Confirmer interface {
	// Confirm believes every absence that is held back now, as if its time
	// were up, and returns how many objects that concerns. It is safe for
	// concurrent use; the updates follow through the sink.
	Confirm() int
}

// Batch is what a source tells at once.
type Batch struct {
	// Updates hold at most one update a key, sorted by key.
	Updates []Update
	// Listed marks the end of the source's first listing: everything that
	// the source knows has been told.
	Listed bool
	// Changes are the changes by which this came about, as far as the source
	// can tell them apart, in their order. A batch may have changes alone,
	// which made no difference to any object.
	Changes []Change
}

// Change is something that somebody did, or that happened, and that is waited
// for until it serves.
type Change struct {
	// ID is the revision of the store that it made; 0 if it came from
	// elsewhere.
	ID uint64
	// Namespace is whose it is, organisation/environment; empty means that of
	// the updates which it comes with, or all of them if they are of several.
	Namespace string
	// At is when it was made, or first seen.
	At time.Time
	// Kind is what it is about.
	Kind ChangeKind
}

// ChangeKind says what a change is about.
type ChangeKind uint8

const (
	// Config is what people ask for.
	Config ChangeKind = iota
	// Endpoints is what runs.
	Endpoints
)

// String returns config or endpoints.
func (k ChangeKind) String() string {
	if k == Endpoints {
		return "endpoints"
	}
	return "config"
}

// Update is the whole state of one object, such as a file. An update takes
// the place of every earlier one with its key. It is not changed once it was
// handed on.
type Update struct {
	// Key names the object and never changes its meaning, such as the path
	// of a file. Faults and documents name it as the source of their
	// positions.
	Key string
	// Namespace is whose object it is, organisation/environment; empty means
	// that of whoever runs the source.
	Namespace string
	// Origin names the kind of source, such as api or files, by which sources
	// are ranked; empty ranks last.
	Origin string
	// Generation is the number by which the origin knows what the object says
	// now; 0 if it has none.
	Generation int64
	// Documents is what the object says now, in the order written.
	Documents []*routing.Document
	// Kept is what the object said last as far as that still counts, although
	// it cannot be seen now: the object is unreadable, a part of it is, or
	// its absence is held back. A kept document yields to one of the same
	// kind and name in the Documents of any object.
	Kept []*routing.Document
	// Instances is what the object says runs where, with what it said last as
	// far as that still counts.
	Instances []*routing.Instance
	// Secrets are the Secrets that the object is, which gateways of its namespace
	// may name. They are never shown or logged.
	Secrets []*routing.Secret
	// Faults is what is wrong with the object now, in the order of its text.
	Faults []*routing.Fault
	// Gone says that the object is no more. Nothing but Key and Urgent is set
	// besides.
	Gone bool
	// Held is set while an absence is held back: Kept, or the Instances, would
	// be gone.
	Held *Held
	// Urgent says that the update takes instances away, which never waits
	// for others.
	Urgent bool
}

// Held is an absence that only seems so, and is not yet believed.
type Held struct {
	Since time.Time // when it was first seen
	Until time.Time // when it is believed
	Why   string    // what was seen, such as "the file is empty"
}
