// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/control/client"
)

func TestEventsHaveNumbersOrTexts(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"id": 12, "type": "event", "tags": ["a", "a:b"], "value": {"x": 1}, "timestamp": "2026-11-21T10:00:00Z"},
			{"id": "12-a", "type": "event", "value": null}, {"type": "event"}]`)
	}, nil)
	all, err := c.Events(t.Context(), client.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%s %v %s", e.ID, e.Tags, e.Value))
	}
	want := []string{`12 [a a:b] {"x": 1}`, "12-a [] ", " [] "}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %q, want %q", got, want)
	}
}

func TestFollowGoesOnBehindTheLastEvent(t *testing.T) {
	var asked atomic.Int64
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		from := r.Header.Get("Last-Event-ID")
		switch asked.Add(1) {
		case 1:
			if from != "0" {
				t.Errorf("it begins behind %q, want 0", from)
			}
			fmt.Fprint(w, ": here\n\nid: 1\ndata: {\"type\": \"a\"}\n\nid: 2\ndata: {\"type\": \"b\"}\n\n")
		case 2:
			if from != "2" {
				t.Errorf("it goes on behind %q, want 2", from)
			}
			fmt.Fprint(w, "data: {\"type\": \"c\"}\n\n")
		case 3:
			if from != "2" {
				t.Errorf("behind an event without a number it goes on behind %q, want 2", from)
			}
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message": "no more"}`)
		}
	}, nil)
	var got []string
	for e, err := range c.Follow(t.Context(), client.EventQuery{}, "0") {
		_, away := errors.AsType[*client.UnreachableError](err)
		switch {
		case away:
			got = append(got, "away")
		case err != nil:
			got = append(got, err.Error())
		default:
			got = append(got, e.ID+e.Type)
		}
	}
	want := []string{"1a", "2b", "away", "c", "away", "away", "no more"}
	if !slices.Equal(got, want) {
		t.Errorf("it tells %q, want %q", got, want)
	}
}

func TestFollowEndsWhenTheLoopIsLeft(t *testing.T) {
	ended := make(chan struct{})
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	}, nil)
	for _, err := range c.Follow(t.Context(), client.EventQuery{}, "") {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	<-ended
}
