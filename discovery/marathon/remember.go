// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

const (
	// saveEvery is how often it is looked whether there is anything new to be
	// remembered. What is known after an end in bad order is older by that much
	// at most.
	saveEvery = time.Minute
	// lastSave is how long the end waits for the file to be written.
	lastSave = 5 * time.Second
	// recallWait is how long Marathon is not asked while the file is read: it says
	// whether an empty list is one to be believed.
	recallWait = 2 * time.Second
	// maxRemembered bounds the file: more than what 100,000 tasks come to.
	maxRemembered = 256 << 20
)

// archive is what the file holds: in its first line what is not Marathon's, and
// after that the apps as Marathon would tell them, from which follows all that
// was told.
type archive struct {
	preface

	apps map[string]*app
}

type preface struct {
	Format int
	Hosts  map[string]netip.Addr `json:",omitempty"`
}

// archiveFormat is that of the file. Another one says nothing.
const archiveFormat = 1

// awaitRecall waits until File was read, if that takes no longer than it may.
func (s *Source) awaitRecall(ctx context.Context, recalled <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-recalled:
	case <-time.After(recallWait):
	}
}

// recall reads what was known to the process before, if it is to be had.
func (s *Source) recall(ctx context.Context) {
	if s.o.File == "" {
		return
	}
	m, err := readArchive(s.o.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		s.o.Log.WarnContext(ctx, "what Marathon said before the start is not known", "file", s.o.File, "error", err)
		return
	}
	s.hosts.recall(m.Hosts)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		s.remembered = m.apps
		s.nudge() // the patience may be over
	}
}

// fallBack takes what was remembered for what there is.
func (s *Source) fallBack() {
	for id, a := range s.remembered {
		if s.apps[id] == nil {
			s.put(id, a, nil)
		}
	}
	s.remembered = nil
}

// readArchive reads the file.
func readArchive(file string) (archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return archive{}, err
	}
	defer f.Close()
	return parseArchive(f)
}

// parseArchive reads the text of the file.
func parseArchive(r io.Reader) (archive, error) {
	text := bufio.NewReader(io.LimitReader(r, maxRemembered))
	var m archive
	head, err := text.ReadBytes('\n')
	if err != nil {
		return m, fmt.Errorf("it has no first line: %w", err)
	}
	if err := json.Unmarshal(head, &m.preface); err != nil {
		return m, err
	}
	if m.Format != archiveFormat {
		return m, fmt.Errorf("it is of format %d, not %d", m.Format, archiveFormat)
	}
	apps, faults, err := readApps(text, maxRemembered)
	refused := func(f *routing.Fault) bool { return f.Severity == routing.Refused }
	if at := slices.IndexFunc(faults, refused); err == nil && at >= 0 {
		err = faults[at] // what only is to be warned of was so before, too
	}
	m.apps = apps
	return m, err
}

// keep writes the file whenever there is something new in it: once all was
// listed, each minute, and at the end, when over is closed. Nobody waits for
// it: what is told while it writes is in what it writes next.
func (s *Source) keep(ctx context.Context, full, over <-chan struct{}) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-over:
			s.save(ctx)
			return
		case <-full:
		case <-tick.C:
		}
		s.save(ctx)
	}
}

// save writes what is known now, once it is all known. What cannot be written
// is tried again later.
func (s *Source) save(ctx context.Context) {
	if s.o.File == "" {
		return
	}
	m, ok := s.remember()
	if !ok {
		return
	}
	if err := m.write(s.o.File); err != nil {
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
		s.o.Log.WarnContext(ctx, "what Marathon says is not remembered for the next start", "file", s.o.File, "error", err)
	}
}

// remember returns what is to be written; false if that is in the file.
func (s *Source) remember() (m archive, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.changed || !s.ready {
		return m, false
	}
	s.changed = false
	m.Format, m.Hosts = archiveFormat, s.hosts.addresses()
	m.apps = make(map[string]*app, len(s.apps))
	for id, k := range s.apps {
		if k.app != nil {
			m.apps[id] = s.certain(k.app)
		}
	}
	return m, true
}

// certain returns an app with what its health checks said last, where they say
// nothing now.
func (s *Source) certain(a *app) *app {
	silent := func(t task) bool { return t.health == healthUnknown }
	if len(a.checks) == 0 || !slices.ContainsFunc(a.tasks, silent) {
		return a
	}
	is := *a
	is.tasks = slices.Clone(a.tasks)
	for i := range is.tasks {
		if t := &is.tasks[i]; silent(*t) && s.cluster.alive(a, t) {
			t.health, t.alive = healthAlive, uint16(len(a.checks))
		}
	}
	return &is
}

// write writes the file, or leaves the one before. What a process that was
// killed meanwhile had written is overwritten by the next one.
func (m archive) write(file string) (err error) {
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	if err = cmp.Or(m.encode(w), w.Flush(), f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// encode writes one app after the other, so that the text is never in memory as
// a whole.
func (m archive) encode(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(m.preface); err != nil {
		return err
	}
	between := `{"apps": [`
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		if _, err := io.WriteString(w, between); err != nil {
			return err
		}
		if err := m.apps[id].write(w); err != nil {
			return err
		}
		between = ","
	}
	if len(m.apps) == 0 {
		between += "]}\n"
	} else {
		between = "]}\n"
	}
	_, err := io.WriteString(w, between)
	return err
}
