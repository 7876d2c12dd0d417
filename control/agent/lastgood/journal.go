// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// The words of a journal.
const (
	opened      = "opened"      // a process began; what was being tried before crashed it
	starting    = "starting"    // the version is being tried
	served      = "served"      // it is known to serve
	stopped     = "stopped"     // the process ended in order
	crashed     = "crashed"     // the version took a process with it
	quarantined = "quarantined" // it did so too often
	released    = "released"    // it has another chance
)

// words are all of them.
var words = []string{opened, starting, served, stopped, crashed, quarantined, released}

// record is a line of the journal.
type record struct {
	word    string
	version routing.Version
	at      time.Time // in nanoseconds, as in Table
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line returns the record as a line: word, epoch, revision, time in
// nanoseconds and CRC-32C of what stands before it.
func (r record) line() []byte {
	b := fmt.Appendf(nil, "%s %d %d %d", r.word, r.version.Epoch, r.version.Revision, r.at.UnixNano())
	return fmt.Appendf(b, " %08x\n", crc32.Checksum(b, castagnoli))
}

// parseRecord reads a line without its end. It reports false for one that
// line never writes, torn ones among them.
func parseRecord(s string) (record, bool) {
	fields := strings.Split(s, " ")
	if len(fields) != 5 || !slices.Contains(words, fields[0]) {
		return record{}, false
	}
	epoch, err1 := strconv.ParseUint(fields[1], 10, 64)
	revision, err2 := strconv.ParseUint(fields[2], 10, 64)
	at, err3 := strconv.ParseInt(fields[3], 10, 64)
	if cmp.Or(err1, err2, err3) != nil {
		return record{}, false
	}
	r := record{fields[0], routing.Version{Epoch: epoch, Revision: revision}, time.Unix(0, at)}
	return r, string(r.line()) == s+"\n"
}

// starts is what a journal tells.
type starts struct {
	trying *record // the last start, while nobody knows how it goes
	proven *record // the last version that is known to serve
	// crashes holds the last CrashLimit-1 crashes of each version.
	crashes map[routing.Version][]record
	barred  map[routing.Version]record // in quarantine
}

func newStarts() *starts {
	return &starts{crashes: map[routing.Version][]record{}, barred: map[routing.Version]record{}}
}

// replay returns what a journal tells. Lines that are not whole tell nothing.
func replay(journal []byte) *starts {
	s := newStarts()
	for line := range bytes.Lines(journal) {
		if r, ok := parseRecord(strings.TrimSuffix(string(line), "\n")); ok {
			s.take(r)
		}
	}
	return s
}

// take adds a record.
func (s *starts) take(r record) {
	switch r.word {
	case opened:
		if s.trying != nil {
			s.crash(*s.trying)
			s.trying = nil
		}
	case starting:
		// A start ends the trial of the one before: that one got this far.
		s.trying = &r
	case served:
		if s.trying != nil && s.trying.version == r.version {
			s.trying = nil
		}
		s.proven = &r
		delete(s.crashes, r.version)
		delete(s.barred, r.version)
	case stopped:
		s.trying = nil
	case crashed:
		s.crash(r)
	case quarantined:
		s.barred[r.version] = r
		forgetOldest(s.barred, func(r record) time.Time { return r.at })
	case released:
		delete(s.crashes, r.version)
		delete(s.barred, r.version)
	}
}

// crash counts a crash of a version that was tried at r.at. Times are those
// of the starts, since nobody saw the end. A clock that goes back makes two
// starts as far apart as one that goes forward: the next two tell.
func (s *starts) crash(r record) {
	if _, ok := s.barred[r.version]; ok {
		return
	}
	r.word = crashed
	all := slices.Concat(s.crashes[r.version], []record{r})
	first := all[max(0, len(all)-CrashLimit)]
	if len(all) >= CrashLimit && r.at.Sub(first.at).Abs() <= CrashWindow {
		delete(s.crashes, r.version)
		s.take(record{quarantined, r.version, r.at})
		return
	}
	s.crashes[r.version] = all[max(0, len(all)-(CrashLimit-1)):]
	forgetOldest(s.crashes, func(all []record) time.Time { return all[len(all)-1].at })
}

// maxRemembered bounds how many versions a journal knows of each kind; the
// folder holds fewer.
const maxRemembered = 16

// forgetOldest drops the oldest entry of m if there are too many.
func forgetOldest[V any](m map[routing.Version]V, at func(V) time.Time) {
	if len(m) > maxRemembered {
		delete(m, slices.MinFunc(versions(m), func(a, b routing.Version) int { return at(m[a]).Compare(at(m[b])) }))
	}
}

// versions returns the keys of m in order.
func versions[V any](m map[routing.Version]V) []routing.Version {
	return slices.SortedFunc(maps.Keys(m), func(a, b routing.Version) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Revision, b.Revision))
	})
}

// journal returns the shortest journal that tells the same.
func (s *starts) journal() []byte {
	var b []byte
	if s.proven != nil {
		b = append(b, s.proven.line()...)
	}
	for _, v := range versions(s.crashes) {
		for _, r := range s.crashes[v] {
			b = append(b, r.line()...)
		}
	}
	for _, v := range versions(s.barred) {
		b = append(b, s.barred[v].line()...)
	}
	if s.trying != nil {
		b = append(b, s.trying.line()...)
	}
	return b
}
