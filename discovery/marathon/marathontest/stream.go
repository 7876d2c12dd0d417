// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// outstanding is how many events a stream may lag behind before the next ones
// are dropped, as Marathon has it by default.
const outstanding = 1024

// maxStreams bounds the streams that there are at a time.
const maxStreams = 1000

// stream is one client that listens to events.
type stream struct {
	types  []string // nil means all
	heavy  bool     // it is told whole plans
	events chan frame
	end    chan struct{} // closed to end it
}

// frame is what is written to a stream at once.
type frame struct {
	text []byte
	cut  bool // half of it is written, then the connection is cut
}

// trouble is what happens to the next events.
type trouble struct {
	drop, duplicate int
	reorder, join   int // how many are to be collected yet
	collected       []event
	cut             bool
	resume          chan struct{} // while streams are silent; closed when they go on
}

// event is one event.
type event struct {
	kind string
	data []byte
	// heavy is what streams are told that have not asked for light plans; nil
	// means the same.
	heavy []byte
}

// emit tells all streams of an event. The lock is held.
func (c *Cluster) emit(kind string, fields map[string]any) {
	if len(c.streams) > 0 {
		c.send(event{kind: kind, data: payload(kind, fields)})
	}
}

// payload returns the data of an event.
func payload(kind string, fields map[string]any) []byte {
	fields["eventType"] = kind
	fields["timestamp"] = when(time.Now())
	data, err := json.Marshal(fields)
	if err != nil {
		panic(err) // all of it is ours
	}
	return data
}

// send tells all streams of an event, as trouble has it. The lock is held.
func (c *Cluster) send(e event) {
	t := &c.trouble
	switch {
	case t.drop > 0:
		t.drop--
		return
	case t.reorder > 0 || t.join > 0:
		c.collect(e)
		return
	case t.duplicate > 0:
		t.duplicate--
		c.tell(e)
	}
	c.tell(e)
}

// emitPlan tells of a deployment. Before 1.8 the plan has all apps as they were
// and as they are to be, for streams that have not asked for light ones; here it
// has them as they are. The lock is held.
func (c *Cluster) emitPlan(kind string, d *Deployment, parts ...string) {
	if len(c.streams) == 0 {
		return
	}
	fields := d.event(parts...)
	e := event{kind: kind, data: payload(kind, fields)}
	plan, ok := fields["plan"].(map[string]any)
	if ok && c.release < 8 && c.anyHeavy() {
		apps := []any{}
		for _, id := range slices.Sorted(maps.Keys(c.apps)) {
			apps = append(apps, c.define(c.apps[id]))
		}
		group := map[string]any{"id": "/", "version": d.version, "apps": apps}
		plan["original"], plan["target"] = group, group
		e.heavy = payload(kind, fields)
	}
	c.send(e)
}

func (c *Cluster) anyHeavy() bool {
	for s := range c.streams {
		if s.heavy {
			return true
		}
	}
	return false
}

// emitHealth tells of what a check found. The lock is held.
func (c *Cluster) emitHealth(t *task, alive bool) {
	c.emit("health_status_changed_event", map[string]any{
		"appId": t.app.id, c.taskKey(): c.taskName(t), "version": t.version, "alive": alive,
	})
}

// collect holds events back until there are as many as are to be told together.
func (c *Cluster) collect(e event) {
	t := &c.trouble
	t.collected = append(t.collected, e)
	if t.reorder > 0 {
		if t.reorder--; t.reorder == 0 {
			slices.Reverse(t.collected)
			for _, e := range t.collected {
				c.tell(e)
			}
			t.collected = nil
		}
		return
	}
	if t.join--; t.join == 0 {
		var all [][]byte
		for _, e := range t.collected {
			all = append(all, e.data)
		}
		c.tell(event{kind: t.collected[0].kind, data: bytes.Join(all, []byte("\r\n"))})
		t.collected = nil
	}
}

// tell writes an event to all streams that ask for its kind.
func (c *Cluster) tell(e event) {
	light := frame{text: c.format(e.kind, e.data), cut: c.trouble.cut}
	heavy := light
	if e.heavy != nil {
		heavy.text = c.format(e.kind, e.heavy)
	}
	c.trouble.cut = false
	for s := range c.streams {
		if s.types != nil && !slices.Contains(s.types, e.kind) {
			continue
		}
		f := light
		if s.heavy {
			f = heavy
		}
		c.push(s, f)
	}
}

// push hands a frame to a stream, which loses it if it lags too far behind.
func (c *Cluster) push(s *stream, f frame) {
	select {
	case s.events <- f:
	default:
		c.o.Log.Warn("a stream lags behind; it loses an event")
	}
}

// format writes an event as streams have it. The lines of its data go into as
// many fields.
func (c *Cluster) format(kind string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + kind + c.o.LineEnd)
	for line := range bytes.SplitSeq(data, []byte("\r\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteString(c.o.LineEnd)
	}
	b.WriteString(c.o.LineEnd)
	return b.Bytes()
}

// Emit tells all streams of an event of a kind, with those fields. It undergoes
// what DropEvents and the like have asked for, as all events do.
func (c *Cluster) Emit(kind string, fields map[string]any) {
	copied := make(map[string]any, len(fields)+2)
	maps.Copy(copied, fields)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emit(kind, copied)
}

// SendRaw writes text to all streams as it is, whatever they ask for.
func (c *Cluster) SendRaw(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.streams {
		c.push(s, frame{text: []byte(text)})
	}
}

// DropEvents loses the next n events.
func (c *Cluster) DropEvents(n int) { c.ask(func(t *trouble) { t.drop = n }) }

// DuplicateEvents sends the next n events twice each.
func (c *Cluster) DuplicateEvents(n int) { c.ask(func(t *trouble) { t.duplicate = n }) }

// ReorderEvents holds the next n events back, and sends them with the last one
// first.
func (c *Cluster) ReorderEvents(n int) { c.ask(func(t *trouble) { t.reorder = n }) }

// JoinEvents holds the next n events back, and sends them as one, which has the
// name of the first and several values of JSON, a line each.
func (c *Cluster) JoinEvents(n int) { c.ask(func(t *trouble) { t.join = n }) }

// CutEvent sends but half of the next event, and cuts the connection.
func (c *Cluster) CutEvent() { c.ask(func(t *trouble) { t.cut = true }) }

func (c *Cluster) ask(change func(*trouble)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.trouble)
}

// Stall silences all streams, heartbeats included, without closing them, until
// resume is called. What would have been sent is sent then.
func (c *Cluster) Stall() (resume func()) {
	silent := make(chan struct{})
	c.ask(func(t *trouble) { t.resume = silent })
	return func() {
		c.ask(func(t *trouble) {
			if t.resume == silent {
				t.resume = nil
				close(silent)
			}
		})
	}
}

// CloseStreams ends all event streams.
func (c *Cluster) CloseStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeStreams()
}

func (c *Cluster) closeStreams() {
	for s := range c.streams {
		delete(c.streams, s)
		close(s.end)
	}
	c.note()
}

// Streams returns how many event streams there are.
func (c *Cluster) Streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// AwaitStreams waits until there are n event streams, or ctx ends.
func (c *Cluster) AwaitStreams(ctx context.Context, n int) error {
	return c.await(ctx, func() bool { return len(c.streams) == n })
}

// follow answers a call for the event stream.
func (c *Cluster) follow(w http.ResponseWriter, r *http.Request) {
	if c.Streams() >= maxStreams {
		refuse(w, http.StatusServiceUnavailable, "there are too many event streams")
		return
	}
	query := r.URL.Query()
	s := &stream{
		types: query["event_type"], heavy: query.Get("plan-format") != "light",
		events: make(chan frame, outstanding), end: make(chan struct{}),
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	_ = control.Flush()
	c.attach(s, r.RemoteAddr)
	defer c.detach(s)
	beat := time.NewTicker(c.o.Heartbeat)
	defer beat.Stop()
	for {
		var f frame
		select {
		case <-r.Context().Done():
			return
		case <-s.end:
			return
		case <-beat.C:
			f.text = []byte("\r\n")
		case f = <-s.events:
		}
		if !c.speak(r.Context(), s) {
			return
		}
		text := f.text
		if f.cut {
			text = text[:len(text)/2]
		}
		if _, err := w.Write(text); err != nil || control.Flush() != nil {
			return
		}
		if f.cut {
			panic(http.ErrAbortHandler)
		}
	}
}

// speak waits while streams are to be silent, and reports whether the stream
// goes on.
func (c *Cluster) speak(ctx context.Context, s *stream) bool {
	c.mu.Lock()
	silent := c.trouble.resume
	c.mu.Unlock()
	if silent == nil {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.end:
		return false
	case <-silent:
		return true
	}
}

func (c *Cluster) attach(s *stream, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[s] = true
	c.emit("event_stream_attached", map[string]any{"remoteAddress": strings.Clone(address)})
	c.note()
}

func (c *Cluster) detach(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s)
	c.note()
}
