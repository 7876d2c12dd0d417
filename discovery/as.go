// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"time"
)

// As returns a source that tells what another one does, of a namespace and an
// origin where the other says none. What it tells after its first listing is a
// change, seen when it is told, unless the source says which changes it is. It
// is a Confirmer that asks the other one if that is.
func As(namespace, origin string, s Source) Source { return &named{s, namespace, origin} }

type named struct {
	source            Source
	namespace, origin string
}

// Run implements Source.
func (n *named) Run(ctx context.Context, sink func(Batch)) error {
	listed := false
	return n.source.Run(ctx, func(b Batch) {
		updates := make([]Update, len(b.Updates))
		for i, u := range b.Updates {
			if !u.Gone {
				if u.Namespace == "" {
					u.Namespace = n.namespace
				}
				if u.Origin == "" {
					u.Origin = n.origin
				}
			}
			updates[i] = u
		}
		b.Updates = updates
		if listed && len(b.Changes) == 0 && len(updates) > 0 {
			b.Changes = []Change{{At: time.Now(), Kind: kindOf(updates)}}
		}
		listed = listed || b.Listed
		sink(b)
	})
}

// Confirm implements Confirmer.
func (n *named) Confirm() int {
	if c, ok := n.source.(Confirmer); ok {
		return c.Confirm()
	}
	return 0
}

// kindOf returns what updates are about: what runs, if they name instances or
// take some away, else what is asked for.
func kindOf(updates []Update) ChangeKind {
	for _, u := range updates {
		if len(u.Instances) > 0 || u.Urgent {
			return Endpoints
		}
	}
	return Config
}
