// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bufio"
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

	"github.com/sluice-mesh/sluice/discovery/remember"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// recallWait is how long Marathon is not asked while the file is read: it says
	// whether an empty list is one to be believed.
	recallWait = 2 * time.Second
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
	text := bufio.NewReader(io.LimitReader(r, remember.MaxSize))
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
	apps, faults, err := readApps(text, remember.MaxSize)
	refused := func(f *routing.Fault) bool { return f.Severity == routing.Refused }
	if at := slices.IndexFunc(faults, refused); err == nil && at >= 0 {
		err = faults[at] // what only is to be warned of was so before, too
	}
	m.apps = apps
	return m, err
}

// lost takes note that the file could not be written.
func (s *Source) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = true
}

// take returns what writes the file; nil if nothing is new, or not all is known.
func (s *Source) take() func(io.Writer) error {
	m, ok := s.archive()
	if !ok {
		return nil
	}
	return m.encode
}

// archive returns what is to be written; false if that is in the file.
func (s *Source) archive() (m archive, ok bool) {
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
