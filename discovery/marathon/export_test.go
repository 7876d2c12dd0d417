// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

// Event is one event as it was read.
type Event struct {
	Name, Data string
	Cut        bool
}

// MaxEvent bounds what is kept of an event.
const MaxEvent = maxEvent

// ReadEvents reads a stream of events to its end.
func ReadEvents(r io.Reader) (events []Event, beats int, err error) {
	e := newEventReader(r, func() { beats++ })
	for {
		one, err := e.next()
		if errors.Is(err, io.EOF) {
			return events, beats, nil
		}
		if err != nil {
			return events, beats, err
		}
		events = append(events, Event{one.name, string(one.data), one.cut})
	}
}

// News is what may have changed.
type News struct {
	All        bool
	Apps, Born []string
	Plans      map[string][]string // of deployments that say which apps
	Unsaid     []string            // deployments that do not
	Over       []string            // deployments that have ended
}

// ReadNews reads what an event says.
func ReadNews(e Event) News {
	var n news
	n.read(event{name: e.Name, data: []byte(e.Data), cut: e.Cut})
	is := News{All: n.all, Apps: n.apps, Born: n.born}
	for _, d := range n.deployments {
		if d.told {
			if is.Plans == nil {
				is.Plans = make(map[string][]string)
			}
			is.Plans[d.id] = d.apps
		} else {
			is.Unsaid = append(is.Unsaid, d.id)
		}
		if d.over {
			is.Over = append(is.Over, d.id)
		}
	}
	return is
}

// Client asks Marathon without a Source.
type Client struct{ c *client }

// NewClient returns a client.
func NewClient(o Options) (Client, error) {
	c, err := newClient(o.withDefaults())
	return Client{c}, err
}

// Snapshot returns the text of a snapshot.
func (c Client) Snapshot(ctx context.Context) (text string, err error) {
	err = c.c.snapshot(ctx, func(r io.Reader) error {
		data, err := io.ReadAll(r)
		text = string(data)
		return err
	})
	return text, err
}

// One returns the text that is told of an app.
func (c Client) One(ctx context.Context, id string) (text string, err error) {
	err = c.c.one(ctx, id, func(r io.Reader) error {
		data, err := io.ReadAll(r)
		text = string(data)
		return err
	})
	return text, err
}

// ErrAbsent is what One returns of an app that is no more.
var ErrAbsent = errAbsent

// FirstEvent begins a stream of events and returns the first of them.
func (c Client) FirstEvent(ctx context.Context) (Event, error) {
	s, err := c.c.stream(ctx)
	if err != nil {
		return Event{}, err
	}
	defer s.Close()
	s.patience(silence)
	e, err := newEventReader(s, func() { s.patience(silenceBeaten) }).next()
	return Event{e.name, string(e.data), e.cut}, err
}

// Idle closes connections on which nothing happens.
func (c Client) Idle() { c.c.trust.client().CloseIdleConnections() }

// Rewrite reads the text of a file that remembers and writes it again.
func Rewrite(text string) (string, error) {
	m, err := parseArchive(strings.NewReader(text))
	if err != nil {
		return "", err
	}
	var again strings.Builder
	err = m.encode(&again)
	return again.String(), err
}

// Intake takes answers of Marathon without asking for them.
type Intake struct{ s *Source }

// NewIntake returns one that has told nothing yet.
func NewIntake(o Options) (Intake, error) {
	s, err := New(o)
	return Intake{s}, err
}

// All takes a snapshot and returns what it has to tell.
func (i Intake) All(r io.Reader) (discovery.Batch, error) {
	apps, faults, err := readApps(r, 1<<40)
	if err != nil {
		return discovery.Batch{}, err
	}
	i.s.mu.Lock()
	i.s.replace(apps, faults, time.Now())
	i.s.mu.Unlock()
	b, _ := i.s.batch(time.Now(), false)
	return b, nil
}

// One takes what is said of one app and returns what it has to tell.
func (i Intake) One(r io.Reader) (discovery.Batch, error) {
	a, faults, err := readApp(r, 1<<40)
	if err != nil {
		return discovery.Batch{}, err
	}
	i.s.mu.Lock()
	i.s.put(a.id, a, faults)
	i.s.mu.Unlock()
	b, _ := i.s.batch(time.Now(), false)
	return b, nil
}

// Waits returns what the first of many attempts wait for.
func Waits(attempts int) []time.Duration {
	var b backoff
	list := make([]time.Duration, attempts)
	for i := range list {
		list[i] = b.next()
	}
	return list
}
