// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Event is something that happened.
type Event struct {
	// ID orders events; empty if the control plane does not tell it.
	ID        string          `json:"-"`
	Type      string          `json:"type"`
	Tags      []string        `json:"tags"`
	Timestamp time.Time       `json:"timestamp"`
	Value     json.RawMessage `json:"value"` // any JSON; nil if there is none
}

// EventQuery says which events are asked for. The zero EventQuery asks for
// the newest ones.
type EventQuery struct {
	Tags []string // all of them
	Type string   // empty: any
	Page int      // from 1; 0 means 1. Streams have no pages
}

func (q EventQuery) values() url.Values {
	v := make(url.Values)
	if len(q.Tags) > 0 {
		v["tag"] = q.Tags
	}
	if q.Type != "" {
		v.Set("type", q.Type)
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	return v
}

// Events returns a page of events, the newest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	var bodies []json.RawMessage
	if err := c.get(ctx, "/events", q.values(), &bodies); err != nil {
		return nil, err
	}
	all := make([]Event, 0, len(bodies))
	for _, body := range bodies {
		e, err := readEvent(body)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// Emit adds an event of the type "event" and returns it as it is stored.
func (c *Client) Emit(ctx context.Context, tags []string, value any) (Event, error) {
	body, err := json.Marshal(map[string]any{"tags": tags, "value": value})
	if err != nil {
		return Event{}, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	a, err := c.do(ctx, call{method: http.MethodPost, path: "/events", header: header, body: body})
	if err != nil {
		return Event{}, err
	}
	return readEvent(a.body)
}

// readEvent reads an event, whose id may be a number or a text.
func readEvent(body []byte) (Event, error) {
	var e struct {
		Event
		ID json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, notJSON(body)
	}
	e.Event.ID = string(e.ID)
	if text := ""; json.Unmarshal(e.ID, &text) == nil {
		e.Event.ID = text
	}
	if string(e.Value) == "null" {
		e.Value = nil
	}
	return e.Event, nil
}

// followPauses is after how many of Options.Pause Follow connects anew.
const followPauses = 10

// Follow yields events as they happen, from behind the one whose ID is after:
// "0" is before all, and "" is now. When the connection is lost it yields the
// error, connects again, and goes on behind the last event. It ends when the
// loop is left, after the error of ctx, and after an *Error, by which the
// control plane said no. If after is empty, what happens before the first
// event has come may be missed while there is no connection.
func (c *Client) Follow(ctx context.Context, q EventQuery, after string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		last := after
		for {
			err := c.follow(ctx, q, &last, yield)
			if errors.Is(err, errLeft) {
				return
			}
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			_, refused := errors.AsType[*Error](err)
			if !yield(Event{}, err) || refused || ctx.Err() != nil {
				return
			}
			if err := pause(ctx, followPauses*c.o.Pause); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// errLeft reports that whoever ranges over events wants no more of them.
var errLeft = errors.New("left")

// follow yields the events of one connection. It never returns nil.
func (c *Client) follow(ctx context.Context, q EventQuery, last *string, yield func(Event, error) bool) error {
	call := call{method: http.MethodGet, path: "/events/stream", query: q.values(), accept: "text/event-stream", header: make(http.Header)}
	if *last != "" {
		call.header.Set("Last-Event-ID", *last)
	}
	resp, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	messages := newMessages(resp.Body)
	for {
		m, err := messages.next()
		if err != nil {
			return &UnreachableError{Server: c.o.Server, Err: err}
		}
		if m.id != "" {
			*last = m.id
		}
		if m.data == "" {
			continue
		}
		e, err := readEvent([]byte(m.data))
		if err != nil {
			return err
		}
		if m.id != "" {
			e.ID = m.id
		}
		if !yield(e, nil) {
			return errLeft
		}
	}
}
