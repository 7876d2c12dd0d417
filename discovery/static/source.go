// SPDX-License-Identifier: Apache-2.0

package static

import (
	"context"
	"net/netip"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/files"
	"github.com/sluice-mesh/sluice/routing"
)

// Source tells which instances stand in files. Files are watched, believed
// and held back as those of package files are: a list that becomes empty is
// one that seems so, and one with a fault keeps its last good form as a whole.
// It implements discovery.Source and discovery.Confirmer.
type Source struct {
	files *files.Source

	// The following belong to Run's goroutine.
	lists map[*routing.Document][]*routing.Instance // what each list says
	told  map[string][]*routing.Instance            // by key
}

// New returns a source of the files and directories at paths. Options.Read is
// not used.
func New(paths []string, o files.Options) *Source {
	s := &Source{
		lists: make(map[*routing.Document][]*routing.Instance),
		told:  make(map[string][]*routing.Instance),
	}
	o.Read = s.read
	s.files = files.New(paths, o)
	return s
}

// read makes one document of a list, which stands for its instances.
func (s *Source) read(path string, data []byte) ([]*routing.Document, []*routing.Fault) {
	list, faults := routing.ReadInstances(path, data)
	if len(list) == 0 {
		return nil, faults
	}
	d := &routing.Document{Kind: "instances", Name: path, At: list[0].At}
	s.lists[d] = list
	return []*routing.Document{d}, faults
}

// Run implements discovery.Source. It returns an error if a path is missing
// or cannot be looked at from the start.
func (s *Source) Run(ctx context.Context, sink func(discovery.Batch)) error {
	return s.files.Run(ctx, func(b discovery.Batch) {
		updates := make([]discovery.Update, len(b.Updates))
		kept := make(map[*routing.Document][]*routing.Instance, len(s.lists))
		for i, u := range b.Updates {
			updates[i] = s.update(u)
		}
		for key, list := range s.told {
			if len(list) == 0 {
				delete(s.told, key)
			}
		}
		for d, list := range s.lists {
			if told := s.told[d.Name]; len(told) > 0 && told[0] == list[0] {
				kept[d] = list
			}
		}
		s.lists = kept
		sink(discovery.Batch{Updates: updates, Listed: b.Listed, Changes: b.Changes})
	})
}

// Confirm implements discovery.Confirmer. It also has every file read anew.
func (s *Source) Confirm() int { return s.files.Confirm() }

// update says of an object what its documents stand for.
func (s *Source) update(u discovery.Update) discovery.Update {
	var list []*routing.Instance
	switch {
	case len(u.Documents) > 0:
		list = s.lists[u.Documents[0]]
	case len(u.Kept) > 0:
		list = s.lists[u.Kept[0]]
	}
	urgent := missing(s.told[u.Key], list)
	s.told[u.Key] = list
	return discovery.Update{Key: u.Key, Instances: list, Faults: u.Faults, Gone: u.Gone, Held: u.Held, Urgent: urgent}
}

// missing reports whether an instance of before is not in now, or is not
// ready any more.
func missing(before, now []*routing.Instance) bool {
	there := make(map[netip.AddrPort]bool, len(now))
	for _, i := range now {
		there[i.AddrPort()] = i.Ready
	}
	for _, i := range before {
		if i.Ready && !there[i.AddrPort()] {
			return true
		}
	}
	return false
}
