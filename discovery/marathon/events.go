// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// maxEvent bounds what is kept of one event, in bytes. Of a longer one, such as
// a deployment of a whole cluster told in full, no more is known than that
// something has changed, which is enough.
const maxEvent = 1 << 20

// silence is after how long a stream that tells nothing at all is taken for dead,
// and silenceBeaten the same of one that has told that it lives, as Marathon does
// each 10 s.
const silence, silenceBeaten = 5 * time.Minute, time.Minute

// event is one event of a stream.
type event struct {
	name string
	data []byte // valid until the next event is read
	cut  bool   // it was longer than maxEvent
}

// eventReader reads a stream of events, the format text/event-stream of the
// HTML standard: lines end with CR, LF or CRLF, an event with an empty line,
// and one that does not end is none.
type eventReader struct {
	r *bufio.Reader
	// beat is called with each line that says no more than that the stream
	// lives: an empty one where no event is, or a comment.
	beat func()

	line    []byte
	data    []byte
	cut     bool // line or data is longer than maxEvent
	afterCR bool // an LF that comes next belongs to the CR before it
	begun   bool // the first line was read, which may begin with a byte order mark
}

func newEventReader(r io.Reader, beat func()) *eventReader {
	return &eventReader{r: bufio.NewReader(r), beat: beat}
}

// next returns the next event, or the error that the reader returns.
func (e *eventReader) next() (event, error) {
	name, some := "", false
	e.data, e.cut = e.data[:0], false
	for {
		if err := e.readLine(); err != nil {
			return event{}, err
		}
		field, value, _ := bytes.Cut(e.line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(e.line) == 0 && some:
			return event{name: name, data: e.data, cut: e.cut}, nil
		case len(e.line) == 0:
			name, e.cut = "", false
			e.beat()
		case len(field) == 0:
			e.beat()
		case string(field) == "event":
			name = string(value)
		case string(field) == "data":
			e.add(value, some)
			some = true
		}
	}
}

// add adds a line of data.
func (e *eventReader) add(line []byte, more bool) {
	need := len(line)
	if more {
		need++
	}
	if len(e.data)+need > maxEvent {
		e.cut = true
		return
	}
	if more {
		e.data = append(e.data, '\n')
	}
	e.data = append(e.data, line...)
}

// readLine reads a line without its end. What is longer than maxEvent is read
// past. A line that does not end is an error.
func (e *eventReader) readLine() error {
	e.line = e.line[:0]
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			return err
		}
		after := e.afterCR
		e.afterCR = c == '\r'
		switch {
		case c == '\n' && after:
		case c == '\n' || c == '\r':
			if !e.begun {
				e.begun = true
				e.line = bytes.TrimPrefix(e.line, []byte("\ufeff"))
			}
			return nil
		case len(e.line) >= maxEvent:
			e.cut = true
		default:
			e.line = append(e.line, c)
		}
	}
}

// attachedEvent is the first event of a stream.
const attachedEvent = "event_stream_attached"

// The other events that are asked for: those after which tasks, their health,
// or labels may differ.
var (
	appEvents = []string{
		"api_post_event", "app_terminated_event", "status_update_event",
		"health_status_changed_event", "instance_health_changed_event", "instance_changed_event",
	}
	deploymentEvents = []string{
		"deployment_info", "deployment_step_success", "deployment_step_failure", "deployment_success", "deployment_failed",
	}
)

// news is what may have changed, as events say.
type news struct {
	all         bool     // nothing says what
	attached    bool     // no event is missed from now on
	apps        []string // their ids
	born        []string // those of them that may be new
	deployments []deployment
}

// deployment is a deployment with the apps that an event says are concerned.
type deployment struct {
	id   string
	apps []string
	told bool // the event said which apps, none perhaps
	over bool // no more is said of it
}

// payload is what counts of the data of an event, of any type. It never is
// more than a hint where to look.
type payload struct {
	EventType     string
	AppID         string `json:"appId"`
	RunSpecID     string `json:"runSpecId"`
	AppDefinition *struct{ ID string }
	ID            string
	Plan          *struct{ ID string }
	CurrentStep   *struct {
		Actions []struct{ App string }
	}
}

// read adds what an event says. Data that cannot be read say that anything may
// have changed; several documents in one event are as many events.
func (n *news) read(e event) {
	if e.cut {
		n.all = true
		return
	}
	for d := json.NewDecoder(bytes.NewReader(e.data)); ; {
		var p payload
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			n.all = true
			return
		}
		if p.EventType == "" {
			p.EventType = e.name
		}
		n.note(&p)
	}
}

func (n *news) note(p *payload) {
	switch {
	case p.EventType == attachedEvent:
		n.attached = true
	case slices.Contains(appEvents, p.EventType):
		id := p.app()
		if !isID(id) {
			n.all = true
			return
		}
		n.apps = append(n.apps, id)
		if p.EventType == "api_post_event" {
			n.born = append(n.born, id)
		}
	case slices.Contains(deploymentEvents, p.EventType):
		n.deployments = append(n.deployments, p.deployment())
	}
}

// app returns the id of the app that an event names; empty if it names none.
func (p *payload) app() string {
	id := p.AppID
	if id == "" {
		id = p.RunSpecID
	}
	if id == "" && p.AppDefinition != nil {
		id = p.AppDefinition.ID
	}
	if id != "" && id[0] != '/' {
		id = "/" + id
	}
	return id
}

// isID reports whether a text is the id of an app that can be asked for by
// itself. Some have what Marathon takes for a question about the app above.
func isID(id string) bool {
	if len(id) < 2 || len(id) > 1024 || id[0] != '/' {
		return false
	}
	for part := range strings.SplitSeq(id[1:], "/") {
		if strings.Trim(part, ".") == "" || strings.ContainsFunc(part, strange) {
			return false
		}
	}
	last := id[strings.LastIndexByte(id, '/')+1:]
	return last != "tasks" && last != "versions" && last != "restart"
}

// strange reports whether a character is none of an id.
func strange(r rune) bool {
	return r != '-' && r != '.' && r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

func (p *payload) deployment() deployment {
	d := deployment{id: p.ID, told: p.CurrentStep != nil}
	if d.id == "" && p.Plan != nil {
		d.id = p.Plan.ID
	}
	if d.told {
		for _, a := range p.CurrentStep.Actions {
			switch {
			case isID(a.App):
				d.apps = append(d.apps, a.App)
			case a.App != "":
				d.told = false
			}
		}
	}
	d.over = p.EventType == "deployment_success" || p.EventType == "deployment_failed"
	return d
}
