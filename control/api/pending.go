// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// maxPending bounds the commits that are looked through for what no plan has
// taken in yet. There are that many only while the planner stands.
const maxPending = 2000

// maxNamespaces bounds those that are remembered.
const maxNamespaces = 10_000

// reached is up to which revision plans have taken in what is stored, by
// namespace: what is written next has to be checked beside what was written
// just before, though the planner may not have heard of that.
type reached struct {
	mu    sync.Mutex // guards the fields below
	first uint64     // of every namespace: what was stored before the first plan
	by    map[string]uint64
}

// in returns up to where the plans of a namespace have come.
func (r *reached) in(ns string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.first, r.by[ns])
}

// to notes that the plans of a namespace have come up to a revision.
func (r *reached) to(ns string, revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil || len(r.by) >= maxNamespaces && r.by[ns] == 0 {
		r.by = make(map[string]uint64) // it is found out anew
	}
	r.by[ns] = max(r.by[ns], revision)
}

// Published tells that a plan was published. What is answered of an artifact
// that a plan has taken in is as that plan has it. It never blocks.
func (a *API) Published(p planner.Plan) {
	for _, c := range p.Changes {
		a.reached.to(p.Namespace, c.ID)
	}
}

// pending returns what was written to a namespace and no plan has taken in
// yet.
func (a *API) pending(ctx context.Context, ns string) ([]discovery.Update, error) {
	at, err := a.o.Store.Version(ctx)
	if err != nil {
		return nil, err
	}
	from := routing.Version{Epoch: at.Epoch, Revision: a.reached.in(ns)}
	if from.Revision >= at.Revision {
		return nil, nil
	}
	var updates []discovery.Update
	n := 0
	for commit, err := range a.o.Store.Watch(ctx, "", from) {
		if errors.Is(err, store.ErrCompacted) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, artifact := range commit.Changes {
			switch {
			case artifact.Namespace != ns:
			case artifact.Deleted:
				updates = append(updates, artifacts.Removal(artifact.Key))
			default:
				updates = append(updates, artifacts.Update(artifact.Key, artifact.Text))
			}
		}
		if n++; commit.Version.Revision >= at.Revision || n >= maxPending {
			break
		}
	}
	if len(updates) == 0 && n < maxPending {
		a.reached.to(ns, at.Revision) // all that came was of other namespaces
	}
	return updates, nil
}

// over returns updates with those of later in the place of earlier ones of the
// same object.
func over(earlier, later []discovery.Update) []discovery.Update {
	by := make(map[string]int, len(earlier)+len(later))
	out := make([]discovery.Update, 0, len(earlier)+len(later))
	for _, u := range slices.Concat(earlier, later) {
		if i, ok := by[u.Key]; ok {
			out[i] = u
			continue
		}
		by[u.Key] = len(out)
		out = append(out, u)
	}
	return out
}
