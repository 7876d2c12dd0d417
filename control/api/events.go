// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/store"
)

// eventRoutes are those of events.
func (a *API) eventRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/events/stream", need: auth.Viewer, serve: (*call).eventStream},
		{method: http.MethodGet, path: "/events", need: auth.Viewer, serve: (*call).events},
		{method: http.MethodPost, path: "/events", need: auth.Operator, changes: true, serve: (*call).tell},
	}
}

// shownEvent is an event as it is answered.
type shownEvent struct {
	ID        uint64          `json:"id"`
	Tags      []string        `json:"tags"`
	Value     json.RawMessage `json:"value"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Version   string          `json:"version"`
	Digest    *string         `json:"digest"`
}

func showEvent(e *store.Event) shownEvent {
	value := json.RawMessage(e.Data)
	if !json.Valid(value) {
		value = json.RawMessage("null")
	}
	return shownEvent{ID: e.ID, Tags: append([]string{}, e.Tags...), Value: value, Type: e.Type, Timestamp: e.Time, Version: "1.0"}
}

// eventTypes are the types that events may have.
var eventTypes = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// tell stores an event that somebody sent.
func (c *call) tell() error {
	body, err := c.body(maxBody)
	if err != nil {
		return err
	}
	e, err := readEvent(body)
	if err != nil {
		return err
	}
	e.Namespace = c.ns
	stored, err := c.api.o.Store.AppendEvents(c.ctx(), e)
	if err != nil {
		return err
	}
	c.api.o.Log.InfoContext(c.ctx(), "event sent", "author", c.author, "namespace", c.ns, "event", stored[0].ID)
	return c.answer(http.StatusCreated, showEvent(&stored[0]))
}

// document reads a body of YAML, of which JSON is a part.
func document(body []byte, into any) error {
	if err := yaml.Unmarshal(body, into); err != nil {
		return refuse(http.StatusBadRequest, "the body is no YAML or JSON of this form: "+strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return nil
}

// texts is a list of texts that may be written as one of them alone.
type texts []string

// UnmarshalYAML reads either form.
func (t *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		*t = texts{n.Value}
		return nil
	}
	var list []string
	if err := n.Decode(&list); err != nil {
		return err
	}
	*t = append(texts{}, list...)
	return nil
}

// readEvent reads an event as Vamp read it.
func readEvent(body []byte) (store.Event, error) {
	var sent struct {
		Tags      *texts    `yaml:"tags"`
		Value     any       `yaml:"value"`
		Type      string    `yaml:"type"`
		Timestamp yaml.Node `yaml:"timestamp"`
	}
	if err := document(body, &sent); err != nil {
		return store.Event{}, err
	}
	e := store.Event{Type: events.TypeEvent}
	switch {
	case sent.Tags == nil:
		return e, refuse(http.StatusBadRequest, "Can't find any value for path: 'tags'; an event has at least one tag, such as gateways:shop")
	case len(*sent.Tags) == 0:
		return e, refuse(http.StatusBadRequest, "No tag for the event; it must have at least one, such as gateways:shop")
	}
	if e.Tags = events.Expand(*sent.Tags...); len(e.Tags) == 0 {
		return e, refuse(http.StatusBadRequest, "the tags of the event are empty")
	}
	if sent.Type != "" {
		e.Type = sent.Type
	}
	if !eventTypes.MatchString(e.Type) {
		return e, refuse(http.StatusBadRequest, fmt.Sprintf("Event type '%.100s' is not allowed: letters, digits, - and _ are", e.Type))
	}
	if text := sent.Timestamp.Value; text != "" && sent.Timestamp.Tag != "!!null" {
		at, ok := timeOf(text)
		if !ok {
			return e, refuse(http.StatusBadRequest, fmt.Sprintf("Event timestamp '%.100s' is not of ISO 8601 with a zone, such as 2024-05-01T10:00:00Z", text))
		}
		e.Time = at
	}
	value, err := asJSON(sent.Value)
	if err != nil {
		return e, refuse(http.StatusBadRequest, "the value of the event cannot be written as JSON: "+err.Error())
	}
	e.Data = string(bytes.TrimSpace(value))
	return e, nil
}

// times are the forms of times that are read.
var times = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04Z07:00"}

func timeOf(text string) (time.Time, bool) {
	for _, form := range times {
		// Other years are no times for most formats.
		if at, err := time.Parse(form, text); err == nil && at.UTC().Year() > 0 && at.UTC().Year() < 10_000 {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// eventQuery is a query as a document.
type eventQuery struct {
	Tags       texts             `yaml:"tags"`
	Type       string            `yaml:"type"`
	Timestamp  map[string]string `yaml:"timestamp"`
	Aggregator *struct {
		Type  string `yaml:"type"`
		Field string `yaml:"field"`
	} `yaml:"aggregator"`
}

// eventQuery reads which events are asked for: by the query of the address,
// or by a document.
func (c *call) eventQuery() (eventQuery, store.EventQuery, error) {
	asked := eventQuery{Tags: c.query["tag"], Type: c.query.Get("type")}
	body, err := c.body(maxBody)
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		asked = eventQuery{}
		err = document(body, &asked)
	}
	q := store.EventQuery{Namespace: c.ns, Tags: asked.Tags}
	if asked.Type != "" {
		q.Types = []string{asked.Type}
	}
	if err == nil {
		err = bounds(asked.Timestamp, &q)
	}
	return asked, q, err
}

// bounds reads between which times events are asked for.
func bounds(of map[string]string, q *store.EventQuery) error {
	for _, pair := range [][2]string{{"lt", "lte"}, {"gt", "gte"}} {
		if of[pair[0]] != "" && of[pair[1]] != "" {
			return refuse(http.StatusBadRequest, "the query of events has both "+pair[0]+" and "+pair[1]+" as a timestamp; one of them is allowed")
		}
	}
	for name, text := range of {
		at, ok := timeOf(text)
		if !ok {
			return refuse(http.StatusBadRequest, fmt.Sprintf("timestamp %.20q of the query, '%.100s', is not of ISO 8601 with a zone, such as 2024-05-01T10:00:00Z", name, text))
		}
		switch name { // a store has Since <= time < Until
		case "gte":
			q.Since = at
		case "gt":
			q.Since = at.Add(1)
		case "lt":
			q.Until = at
		case "lte":
			q.Until = at.Add(1)
		default:
			return refuse(http.StatusBadRequest, fmt.Sprintf("the query of events has the timestamp %.20q; lt, lte, gt and gte are allowed", name))
		}
	}
	return nil
}

// moreEvents is how many events beyond its page a query counts.
const moreEvents = 1000

// events answers a page of events, the newest first, or what they add up to.
func (c *call) events() error {
	asked, q, err := c.eventQuery()
	if err != nil {
		return err
	}
	q.Limit = store.MaxEvents
	if asked.Aggregator == nil {
		q.Limit = min(q.Limit, maxPage*min(c.number("page", 1), store.MaxEvents)+moreEvents)
	}
	found, err := c.api.o.Store.Events(c.ctx(), q)
	if err != nil {
		return err
	}
	if asked.Aggregator != nil {
		return c.aggregate(asked.Aggregator.Type, asked.Aggregator.Field, found)
	}
	from, to := c.page(len(found))
	list := make([]shownEvent, 0, to-from)
	for i := range found[from:to] {
		list = append(list, showEvent(&found[from+i]))
	}
	return c.answer(http.StatusOK, list)
}

// aggregators are what a query may make of events.
var aggregators = []string{"min", "max", "average", "sum", "count"}

// aggregate answers one number of events: how many there are, or of a field
// of their values. Without any number it is 0.
func (c *call) aggregate(kind, field string, found []store.Event) error {
	if !slices.Contains(aggregators, kind) {
		return refuse(http.StatusBadRequest, fmt.Sprintf("Unsupported aggregator: '%.100s'; %s are allowed", kind, strings.Join(aggregators, ", ")))
	}
	if kind == "count" {
		return c.answer(http.StatusOK, map[string]int{"value": len(found)})
	}
	var list []float64
	sum := 0.0
	for i := range found {
		if n, ok := numberOf(found[i].Data, field); ok {
			list = append(list, n)
			sum += n
		}
	}
	value := 0.0
	if len(list) > 0 {
		switch kind {
		case "min":
			value = slices.Min(list)
		case "max":
			value = slices.Max(list)
		case "average":
			value = sum / float64(len(list))
		case "sum":
			value = sum
		}
	}
	return c.answer(http.StatusOK, map[string]float64{"value": value})
}

// numberOf returns the number in a value, or in a part of it whose names are
// joined by dots; they may begin with value.
func numberOf(data, field string) (float64, bool) {
	if field == "value" {
		field = ""
	}
	if field = strings.TrimPrefix(field, "value."); field == "" {
		var n float64
		err := json.Unmarshal([]byte(data), &n)
		return n, err == nil && data != "null"
	}
	name, rest, _ := strings.Cut(field, ".")
	var parts map[string]json.RawMessage
	if json.Unmarshal([]byte(data), &parts) != nil || parts[name] == nil {
		return 0, false
	}
	return numberOf(string(parts[name]), "value."+rest)
}
