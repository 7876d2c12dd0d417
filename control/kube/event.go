// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// reporter names us in events.
	reporter = "sluice.dev/control"
	// eventsPerSecond and eventsAtOnce bound what is told: events are for
	// people.
	eventsPerSecond = 5
	eventsAtOnce    = 50
	// repeatAfter is how long the same is not told again. The API server
	// forgets events after an hour.
	repeatAfter = 30 * time.Minute
	// maxTold bounds what is remembered of it, and maxWaiting what waits to be
	// told.
	maxTold    = 10_000
	maxWaiting = 1_000
	// maxNote and maxReason are bounds of the API server.
	maxNote   = 1024
	maxReason = 128
)

// Object names an object of Kubernetes that an event is about.
type Object struct {
	APIVersion, Kind string
	Namespace, Name  string
	UID              types.UID // may be empty
}

// Event is what an object is told.
type Event struct {
	About   Object
	Warning bool // else it is told that all is well
	// Reason is one word such as Refused, Action another such as Accept.
	Reason, Action string
	Note           string // for people
}

// Events tells objects what is wrong with them, as kubectl describe shows it.
// What was told is not told again for half an hour, nor by a control plane that
// does not lead; above a rate, and while too much waits, what comes is dropped.
// It is that of a Writer, and safe for concurrent use.
type Events struct {
	w     *Writer
	limit *rate.Limiter
	wake  chan struct{} // holds a token if something waits

	mu      sync.Mutex // guards the fields below
	told    map[Event]time.Time
	waiting []Event
}

func newEvents(w *Writer) *Events {
	return &Events{
		w: w, limit: rate.NewLimiter(eventsPerSecond, eventsAtOnce), wake: make(chan struct{}, 1),
		told: make(map[Event]time.Time),
	}
}

// Tell has an object told e. It does not block.
func (e *Events) Tell(event Event) {
	if !e.w.Leading() {
		return
	}
	event.Note = strings.Clone(cut(event.Note, maxNote)) // so little is remembered of it
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if at, ok := e.told[event]; ok && now.Sub(at) < repeatAfter || len(e.waiting) >= maxWaiting {
		return
	}
	e.remember(event, now)
	e.waiting = append(e.waiting, event)
	select {
	case e.wake <- struct{}{}:
	default: // a token that is there says the same
	}
}

// remember notes that something was told. Where too much is remembered, what is
// old is forgotten, and if nothing is, all: it is told again then.
func (e *Events) remember(event Event, now time.Time) {
	if len(e.told) >= maxTold {
		for other, at := range e.told {
			if now.Sub(at) >= repeatAfter {
				delete(e.told, other)
			}
		}
		if len(e.told) >= maxTold {
			clear(e.told)
		}
	}
	e.told[event] = now
}

// run writes what waits, while t lasts.
func (e *Events) run(ctx context.Context, t term) {
	for {
		select {
		case <-ctx.Done():
			e.mu.Lock()
			e.forget(e.waiting)
			e.waiting = nil
			e.mu.Unlock()
			return
		case <-e.wake:
		}
		e.mu.Lock()
		waiting := e.waiting
		e.waiting = nil
		e.mu.Unlock()
		for i, event := range waiting {
			if e.limit.Wait(ctx) != nil || !t.lasts() {
				e.mu.Lock()
				e.forget(waiting[i:])
				e.mu.Unlock()
				break
			}
			e.write(ctx, event)
		}
	}
}

// forget has events told again that were not written. e is locked.
func (e *Events) forget(events []Event) {
	for _, event := range events {
		delete(e.told, event)
	}
}

// write writes an event. One that cannot be written is lost: the next look
// that finds the same tells it again.
func (e *Events) write(ctx context.Context, event Event) {
	ctx, cancel := context.WithTimeout(ctx, e.w.writeTimeout())
	defer cancel()
	made := event.object(e.w.o.Identity)
	_, err := e.w.client.EventsV1().Events(made.Namespace).Create(ctx, made, metav1.CreateOptions{FieldManager: manager})
	e.w.count("event", err)
	if err == nil {
		return
	}
	e.mu.Lock()
	delete(e.told, event)
	e.mu.Unlock()
	// The namespace of one whose object is gone may be, too.
	if ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		// The name of the event differs each time; what is wrong does not.
		e.w.complainOf("event", explainWrite(err, "write an event", "events of events.k8s.io", "create"))
	}
}

// object returns the event as it is written.
func (event Event) object(identity string) *eventsv1.Event {
	kind := corev1.EventTypeNormal
	if event.Warning {
		kind = corev1.EventTypeWarning
	}
	about, now := event.About, time.Now()
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: namespace, GenerateName: eventName(about.Name)},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: reporter, ReportingInstance: cut(identity, maxReason),
		Action: cut(event.Action, maxReason), Reason: cut(event.Reason, maxReason), Type: kind,
		Regarding: corev1.ObjectReference{
			APIVersion: about.APIVersion, Kind: about.Kind, Namespace: about.Namespace, Name: about.Name, UID: about.UID,
		},
		Note: cut(event.Note, maxNote),
	}
}

// eventName returns the beginning of the name of an event about an object.
func eventName(of string) string { return strings.TrimRight(cut(of, 200), ".-") + "-" }

// cut returns the beginning of a text, at most n bytes and whole letters of it.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}
