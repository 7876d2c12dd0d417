// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"sync"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// maxNameLists bounds the lists that are remembered.
const maxNameLists = 64

// names remembers which artifacts there are, since reading all of them to show
// a page costs the most of it.
type names struct {
	mu    sync.Mutex             // guards the field below
	lists map[store.Key]nameList // by namespace and kind
}

// nameList is the names of a version of the store, sorted.
type nameList struct {
	version routing.Version
	names   []string
}

// of returns the names of a namespace and kind. They are not to be changed.
func (n *names) of(ctx context.Context, s store.Store, ns, kind string) ([]string, error) {
	at, err := s.Version(ctx)
	if err != nil {
		return nil, err
	}
	key := store.Key{Namespace: ns, Kind: kind}
	n.mu.Lock()
	known, ok := n.lists[key]
	n.mu.Unlock()
	if ok && known.version == at {
		return known.names, nil
	}
	all, err := s.List(ctx, ns, kind)
	if err != nil {
		return nil, err
	}
	list := nameList{version: all.Version, names: make([]string, len(all.Artifacts))}
	for i, a := range all.Artifacts {
		list.names[i] = a.Name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lists == nil || len(n.lists) >= maxNameLists {
		n.lists = make(map[store.Key]nameList)
	}
	n.lists[key] = list
	return list.names, nil
}
