// SPDX-License-Identifier: Apache-2.0

package files

import (
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// file is what is believed of one file.
type file struct {
	owner  *root
	seen   mark
	docs   []*routing.Document // of the present text
	kept   []*routing.Document // of earlier texts
	faults []*routing.Fault
	held   *discovery.Held
}

// accept believes what a name looks like. It reports false if the text is no
// longer what was seen.
func (s *Source) accept(key string, l *look, now time.Time) (discovery.Update, bool) {
	seen := s.latest[key].mark
	if s.isDir(key) {
		return s.acceptDir(key, seen), true
	}
	f := s.files[key]
	if f == nil {
		f = &file{owner: l.owners[key]}
	}
	switch seen.state {
	case text:
		data, err := readFile(key, s.o.MaxBytes)
		if err != nil || textMark(data) != seen {
			// Another look will say what it is now.
			s.latest[key] = sighted{since: now}
			delete(s.read, key)
			return discovery.Update{}, false
		}
		docs, faults := s.o.Read(key, data)
		f.absorb(docs, faults, s.hold(now, "the file says nothing"))
	case unreadable:
		f.keep([]*routing.Fault{seen.fault(key)})
	case absent, listed, empty:
		s.lose(key, f, l, now)
	}
	if owner := l.owners[key]; owner != nil {
		f.owner = owner
	}
	f.seen = seen
	s.files[key] = f
	if f.over() {
		delete(s.files, key)
		return discovery.Update{Key: key, Gone: true}, true
	}
	return f.update(key), true
}

// lose believes that a file is not there. Others beside it bear witness that
// it was taken away.
func (s *Source) lose(key string, f *file, l *look, now time.Time) {
	switch {
	case l.others[f.owner] > 0:
		*f = file{owner: f.owner}
	case f.owner.path != key:
		f.withhold(s.hold(now, "its directory is missing, or empty"))
	default:
		f.withhold(s.hold(now, "the file is missing"))
		f.faults = []*routing.Fault{missingFault(key)}
	}
}

// acceptDir believes what a path that is, or was, a directory looks like.
func (s *Source) acceptDir(key string, seen mark) discovery.Update {
	if seen == (mark{}) || seen.state == listed {
		delete(s.dirs, key)
		if seen.state == listed {
			s.dirs[key] = seen
		}
		return discovery.Update{Key: key, Gone: true}
	}
	s.dirs[key] = seen
	fault := seen.fault(key[:max(1, len(key)-1)])
	if seen.state == empty {
		fault.Severity = routing.Warning
	}
	return discovery.Update{Key: key, Faults: []*routing.Fault{fault}}
}

func (s *Source) isDir(key string) bool {
	return slices.ContainsFunc(s.roots, func(r *root) bool { return dirKey(r) == key })
}

// hold returns an absence that begins now.
func (s *Source) hold(now time.Time, why string) *discovery.Held {
	return &discovery.Held{Since: now, Until: now.Add(s.o.Hold), Why: why}
}

// release believes the absences whose time is up, or that were confirmed.
func (s *Source) release(now time.Time) []discovery.Update {
	s.mu.Lock()
	confirmed := s.confirmed
	s.confirmed = nil
	s.mu.Unlock()
	var updates []discovery.Update
	for key, f := range s.files {
		if f.held == nil {
			continue
		}
		// Nobody can tell now whether what is in an unreadable directory is
		// still absent.
		wait := now.Before(f.held.Until) || s.dirs[dirKey(f.owner)].state == unreadable
		if wait && confirmed[key] == nil {
			continue
		}
		f.kept, f.held = nil, nil
		if f.over() {
			delete(s.files, key)
			updates = append(updates, discovery.Update{Key: key, Gone: true})
			continue
		}
		updates = append(updates, f.update(key))
	}
	return updates
}

// publishHeld tells Confirm what is held back.
func (s *Source) publishHeld() {
	held := make(map[string]*discovery.Held)
	for key, f := range s.files {
		if f.held != nil {
			held[key] = f.held
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
}

// absorb takes over what a text says. held is the absence that begins if it
// says nothing after one that did.
func (f *file) absorb(docs []*routing.Document, faults []*routing.Fault, held *discovery.Held) {
	switch {
	case lost(docs, faults):
		// Whatever is missing may be what the faults are about.
		f.keep(faults)
		f.kept = without(f.kept, docs)
	case len(docs) == 0:
		f.withhold(held)
	default:
		f.kept, f.held = nil, nil
	}
	f.docs, f.faults = docs, faults
}

// lost reports whether something is refused of which not even a broken
// document is left: the text as a whole, or a part whose kind or name cannot
// be read.
func lost(docs []*routing.Document, faults []*routing.Fault) bool {
	type id struct{ kind, name string }
	read := make(map[id]bool, len(docs))
	for _, d := range docs {
		read[id{d.Kind, d.Name}] = true
	}
	return slices.ContainsFunc(faults, func(f *routing.Fault) bool {
		return f.Severity == routing.Refused && !read[id{f.Kind, f.Name}]
	})
}

// keep keeps all that was said, for as long as the file has these faults.
func (f *file) keep(faults []*routing.Fault) {
	f.kept = append(without(f.kept, f.docs), f.docs...)
	f.docs, f.faults, f.held = nil, faults, nil
}

// withhold keeps all that was said until the absence is believed. One that
// is held back already goes on.
func (f *file) withhold(held *discovery.Held) {
	if old := f.held; old != nil {
		held.Since, held.Until = old.Since, old.Until
	}
	f.keep(nil)
	if len(f.kept) > 0 {
		f.held = held
	}
}

// over reports whether nothing of the file is left to tell.
func (f *file) over() bool {
	return f.seen.state == absent && f.held == nil && len(f.faults) == 0
}

func (f *file) update(key string) discovery.Update {
	return discovery.Update{
		Key: key, Documents: f.docs, Kept: f.kept, Faults: f.faults, Held: f.held,
	}
}

// without returns the documents of docs that others do not name.
func without(docs, others []*routing.Document) []*routing.Document {
	type id struct{ kind, name string }
	named := make(map[id]bool, len(others))
	for _, d := range others {
		named[id{d.Kind, d.Name}] = true
	}
	var left []*routing.Document
	for _, d := range docs {
		if !named[id{d.Kind, d.Name}] {
			left = append(left, d)
		}
	}
	return left
}

// fault returns the fault of a name that cannot be read.
func (m mark) fault(path string) *routing.Fault {
	return &routing.Fault{
		Code: m.code, At: routing.Position{Source: path},
		Problem: m.problem, Allowed: m.allowed,
	}
}

func missingFault(path string) *routing.Fault {
	return &routing.Fault{
		Code: "FileMissing", At: routing.Position{Source: path},
		Problem: "the file is missing", Allowed: "its last good form stays for a while",
	}
}
