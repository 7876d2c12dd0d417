// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/remember"
	"github.com/sluice-mesh/sluice/routing"
)

// firstRead is how long the start waits for the file to be read.
const firstRead = 5 * time.Second

// memory is what the file holds.
type memory struct {
	Format       int
	Environments map[string]string `json:",omitempty"` // by Kubernetes namespace
	Labels       map[string]placed `json:",omitempty"` // by Kubernetes namespace
	Updates      []remembered
}

// memoryFormat is that of the file. Another one says nothing.
const memoryFormat = 1

// remembered is one update that was told.
type remembered struct {
	Key       string
	Text      string              `json:",omitempty"`
	Instances []*routing.Instance `json:",omitempty"`
}

// recall reads what was told by the process before, if it is to be had.
func (s *Source) recall(ctx context.Context) {
	if s.o.File == "" {
		return
	}
	m, err := readInTime(ctx, s.o.File, firstRead)
	switch {
	case errors.Is(err, fs.ErrNotExist), ctx.Err() != nil:
		return
	case err != nil:
		s.o.Log.WarnContext(ctx, "what the cluster said before the start is not known", "file", s.o.File, "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.labels() {
		s.places.recall(m.Labels)
	}
	for i := range m.Updates {
		r := &m.Updates[i]
		u := discovery.Update{Key: r.Key, Instances: r.Instances}
		if r.Text != "" {
			u.Documents, u.Faults = readText(r.Key, r.Text)
		}
		stays := true
		if space, ofHost := spaceOfHost(r.Key); ofHost {
			u.Namespace, stays = s.same(space, m.Environments)
		}
		for _, g := range s.groups {
			if !g.has(r.Key) {
				continue
			}
			if stays {
				g.remembered[r.Key] = u
				if r.Text != "" {
					g.recalled[r.Key] = r.Text
				}
			}
			if g.recall != nil {
				g.recall(u.Documents)
			}
		}
	}
}

// same returns the namespace, organisation/environment, that hostKey wrote as
// space; false if not the same Kubernetes namespaces are in it as were. What
// they say of a host is told as one, so that it cannot be told whose is which
// part of it.
func (s *Source) same(space string, before map[string]string) (string, bool) {
	then, _ := placesOf(space, before)
	now, of := placesOf(space, s.places.now.Environments)
	return of, slices.Equal(then, now) && (space == "" || of != "")
}

// placesOf returns the Kubernetes namespaces of a space, or those that are not
// of the empty one, sorted, and the name that is written as space.
func placesOf(space string, environments map[string]string) (places []string, of string) {
	for place, n := range environments {
		if space == "" {
			places = append(places, place)
		} else if dotted(n) == space {
			places, of = append(places, place), n
		}
	}
	slices.Sort(places)
	return places, of
}

// errSlow reports a file of which nothing came in time.
var errSlow = errors.New("it could not be read in time")

// readInTime reads the file, if its disk answers within a time. One that does
// not holds a goroutine for as long as it hangs, and nothing else.
func readInTime(ctx context.Context, file string, within time.Duration) (memory, error) {
	type answer struct {
		m   memory
		err error
	}
	read := make(chan answer, 1)
	go func() {
		m, err := readMemory(file)
		read <- answer{m, err}
	}()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case a := <-read:
		return a.m, a.err
	case <-late.C:
		return memory{}, errSlow
	case <-ctx.Done():
		return memory{}, ctx.Err()
	}
}

// readMemory reads the file.
func readMemory(file string) (memory, error) {
	info, err := os.Stat(file)
	if err != nil {
		return memory{}, err
	}
	if info.Size() > remember.MaxSize {
		return memory{}, fmt.Errorf("it has %d bytes, more than the %d that are read", info.Size(), remember.MaxSize)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return memory{}, err
	}
	return parseMemory(data)
}

// parseMemory reads the text of the file.
func parseMemory(data []byte) (memory, error) {
	var m memory
	if err := json.Unmarshal(data, &m); err != nil {
		return memory{}, err
	}
	if m.Format != memoryFormat {
		return memory{}, fmt.Errorf("it is of format %d, not %d", m.Format, memoryFormat)
	}
	for place, l := range m.Labels {
		organisation, environment, _ := strings.Cut(l.Of, "/")
		if !isSegment(organisation) || !isSegment(environment) {
			return memory{}, fmt.Errorf("label of %s: %q is no environment", place, l.Of)
		}
	}
	for i := range m.Updates {
		if err := m.Updates[i].check(); err != nil {
			return memory{}, fmt.Errorf("update %d: %w", i, err)
		}
	}
	return m, nil
}

// check refuses what the source would not have told.
func (r *remembered) check() error {
	for _, i := range r.Instances {
		if i == nil || !i.Address.IsValid() || i.Port < 1 || i.Port > 65535 {
			return fmt.Errorf("%s: an instance without an address", r.Key)
		}
	}
	return nil
}

// lost takes note that the file could not be written.
func (s *Source) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = true
}

// take returns what writes the file; nil if nothing is new, or not all is known.
func (s *Source) take() func(io.Writer) error {
	m, ok := s.memory()
	if !ok {
		return nil
	}
	return m.encode
}

// memory returns what is to be written; false if that is in the file.
func (s *Source) memory() (m memory, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.changed || slices.ContainsFunc(s.groups, func(g *group) bool { return !g.live }) {
		return m, false
	}
	s.changed = false
	m.Format, m.Environments, m.Labels = memoryFormat, s.places.now.Environments, s.places.remembered()
	for _, key := range slices.Sorted(maps.Keys(s.told)) {
		u := s.told[key]
		r := remembered{Key: key, Instances: u.Instances}
		for _, g := range s.groups {
			if g.text != nil && g.has(key) {
				r.Text = cmp.Or(g.text(key), g.recalled[key])
			}
		}
		if r.Text != "" || len(r.Instances) > 0 {
			m.Updates = append(m.Updates, r)
		}
	}
	return m, true
}

// encode writes one update after the other, so that the text is never in memory
// as a whole.
func (m memory) encode(w io.Writer) error {
	environments, err := json.Marshal(m.Environments)
	if err != nil {
		return err
	}
	labels, err := json.Marshal(m.Labels)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, `{"Format": %d, "Environments": %s, "Labels": %s, "Updates": [`, m.Format, environments, labels); err != nil {
		return err
	}
	each := json.NewEncoder(w)
	for i := range m.Updates {
		if i > 0 {
			if _, err := io.WriteString(w, ","); err != nil {
				return err
			}
		}
		if err := each.Encode(&m.Updates[i]); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

// has reports whether a key is of the group.
func (g *group) has(key string) bool {
	return slices.ContainsFunc(g.prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// fallBack adds what was remembered of a group to what is told.
func (s *Source) fallBack(g *group, fresh map[string]discovery.Update) {
	for key, u := range g.remembered {
		if _, told := s.told[key]; !told {
			fresh[key] = u
		}
	}
}

// succeed lets what is known of a group now take the place of what was
// remembered: that is gone of which a list knows nothing, held back of which
// the list is empty, and stays while there is none.
func (s *Source) succeed(g *group, fresh map[string]discovery.Update, now time.Time) {
	for key, u := range g.remembered {
		listed, known := g.witness(key)
		_, told := s.told[key]
		switch {
		case !listed && !told:
			fresh[key] = u
		case !listed:
		case known == 0:
			u.Held = &discovery.Held{Since: now, Until: now.Add(s.o.Hold), Why: "nothing of this was found after the start, where there was something before it"}
			u.Documents, u.Kept, u.Faults = nil, u.Documents, nil
			if len(u.Kept)+len(u.Instances) > 0 {
				fresh[key], g.held[key] = u, u
			}
			delete(g.remembered, key)
		default:
			if told {
				fresh[key] = discovery.Update{Key: key, Gone: true, Urgent: len(u.Instances) > 0}
			}
			delete(g.remembered, key)
		}
	}
	for key, u := range g.held {
		if u.Gone {
			fresh[key] = u
			delete(g.held, key)
		}
	}
}

// witness reports whether a list says whether there is an object of a key, and
// how many objects such lists know of.
func (g *group) witness(key string) (listed bool, known int) {
	of, _, _ := strings.Cut(key, "/")
	place := placeOf(key)
	listed = true
	for _, w := range g.watched {
		if w.resource.name != of || !w.covers(place) && !strings.HasPrefix(place, hostPlace) {
			continue
		}
		listed = listed && (w.listed || w.absent)
		n, _ := w.count()
		known += n
	}
	return listed, known
}
