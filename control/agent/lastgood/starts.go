// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluice-mesh/sluice/routing"
)

// maxLines is how long the journal gets before it is written anew.
const maxLines = 1000

// maxJournal bounds how much of a journal is read, in bytes. Ours are shorter.
const maxJournal = 1 << 20

// begin reads the journal, counts what the former process left behind, and
// writes it anew, durably: a quarantine outlives a loss of power. A journal
// that cannot be read costs what it knew, not the start.
func (k *Keeper) begin() {
	for _, draft := range []string{journalDraft, tableDraft} {
		_ = k.folder.remove(draft) // most often there is none
	}
	text, err := readJournal(filepath.Join(k.dir, journalFile))
	k.status.Err = err
	k.starts = replay(text)
	r := record{word: opened, at: k.o.Now()}
	k.starts.take(r)
	if len(text) > 0 && k.settle(k.starts.journal()) != nil {
		// A disk that is full may still have room for a line. Without it the
		// next Starting tells.
		_ = k.append(r)
	}
}

// readJournal returns the journal, empty if there is none.
func readJournal(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxJournal))
}

// settle writes the journal anew. k.journaling is held.
func (k *Keeper) settle(journal []byte) error {
	k.lines = maxLines // until that succeeds
	if err := k.closeJournal(); err != nil {
		return err
	}
	if err := replace(k.folder, journalFile, journalDraft, func(to io.Writer) error {
		_, err := to.Write(journal)
		return err
	}); err != nil {
		return err
	}
	k.lines = 0
	return nil
}

// closeJournal closes the journal if it is open. k.journaling is held.
func (k *Keeper) closeJournal() error {
	f := k.journal
	if f == nil {
		return nil
	}
	k.journal = nil
	return f.Close()
}

// note takes a record and appends it to the journal. It is not synced: what
// a process has written survives the process, and the end of the machine is
// nothing to blame on a table. k.journaling is held.
func (k *Keeper) note(r record) error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return ErrClosed
	}
	k.starts.take(r)
	journal := k.starts.journal()
	k.mu.Unlock()
	if k.lines >= maxLines && k.settle(journal) == nil {
		return nil
	}
	return k.append(r)
}

// append appends a record to the journal. k.journaling is held.
func (k *Keeper) append(r record) error {
	if k.journal == nil {
		f, err := k.folder.extend(journalFile)
		if err != nil {
			return err
		}
		k.journal = f
	}
	line := r.line()
	if k.lines >= maxLines {
		// What is there may end in the middle of a line. Empty ones are none.
		line = append([]byte{'\n'}, line...)
	}
	k.lines++
	if _, err := k.journal.Write(line); err != nil {
		k.lines = maxLines
		return errors.Join(err, k.closeJournal())
	}
	return nil
}

// Starting says that the version is about to serve: if the process now ends
// without Served or Close, the version is to blame. Say it before anything
// of the table is compiled or bound, at each start and each change; the
// version before is then no longer tried. It writes one line, not synced. An
// error means that a crash will not be counted, which is no reason not to
// serve.
func (k *Keeper) Starting(v routing.Version) error {
	k.journaling.Lock()
	defer k.journaling.Unlock()
	return k.note(record{starting, v, k.o.Now()})
}

// Served says that the version has served for [CrashWindow], by the caller's
// own, monotonic clock. It is not to blame for what happens later, and it is
// kept until Served is said of another. Nothing is written if that is known.
func (k *Keeper) Served(v routing.Version) error {
	k.journaling.Lock()
	defer k.journaling.Unlock()
	k.mu.Lock()
	trying, proven := k.starts.trying, k.starts.proven
	k.mu.Unlock()
	if proven != nil && proven.version == v && (trying == nil || trying.version != v) {
		return nil
	}
	return k.note(record{served, v, k.o.Now()})
}

// Quarantined reports whether the version is in quarantine: refuse it when
// it is offered again.
func (k *Keeper) Quarantined(v routing.Version) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.starts.barred[v]
	return ok
}

// Release forgets what the version has done, for an operator who knows
// better. It survives a loss of power once it returns.
func (k *Keeper) Release(v routing.Version) error {
	k.journaling.Lock()
	defer k.journaling.Unlock()
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return ErrClosed
	}
	k.starts.take(record{released, v, k.o.Now()})
	journal := k.starts.journal()
	k.mu.Unlock()
	return k.settle(journal)
}
