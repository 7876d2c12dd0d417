// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
	"math"
	"slices"
	"time"
)

func (s *boltStore) AppendEvents(ctx context.Context, events ...Event) ([]Event, error) {
	if err := checkEvents(events); err != nil || len(events) == 0 {
		return nil, err
	}
	added := slices.Clone(events)
	err := s.change(ctx, func(l *ledger) error {
		now := s.o.Now()
		for i := range added {
			e := &added[i]
			if e.Time = events[i].Time; e.Time.IsZero() {
				e.Time = now
			}
			e.Time = e.Time.UTC()
			l.state.Event++
			e.ID = l.state.Event
			if err := l.putJSON(eventsBucket, number(e.ID), e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

func (s *boltStore) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	if err := checkFilter(q.Namespace, ""); err != nil {
		return nil, err
	}
	var events []Event
	err := s.view(ctx, func(l *ledger) error {
		events = nil
		oldest := s.o.Now().Add(-s.o.EventAge)
		end := uint64(math.MaxUint64)
		if q.Before != 0 {
			end = q.Before
		}
		c, may := l.tx.Bucket(eventsBucket).Cursor(), q.hints()
		for k, text := before(c, number(end)); k != nil && len(events) < q.limit(); k, text = c.Prev() {
			if !may.be(text) {
				continue
			}
			e, wanted, err := readEvent(k, text, q, oldest)
			if err != nil {
				return err
			}
			if wanted {
				events = append(events, e)
			}
		}
		return nil
	})
	return events, err
}

// hints are texts that stand in the record of every event that a query asks
// for. To look for them takes a small part of the time of decoding.
type hints [][]byte

// hints returns those of a query. A text that could be written in several ways
// is none.
func (q EventQuery) hints() (h hints) {
	add := func(text string) {
		for _, c := range []byte(text) {
			if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
				return
			}
		}
		h = append(h, []byte(`"`+text+`"`))
	}
	for _, tag := range slices.Backward(q.Tags) { // as one writes them, the last one says most
		add(tag)
	}
	if len(q.Types) == 1 {
		add(q.Types[0])
	}
	if q.Namespace != "" {
		add(q.Namespace)
	}
	return h
}

// be reports whether a record may be of an event that is asked for.
func (h hints) be(record []byte) bool {
	for _, text := range h {
		if !bytes.Contains(record, text) {
			return false
		}
	}
	return true
}

// readEvent decodes an event and reports whether a query wants it.
func readEvent(id, text []byte, q EventQuery, oldest time.Time) (Event, bool, error) {
	e := Event{ID: binary.BigEndian.Uint64(id)}
	if err := decode("event", text, &e); err != nil {
		return Event{}, false, err
	}
	return e, !e.Time.Before(oldest) && q.Matches(&e), nil
}

func (s *boltStore) WatchEvents(ctx context.Context, after uint64, q EventQuery) iter.Seq2[Event, error] {
	q = EventQuery{Namespace: q.Namespace, Types: q.Types, Tags: q.Tags}
	return func(yield func(Event, error) bool) {
		if err := checkFilter(q.Namespace, ""); err != nil {
			yield(Event{}, err)
			return
		}
		first := true
		follow(ctx, s, yield, func() ([]Event, bool, error) {
			var events []Event
			more := false
			err := s.view(ctx, func(l *ledger) (err error) {
				if first && after == 0 {
					after = l.state.EventFloor
				}
				events, more, err = s.eventsAfter(l, q, &after)
				return err
			})
			first = false
			return events, more, err
		})
	}
}

// eventsAfter returns the next events that a query asks for and moves after
// beyond them.
func (s *boltStore) eventsAfter(l *ledger, q EventQuery, after *uint64) (events []Event, more bool, err error) {
	if *after < l.state.EventFloor || *after > l.state.Event {
		return nil, false, ErrCompacted
	}
	oldest, may := s.o.Now().Add(-s.o.EventAge), q.hints()
	c, n := l.tx.Bucket(eventsBucket).Cursor(), 0
	for id, text := c.Seek(number(*after + 1)); id != nil; id, text = c.Next() {
		if n++; n > watchEvents {
			return events, true, nil
		}
		*after = binary.BigEndian.Uint64(id)
		if !may.be(text) {
			continue
		}
		e, wanted, err := readEvent(id, text, q, oldest)
		if err != nil {
			return nil, false, err
		}
		if wanted {
			events = append(events, e)
		}
	}
	*after = l.state.Event // above the last one, where a restoration has left a gap
	return events, false, nil
}
