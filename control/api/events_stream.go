// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
)

// beatEvery is how often an empty comment is sent, so that nobody takes silence
// for the end.
const beatEvery = 15 * time.Second

// watched is what a watch of events says.
type watched struct {
	event store.Event
	err   error
}

// eventStream sends events as they come, in the form of server-sent events
// (HTML Living Standard section 9.2): of the wanted type, with all wanted tags.
func (c *call) eventStream() error {
	_, q, err := c.eventQuery()
	if err != nil {
		return err
	}
	after, err := c.resume()
	if err != nil {
		return err
	}
	o := &c.api.o
	if c.api.streams.Add(1) > int64(o.MaxStreams) {
		c.api.streams.Add(-1)
		o.Registry.ControlEventStreamsEnded("full").Add(0, 1)
		return &Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d streams of events are open, which is the limit; end one of them, or try again later", o.MaxStreams), RetryAfter: 5}
	}
	defer c.api.streams.Add(-1)
	o.Registry.ControlEventStreams().Add(0, 1)
	defer o.Registry.ControlEventStreams().Add(0, -1)
	o.Registry.ControlEventStreamsEnded(c.stream(after, q)).Add(0, 1)
	return nil
}

// resume returns the event after which a stream begins: that which the reader
// had last, or the newest one.
func (c *call) resume() (uint64, error) {
	newest := uint64(0)
	last, err := c.api.o.Store.Events(c.ctx(), store.EventQuery{Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(last) > 0 {
		newest = last[0].ID
	}
	if had, err := strconv.ParseUint(c.r.Header.Get("Last-Event-ID"), 10, 64); err == nil && had < newest {
		return had, nil
	}
	return newest, nil // also if it is of a store that is no more
}

// stream sends events until the reader or the control plane ends, and returns
// why it ended.
func (c *call) stream(after uint64, q store.EventQuery) string {
	ctx, cancel := c.waiting()
	found := make(chan watched)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.watch(ctx, after, q, found)
	}()
	defer func() {
		cancel()
		<-done
	}()
	w := &eventWriter{w: c.w, control: http.NewResponseController(c.w), timeout: c.api.o.StreamTimeout}
	defer func() { _ = w.control.SetWriteDeadline(time.Time{}) }() // the connection may go on
	if err := w.begin(); err != nil {
		return ended(err)
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return "closed"
		case <-beat.C:
			err = w.write(":\n\n")
		case next := <-found:
			if err = next.err; err == nil {
				err = w.event(&next.event)
			}
		}
		if err != nil {
			return ended(err)
		}
	}
}

// watch hands on the events after a number. Those that were dropped before it
// began are left out.
func (c *call) watch(ctx context.Context, after uint64, q store.EventQuery, to chan<- watched) {
	begun := false
	for e, err := range c.api.o.Store.WatchEvents(ctx, after, q) {
		if errors.Is(err, store.ErrCompacted) && after > 0 && !begun {
			c.watch(ctx, 0, q, to) // all that is kept
			return
		}
		begun = true
		select {
		case to <- watched{e, err}:
		case <-ctx.Done():
			return
		}
	}
}

// ended names why a stream ended.
func ended(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, store.ErrCompacted):
		return "slow"
	case errors.Is(err, store.ErrCorrupt):
		return "failed"
	}
	return "closed"
}

// eventWriter writes a stream.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration // for one piece
}

// begin sends the head.
func (w *eventWriter) begin() error {
	// A deadline of the body would end the stream.
	if err := w.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	h := w.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // of proxies in front
	w.w.WriteHeader(http.StatusOK)
	return w.write(":\n\n")
}

// event sends one event. Its name is its type.
func (w *eventWriter) event(e *store.Event) error {
	data, err := asJSON(showEvent(e))
	if err != nil {
		return err
	}
	return w.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n", e.ID, e.Type, data)) // data ends its line
}

// write sends a piece at once.
func (w *eventWriter) write(text string) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.w.Write([]byte(text)); err != nil {
		return err
	}
	return w.control.Flush()
}
