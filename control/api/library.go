// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"

	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// maxReferences bounds the documents that one document may lead to.
const maxReferences = 1000

// library finds what documents of a namespace refer to, each once.
type library struct {
	store store.Store
	ns    string
	known map[routing.Ref]*routing.Document // nil for what there is not
}

func newLibrary(s store.Store, ns string) *library {
	return &library{store: s, ns: ns, known: make(map[routing.Ref]*routing.Document)}
}

// with returns a document and all that it refers to, as far as it is stored.
func (l *library) with(ctx context.Context, d *routing.Document) ([]*routing.Document, error) {
	all := []*routing.Document{d}
	seen := make(map[routing.Ref]bool)
	for i := 0; i < len(all) && i < maxReferences; i++ {
		for _, ref := range all[i].References() {
			if seen[ref] || ref == (routing.Ref{Kind: d.Kind, Name: d.Name}) {
				continue
			}
			seen[ref] = true
			found, err := l.find(ctx, ref)
			if err != nil {
				return nil, err
			}
			if found != nil {
				all = append(all, found)
			}
		}
	}
	return all, nil
}

// find returns the document that a reference names; nil if none is stored.
func (l *library) find(ctx context.Context, ref routing.Ref) (*routing.Document, error) {
	if d, ok := l.known[ref]; ok {
		return d, nil
	}
	key := store.Key{Namespace: l.ns, Kind: ref.Kind, Name: ref.Name}
	if key.Check() != nil {
		return nil, nil //nolint:nilnil,nilerr // no document can have the name
	}
	a, err := l.store.Get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	var d *routing.Document
	if err == nil {
		d = documentOf(key, a.Text)
	}
	l.known[ref] = d
	return d, nil
}

// documentOf reads the text of an artifact; nil if it cannot be read.
func documentOf(key store.Key, text string) *routing.Document {
	if u := artifacts.Update(key, text); len(u.Documents) == 1 {
		return u.Documents[0]
	}
	return nil
}
