// SPDX-License-Identifier: Apache-2.0

package store

import (
	"math"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// DefaultNamespace is where artifacts live if nobody says otherwise.
const DefaultNamespace = "default/default"

// Key names an artifact. Keys are ordered by namespace, kind and name.
type Key struct {
	Namespace string `json:"namespace"` // organisation/environment, each 1 to 63 of a-z, 0-9 and -
	Kind      string `json:"kind"`      // one of Kinds
	Name      string `json:"name"`      // 1 to MaxName bytes of UTF-8 without control characters
}

// String returns namespace, kind and name, separated by slashes.
func (k Key) String() string { return k.Namespace + "/" + k.Kind + "/" + k.Name }

// Artifact is one version of a document, as stored.
type Artifact struct {
	Key
	// Text is YAML or JSON in UTF-8, as it was sent, at most MaxText bytes;
	// it is empty if Deleted. The store does not read it.
	Text string `json:"text,omitempty"`
	// Revision is the one that made this version, never 0.
	Revision uint64    `json:"revision"`
	Author   string    `json:"author"` // who made it
	Time     time.Time `json:"time"`   // when, in UTC
	// Deleted marks a version that is the artifact's absence. Only History
	// and commits have such.
	Deleted bool `json:"deleted,omitempty"`
}

// List is the present artifacts of one version of the store.
type List struct {
	Version   routing.Version
	Artifacts []Artifact // ordered by key
}

// Change asks for a new version of one artifact.
type Change struct {
	Key
	Text   string // what to write; ignored if Delete
	Delete bool
	Expect Expect
}

// Expect is what has to be the present revision of something for a change to
// be made. The zero Expect means that it must not exist.
type Expect uint64

// Absent and Any are the values of Expect that are no revisions: that there
// is nothing yet, and that whatever is there may be replaced.
const (
	Absent Expect = 0
	Any    Expect = math.MaxUint64
)

// holds reports whether e accepts the present revision, 0 for none.
func (e Expect) holds(present uint64) bool { return e == Any || uint64(e) == present }

// Commit is what one Apply did. It is not changed once it was handed on.
type Commit struct {
	Version routing.Version
	Author  string
	Time    time.Time
	Changes []Artifact // in the order of Apply, each with the commit's revision
}

// Value is a small piece of data by name.
type Value struct {
	Name string `json:"-"`
	// Revision differs from that of every former value of the store, also of
	// the store that a restored one took the place of.
	Revision uint64 `json:"revision"`
	Data     []byte `json:"data"` // at most MaxValue bytes
}

// Lease says who holds a name, and until when.
type Lease struct {
	Name   string `json:"-"`
	Holder string `json:"holder"`
	// Term grows whenever a lease of the store is taken by a new holder, or
	// anew after it expired, and stays when it is renewed. Whoever acts under
	// a lease can be told from a former holder by it, also after a restoration.
	Term    uint64    `json:"term"`
	Expires time.Time `json:"expires"`
}

// Event is something that happened.
type Event struct {
	// ID is the number of the event: 1 for the first one of a store, and one
	// more than that of the event before, but for the first one after a
	// restoration, which is far above all before it. The store sets it.
	ID        uint64    `json:"-"`
	Time      time.Time `json:"time"` // in UTC; the store sets it if it is zero
	Namespace string    `json:"namespace"`
	Type      string    `json:"type"`           // 1 to MaxName bytes
	Tags      []string  `json:"tags,omitempty"` // at most MaxTags, each 1 to MaxName bytes
	Data      string    `json:"data,omitempty"` // UTF-8, at most MaxEventData bytes
}

// EventQuery says which events are asked for. The zero EventQuery asks for
// the newest DefaultEvents of all.
type EventQuery struct {
	Namespace string    // empty: any
	Types     []string  // one of them; empty: any
	Tags      []string  // all of them
	Since     time.Time // not before; zero: any
	Until     time.Time // before; zero: any
	Before    uint64    // with IDs below; 0: any
	Limit     int       // at most so many; 0: DefaultEvents, never more than MaxEvents
}
