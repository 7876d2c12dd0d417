// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// script is a Marathon that says what it is told to.
type script struct {
	mu       sync.Mutex        // guards the fields below
	apps     map[string]string // what is said of an app, by id
	streams  map[chan string]bool
	asked    map[string]int   // how often, by path
	instead  http.HandlerFunc // answers snapshots instead; nil if nobody does
	noEvents bool
	quiet    bool          // streams do not tell that they have begun
	silent   bool          // streams tell nothing at all
	late     time.Duration // after which streams begin
}

func newScript(apps ...string) *script {
	m := &script{apps: make(map[string]string), streams: make(map[chan string]bool), asked: make(map[string]int)}
	for _, id := range apps {
		m.apps[id] = running(id, "10.0.0.1")
	}
	return m
}

// running is an app with one task on a host.
func running(id, host string) string {
	return fmt.Sprintf(`{"id":%q,"instances":1,"container":{"docker":{"image":"shop"}},"portDefinitions":[{"port":10000}],
		"tasks":[{"id":%q,"appId":%q,"host":%q,"ports":[%d],"state":"TASK_RUNNING"}]}`, id, "task"+id, id, host, 31000+len(id))
}

func (m *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	path := r.URL.Path
	m.asked[path]++
	instead, apps, noEvents := m.instead, maps.Clone(m.apps), m.noEvents
	m.mu.Unlock()
	switch id, single := strings.CutPrefix(path, "/v2/apps"); {
	case path == "/v2/events" && noEvents:
		w.WriteHeader(http.StatusForbidden)
	case path == "/v2/events":
		m.stream(w, r)
	case instead != nil:
		instead(w, r)
	case path == "/v2/apps":
		w.Header().Set("Content-Type", "application/json")
		texts := make([]string, 0, len(apps))
		for _, id := range slices.Sorted(maps.Keys(apps)) {
			texts = append(texts, apps[id])
		}
		fmt.Fprintf(w, `{"apps":[%s]}`, strings.Join(texts, ","))
	case single && apps[id] != "":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"app":%s}`, apps[id])
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":"App '%s' does not exist"}`, id)
	}
}

func (m *script) stream(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 1000)
	m.mu.Lock()
	m.streams[events] = true
	quiet, late := m.quiet, m.late
	m.mu.Unlock()
	time.Sleep(late)
	defer func() {
		m.mu.Lock()
		delete(m.streams, events)
		m.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	if !quiet {
		fmt.Fprint(w, "event: event_stream_attached\r\ndata: {\"eventType\":\"event_stream_attached\"}\r\n\r\n")
	}
	beat := time.NewTicker(10 * time.Second)
	defer beat.Stop()
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			if !m.isSilent() {
				fmt.Fprint(w, "\r\n")
			}
		case e, ok := <-events:
			if !ok {
				return
			}
			if !m.isSilent() {
				fmt.Fprint(w, e)
			}
		}
	}
}

func (m *script) isSilent() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.silent
}

func (m *script) silence(is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = is
}

// event sends an event about an app to whoever listens.
func (m *script) event(kind, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.streams {
		s <- fmt.Sprintf("event: %s\r\ndata: {\"eventType\":%q,\"appId\":%q}\r\n\r\n", kind, kind, id)
	}
}

// raw sends an event with data.
func (m *script) raw(data string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.streams {
		s <- "data: " + data + "\n\n"
	}
}

// hangUp ends all streams.
func (m *script) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.streams {
		close(s)
		delete(m.streams, s)
	}
}

func (m *script) put(id, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apps[id] = text
	if text == "" {
		delete(m.apps, id)
	}
}

func (m *script) answer(instead http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.instead = instead
}

// times returns how often a path was asked for since it was asked last.
func (m *script) times(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.asked[path]
	m.asked[path] = 0
	return n
}

// watching is a source that runs in a bubble.
type watching struct {
	*marathon.Source
	end func()

	mu     sync.Mutex // guards the fields below
	state  map[string]discovery.Update
	recent []discovery.Update // told since they were asked for
	listed int
	log    bytes.Buffer
}

// Write takes what is logged.
func (w *watching) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(text)
}

// watch runs a source until the test or end ends it.
func watch(t *testing.T, o marathon.Options) *watching {
	t.Helper()
	w := &watching{state: make(map[string]discovery.Update)}
	o.Log = slog.New(slog.NewTextHandler(w, nil))
	if o.URLs == nil {
		o.URLs = []string{"http://m"}
	}
	s, err := marathon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.Source = s
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, w.take) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the source ended with %v", err)
		}
	})
	t.Cleanup(w.end)
	synctest.Wait()
	return w
}

func (w *watching) take(b discovery.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.Listed {
		w.listed++
	}
	for _, u := range b.Updates {
		w.recent = append(w.recent, u)
		w.state[u.Key] = u
		if u.Gone {
			delete(w.state, u.Key)
		}
	}
}

// after lets a time pass and returns the keys of what was told in it, each with
// what was told, sorted.
func (w *watching) after(wait time.Duration) string {
	time.Sleep(wait)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []string
	for _, u := range w.recent {
		text := []string{u.Key}
		for _, i := range u.Instances {
			text = append(text, i.AddrPort().String())
		}
		for _, f := range u.Faults {
			text = append(text, f.Code)
		}
		for word, is := range map[string]bool{"gone": u.Gone, "held": u.Held != nil, "urgent": u.Urgent} {
			if is {
				text = append(text, word)
			}
		}
		slices.Sort(text[1:]) // numbers come first
		keys = append(keys, strings.Join(text, " "))
	}
	w.recent = nil
	return strings.Join(keys, ", ")
}

// knows returns the keys of what is known by what was told.
func (w *watching) knows() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(w.state)), " ")
}

// logged returns what was logged since it was asked for.
func (w *watching) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.log.String()
	w.log.Reset()
	return text
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// fare returns how the watching fares.
func (w *watching) fare() string {
	f := w.Watches()[0]
	text := fmt.Sprintf("%d known, %d held", f.Objects, f.Held)
	if !f.Stale.IsZero() {
		text += fmt.Sprintf(", stale for %s", time.Since(f.Stale))
	}
	if f.Err != nil {
		text += ", " + f.Err.Error()
	}
	return text
}

func TestAnEmptyListIsHeldBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		then func(t *testing.T, m *script, w *watching)
	}{
		{"and believed after a minute", func(t *testing.T, _ *script, w *watching) {
			t.Helper()
			expect(t, "before", w.after(59*time.Second), "")
			expect(t, "after", w.after(2*time.Second), "apps/a gone urgent, apps/b gone urgent")
		}},
		{"and believed when somebody says so", func(t *testing.T, _ *script, w *watching) {
			t.Helper()
			if n := w.Confirm(); n != 2 {
				t.Errorf("%d absences were confirmed, want 2", n)
			}
			expect(t, "then", w.after(0), "apps/a gone urgent, apps/b gone urgent")
		}},
		{"and not believed once there are apps again", func(t *testing.T, m *script, w *watching) {
			t.Helper()
			m.put("/a", running("/a", "10.0.0.1"))
			m.event("api_post_event", "/a")
			expect(t, "then", w.after(time.Minute), "apps/a 10.0.0.1:31002, apps/b gone urgent")
		}},
		{"and not believed while nobody answers", func(t *testing.T, m *script, w *watching) {
			t.Helper()
			m.answer(says(http.StatusServiceUnavailable, "text/html", "<html>"))
			m.event("api_post_event", "/a")
			expect(t, "then", w.after(time.Hour), "")
			m.answer(nil)
			expect(t, "once it is empty still", w.after(10*time.Minute), "apps/a gone urgent, apps/b gone urgent")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n network
				m := newScript("/a", "/b")
				n.serve(t, "m:80", m)
				w := watch(t, marathon.Options{Dial: n.dial})
				expect(t, "at first", w.after(20*time.Second), "apps/a 10.0.0.1:31002, apps/b 10.0.0.1:31002")
				m.put("/a", "")
				m.put("/b", "")
				m.hangUp()
				expect(t, "with an empty list", w.after(0), "apps/a 10.0.0.1:31002 held, apps/b 10.0.0.1:31002 held")
				expect(t, "it fares", w.fare(), "2 known, 2 held")
				tt.then(t, m, w)
			})
		})
	}
}

func TestWhatIsMissingFromAListThatHasOthersIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(20 * time.Second)
		m.put("/a", "")
		m.hangUp()
		expect(t, "then", w.after(0), "apps/a gone urgent")
	})
}

func TestFewAppsAreAskedForOneByOne(t *testing.T) {
	t.Parallel()
	const all = "/v2/apps"
	for _, tt := range []struct {
		name    string
		happens func(m *script)
		told    string
		asked   map[string]int
	}{
		{"one app has changed", func(m *script) {
			m.put("/a", running("/a", "10.0.0.2"))
			m.event("status_update_event", "/a")
		}, "apps/a 10.0.0.2:31002 urgent", map[string]int{all: 0, all + "/a": 1, all + "/b": 0}},
		{"many events are one", func(m *script) {
			m.put("/a", running("/a", "10.0.0.2"))
			for range 100 {
				m.event("status_update_event", "/a")
			}
		}, "apps/a 10.0.0.2:31002 urgent", map[string]int{all: 0, all + "/a": 1}},
		{"an app is new", func(m *script) {
			m.put("/c", running("/c", "10.0.0.2"))
			m.event("api_post_event", "/c")
		}, "apps/c 10.0.0.2:31002", map[string]int{all: 0, all + "/c": 1}},
		{"an app is no more", func(m *script) {
			m.put("/a", "")
			m.event("app_terminated_event", "/a")
		}, "apps/a gone urgent", map[string]int{all: 0, all + "/a": 1}},
		{"nothing has changed", func(m *script) {
			m.event("status_update_event", "/a")
		}, "", map[string]int{all: 0, all + "/a": 1}},
		{"something that is no app is asked for once", func(m *script) {
			m.event("instance_changed_event", "/pod")
			time.Sleep(time.Second)
			m.event("instance_changed_event", "/pod")
		}, "", map[string]int{all: 0, all + "/pod": 1}},
		{"unless it may have become one", func(m *script) {
			m.event("instance_changed_event", "/pod")
			time.Sleep(time.Second)
			m.event("api_post_event", "/pod")
		}, "", map[string]int{all: 0, all + "/pod": 2}},
		{"many have changed", func(m *script) {
			for i := range 20 {
				m.event("status_update_event", fmt.Sprintf("/x%d", i))
			}
		}, "", map[string]int{all: 1, all + "/x0": 0}},
		{"nobody knows what has changed", func(m *script) {
			m.event("status_update_event", "")
		}, "", map[string]int{all: 1}},
		{"one cannot be had alone", func(m *script) {
			m.put("/a", "<html>")
			m.event("status_update_event", "/a")
			time.Sleep(150 * time.Millisecond)
			m.put("/a", running("/a", "10.0.0.2"))
		}, "apps/a 10.0.0.2:31002 urgent", map[string]int{all + "/a": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n network
				m := newScript("/a", "/b")
				n.serve(t, "m:80", m)
				w := watch(t, marathon.Options{Dial: n.dial})
				w.after(2 * time.Second)
				m.times(all)
				tt.happens(m)
				expect(t, "told", w.after(20*time.Second), tt.told)
				for path, want := range tt.asked {
					if got := m.times(path); got != want {
						t.Errorf("%s was asked for %d times, want %d", path, got, want)
					}
				}
			})
		})
	}
}

func TestEverythingIsAskedForOnceNoEventIsMissed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		quiet bool
		after time.Duration
	}{
		{"as Marathon tells", false, 0},
		{"or a second later, where it does not", true, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n network
				m := newScript("/a")
				m.quiet = tt.quiet
				n.serve(t, "m:80", m)
				w := watch(t, marathon.Options{Dial: n.dial})
				if tt.after > 0 {
					expect(t, "before", w.after(tt.after-time.Millisecond), "")
				}
				expect(t, "then", w.after(time.Millisecond), "apps/a 10.0.0.1:31002")
				w.after(time.Minute)
				if got := m.times("/v2/apps"); got != 1 {
					t.Errorf("asked %d times, want once", got)
				}
			})
		})
	}
}

// TestWhatChangesWhileAStreamBeginsIsAskedFor, also if Marathon was asked for
// everything before, answers after, and does not say that the stream begins.
func TestWhatChangesWhileAStreamBeginsIsAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		m.quiet, m.late = true, 1500*time.Millisecond
		m.answer(func(w http.ResponseWriter, r *http.Request) {
			text := `{"apps":[` + running("/a", "10.0.0.1") + "]}"
			m.answer(nil)
			m.put("/a", running("/a", "10.0.0.2"))
			m.put("/b", "")
			time.Sleep(2 * time.Second)
			says(http.StatusOK, "application/json", text)(w, r)
		})
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		expect(t, "at first", w.after(10*time.Second), "apps/a 10.0.0.1:31002, apps/a 10.0.0.2:31002 urgent")
		if got := m.times("/v2/apps"); got != 2 {
			t.Errorf("asked %d times for everything, want twice", got)
		}
	})
}

func TestEventsThatDoNotEndAreNotWaitedForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Second)
		m.put("/a", running("/a", "10.0.0.2"))
		for range 39 {
			m.event("status_update_event", "/a")
			expect(t, "while events come", w.after(50*time.Millisecond), "")
		}
		m.event("status_update_event", "/a")
		expect(t, "after two seconds", w.after(50*time.Millisecond), "apps/a 10.0.0.2:31002 urgent")
	})
}

func TestADeploymentSaysWhichAppsToAskFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		asked := func(what, data string, one, all int) {
			t.Helper()
			m.raw(data)
			w.after(10 * time.Second)
			if gotOne, gotAll := m.times("/v2/apps/a"), m.times("/v2/apps"); gotOne != one || gotAll != all {
				t.Errorf("%s: asked %d times for the app and %d for all, want %d and %d", what, gotOne, gotAll, one, all)
			}
		}
		asked("at the start, and for an event that says nothing", `{"eventType":"framework_message_event"}`, 0, 1)
		asked("a step", `{"eventType":"deployment_info","plan":{"id":"p"},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/a"}]}}`, 1, 0)
		asked("its end", `{"eventType":"deployment_success","id":"p"}`, 1, 0)
		asked("the end of one that nothing was said of", `{"eventType":"deployment_success","id":"p"}`, 0, 1)
		asked("one of pods", `{"eventType":"deployment_info","plan":{"id":"q"},"currentStep":{"actions":[{"action":"ScalePod","pod":"/p"}]}}`, 0, 0)
		asked("and its end", `{"eventType":"deployment_failed","id":"q"}`, 0, 0)
		var many []string
		for i := range 20 {
			many = append(many, fmt.Sprintf(`{"app":"/x%d"}`, i))
		}
		asked("one of many apps", `{"eventType":"deployment_info","plan":{"id":"r"},"currentStep":{"actions":[`+strings.Join(many, ",")+`]}}`, 0, 1)
	})
}

func TestEverythingIsAskedForNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Minute)
		m.times("/v2/apps")
		m.put("/a", running("/a", "10.0.0.2"))
		expect(t, "though there was no event", w.after(5*time.Minute), "apps/a 10.0.0.2:31002 urgent")
		w.after(time.Hour)
		if got := m.times("/v2/apps"); got < 13 || got > 15 {
			t.Errorf("asked %d times in 65 minutes, want each 5 minutes or a little sooner", got)
		}
		expect(t, "it fares", w.fare(), "2 known, 0 held")
	})
}

func TestWithoutEventsMarathonIsAskedOftener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		m.noEvents = true
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		expect(t, "at first", w.after(2*time.Second), "apps/a 10.0.0.1:31002, apps/b 10.0.0.1:31002")
		expect(t, "it fares", w.fare(), "2 known, 0 held, http://m: status 403: Marathon does not let these credentials see this")
		w.after(10 * time.Minute)
		m.put("/a", running("/a", "10.0.0.2"))
		expect(t, "after a change", w.after(30*time.Second), "apps/a 10.0.0.2:31002 urgent")
		if log := w.logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "the events of Marathon cannot be had") {
			t.Errorf("logged %q, want one line about events", log)
		}
		m.mu.Lock()
		m.noEvents = false
		m.mu.Unlock()
		w.after(10 * time.Minute)
		expect(t, "once there are events, it fares", w.fare(), "2 known, 0 held")
		if w.Traffic().Connects != 1 {
			t.Errorf("%+v, want one stream", w.Traffic())
		}
	})
}

func TestNoAnswerTakesAnythingAway(t *testing.T) {
	t.Parallel()
	json := func(text string) http.HandlerFunc { return says(http.StatusOK, "application/json", text) }
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		why    string
	}{
		{"a log-in page", says(http.StatusOK, "text/html", "<html>"), "an HTML page"},
		{"a page that says that it is JSON", json("<html><body>oops</body></html>"), ""},
		{"half an answer", json(`{"apps":[` + running("/a", "10.0.0.1") + `,{"id":"/b"`), ""},
		{"no apps at all", json(`{}`), ""},
		{"apps that are none", json(`{"apps":{}}`), ""},
		{"nothing", json(``), ""},
		{"null", json(`null`), ""},
		{"an answer without an end", json(`{"apps":[` + strings.Repeat(" ", 128<<10)), ""},
		{"401", says(http.StatusUnauthorized, "text/html", "<html>"), "status 401"},
		{"403", says(http.StatusForbidden, "text/html", "<html>"), "status 403"},
		{"404", says(http.StatusNotFound, "text/html", "<html>"), "status 404"},
		{"503", says(http.StatusServiceUnavailable, "text/html", "<html>"), "status 503"},
		{"a redirect to a stranger", leads("http://thief"), "which is not followed"},
		{"a redirect to itself", leads("http://m"), "in a circle"},
		{"silence", hangs, "timeout awaiting"},
		{"silence in the middle", stops, "nothing more was heard"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n network
				m := newScript("/a", "/b")
				n.serve(t, "m:80", m)
				w := watch(t, marathon.Options{Dial: n.dial, MaxAnswer: 64 << 10})
				w.after(time.Minute)
				m.answer(tt.answer)
				m.event("status_update_event", "")
				expect(t, "then", w.after(time.Hour), "")
				fare := w.fare()
				if !strings.Contains(fare, "stale for") || !strings.Contains(fare, tt.why) {
					t.Errorf("it fares %q, want that it is stale because of %q", fare, tt.why)
				}
				if log := w.logged(); strings.Count(log, "\n") != 1 {
					t.Errorf("logged %q, want one line", log)
				}
				if got := m.times("/v2/apps"); got > 200 { // each of few times with all redirects
					t.Errorf("asked %d times in an hour", got)
				}
				m.answer(nil)
				m.put("/a", running("/a", "10.0.0.2"))
				expect(t, "once it answers again", w.after(6*time.Minute), "apps/a 10.0.0.2:31002 urgent")
				expect(t, "it fares", w.fare(), "2 known, 0 held")
				if log := w.logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "answers again") {
					t.Errorf("logged %q, want that it answers again", log)
				}
			})
		})
	}
}

func TestAMarathonThatIsGoneForLongIsNotAskedOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		stop := n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Minute)
		stop()
		expect(t, "then", w.after(10*time.Hour), "")
		n.mu.Lock()
		if n.tries < 200 || n.tries > 1000 {
			t.Errorf("tried %d times in ten hours, want about each 5 minutes for each of two questions", n.tries)
		}
		n.mu.Unlock()
		m.put("/a", "")
		n.serve(t, "m:80", m)
		expect(t, "once it is back", w.after(6*time.Minute), "apps/a gone urgent")
	})
}

func TestAnAppThatCannotBeReadStaysAsItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Minute)
		m.put("/a", `{"id":"/a","tasks":7}`)
		m.event("status_update_event", "/a")
		expect(t, "then", w.after(time.Minute), "apps/a 10.0.0.1:31002 InvalidApp")
		m.put("/a", running("/a", "10.0.0.2"))
		m.event("status_update_event", "/a")
		expect(t, "once it can be read", w.after(time.Minute), "apps/a 10.0.0.2:31002 urgent")
	})
}

// TestAnAppThatCannotBeReadAfterAStartIsAsItWasBefore, whose last good form is
// the one that was remembered.
func TestAnAppThatCannotBeReadAfterAStartIsAsItWasBefore(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marathon.json")
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, File: file})
		w.after(time.Minute)
		w.end()
		m.put("/a", `{"id":"/a","tasks":7}`)
		w = watch(t, marathon.Options{Dial: n.dial, File: file})
		expect(t, "at first", w.after(time.Minute), "apps/a 10.0.0.1:31002 InvalidApp, apps/b 10.0.0.1:31002")
		w.end()
		w = watch(t, marathon.Options{Dial: n.dial, File: file})
		expect(t, "after another start", w.after(time.Minute), "apps/a 10.0.0.1:31002 InvalidApp, apps/b 10.0.0.1:31002")
		m.put("/a", running("/a", "10.0.0.2"))
		m.event("status_update_event", "/a")
		expect(t, "once it can be read", w.after(time.Minute), "apps/a 10.0.0.2:31002 urgent")
	})
}

// TestWhatHealthChecksSaidIsKnownAfterAStart, also of an app that was asked for
// by itself before everything was.
func TestWhatHealthChecksSaidIsKnownAfterAStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marathon.json")
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/b")
		checked := strings.Replace(running("/a", "10.0.0.1"), `"instances"`, `"healthChecks":[{"protocol":"HTTP"}],"instances"`, 1)
		m.put("/a", strings.Replace(checked, `"state"`, `"healthCheckResults":[{"alive":true}],"state"`, 1))
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, File: file})
		w.after(time.Minute)
		w.end()
		m.mu.Lock()
		m.quiet = true
		m.mu.Unlock()
		m.put("/a", checked)
		w = watch(t, marathon.Options{Dial: n.dial, File: file})
		m.times("/v2/apps/a")
		m.event("status_update_event", "/a")
		w.after(time.Minute)
		if got := m.times("/v2/apps/a"); got != 1 {
			t.Errorf("the app was asked for %d times by itself, want once", got)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := w.state["apps/a"].Instances; len(got) != 1 || !got[0].Ready {
			t.Errorf("told are %+v, want one that is ready", got)
		}
	})
}

// TestAMarathonThatWasNeverHeardIsStale, also while the first question to it
// still waits for its answer: nobody knows then what there is not.
func TestAMarathonThatWasNeverHeardIsStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		m.noEvents = true
		m.answer(hangs)
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		expect(t, "within the patience", w.after(9*time.Second), "")
		w.after(2 * time.Second)
		if w.listed != 1 || !strings.Contains(w.fare(), "stale for 1s") {
			t.Errorf("after the patience the first listing ended %d times, and it fares %q, want that it is stale since then", w.listed, w.fare())
		}
		m.answer(nil)
		w.after(10 * time.Minute)
		if fare := w.fare(); strings.Contains(fare, "stale") {
			t.Errorf("once it answers, it fares %q", fare)
		}
	})
}

// TestAWarningStays when an event has the app that it is about asked for by
// itself.
func TestAWarningStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/b")
		odd := func(host string) string {
			return strings.Replace(running("/a", host), `"instances"`, `"labels":{"sluice:own":"1"},"instances"`, 1)
		}
		m.put("/a", odd("10.0.0.1"))
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		expect(t, "at first", w.after(time.Minute), "apps/a 10.0.0.1:31002 InvalidApp, apps/b 10.0.0.1:31002")
		m.event("status_update_event", "/a")
		expect(t, "after an event", w.after(time.Second), "")
		m.put("/a", odd("10.0.0.2"))
		m.event("status_update_event", "/a")
		expect(t, "after a change", w.after(time.Second), "apps/a 10.0.0.2:31002 InvalidApp urgent")
		m.put("/a", running("/a", "10.0.0.2"))
		m.event("api_post_event", "/a")
		expect(t, "once nothing is wrong", w.after(time.Second), "apps/a 10.0.0.2:31002")
	})
}

// TestAnAppWithoutAnIDIsTold, and takes none away that it may be.
func TestAnAppWithoutAnIDIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Minute)
		m.put("/a", `{"id":null}`)
		m.hangUp()
		expect(t, "then", w.after(time.Second), "apps InvalidApp, apps/a 10.0.0.1:31002 held")
		m.put("/a", running("/a", "10.0.0.1"))
		m.hangUp()
		expect(t, "once it has one again", w.after(time.Minute), "apps gone, apps/a 10.0.0.1:31002")
		m.put("/a", `{"id":null}`)
		m.hangUp()
		expect(t, "if it never has", w.after(2*time.Minute), "apps InvalidApp, apps/a 10.0.0.1:31002 held, apps/a gone urgent")
	})
}

func TestAStartWhileMarathonIsDown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		back func(m *script)
		want string
	}{
		{"it comes back as it was", func(*script) {}, ""},
		{"it comes back with less", func(m *script) { m.put("/a", "") }, "apps/a gone urgent"},
		{"it comes back with more", func(m *script) { m.put("/c", running("/c", "10.0.0.3")) }, "apps/c 10.0.0.3:31002"},
		{"it comes back empty", func(m *script) { m.put("/a", ""); m.put("/b", "") }, "apps/a 10.0.0.1:31002 held, apps/b 10.0.0.1:31002 held"},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after the patience: %t", tt.name, late), func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "marathon.json")
				synctest.Test(t, func(t *testing.T) {
					var n network
					m := newScript("/a", "/b")
					stop := n.serve(t, "m:80", m)
					w := watch(t, marathon.Options{Dial: n.dial, File: file})
					w.after(time.Minute)
					w.end()
					stop()
					w = watch(t, marathon.Options{Dial: n.dial, File: file})
					expect(t, "at first", w.after(9*time.Second), "")
					want := tt.want
					if late {
						expect(t, "after the patience", w.after(2*time.Second), "apps/a 10.0.0.1:31002, apps/b 10.0.0.1:31002")
						if w.listed != 1 {
							t.Errorf("the first listing ended %d times", w.listed)
						}
						if !strings.Contains(w.fare(), "stale for") {
							t.Errorf("it fares %q, want that it is stale", w.fare())
						}
					}
					tt.back(m)
					n.serve(t, "m:80", m)
					got := w.after(59 * time.Second)
					if late {
						expect(t, "once it is back", got, want)
					}
					held := strings.Contains(want, "held")
					known := map[bool]string{true: "apps/a apps/b", false: strings.Join(m.known(), " ")}[held]
					expect(t, "known", w.knows(), known)
				})
			})
		}
	}
}

// known returns the keys of the apps.
func (m *script) known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		keys = append(keys, "apps"+id)
	}
	return keys
}

func TestAFileThatCannotBeReadIsToldAndReplaced(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no line": "x", "no JSON": "x\n{}", "another format": "{\"Format\":99}\n{\"apps\":[]}", "half": "{\"Format\":1}\n{\"apps\":[{", "an app that is none": "{\"Format\":1}\n{\"apps\":[{\"id\":7}]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := secretFile(t, text)
			synctest.Test(t, func(t *testing.T) {
				var n network
				n.serve(t, "m:80", newScript("/a", "/b"))
				w := watch(t, marathon.Options{Dial: n.dial, File: file})
				w.after(time.Minute)
				if log := w.logged(); !strings.Contains(log, "what Marathon said before the start is not known") {
					t.Errorf("logged %q", log)
				}
				w.end()
				w = watch(t, marathon.Options{URLs: []string{"http://down"}, Dial: n.dial, File: file})
				expect(t, "with the file that was written", w.after(time.Minute), "apps/a 10.0.0.1:31002, apps/b 10.0.0.1:31002")
			})
		})
	}
}

func TestHostsThatHaveNamesAreLookedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		var mu sync.Mutex
		addresses := map[string][]netip.Addr{"agent-1": {netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("10.0.1.1")}}
		lookups := 0
		m := newScript()
		m.put("/a", running("/a", "agent-1"))
		m.put("/b", running("/b", "agent-2"))
		m.put("/c", running("/c", "10.0.0.3"))
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			lookups++
			if len(addresses[host]) == 0 {
				return nil, errors.New("no such host")
			}
			return addresses[host], nil
		}})
		set := func(host string, to ...netip.Addr) {
			mu.Lock()
			defer mu.Unlock()
			addresses[host] = to
		}
		expect(t, "at first", w.after(time.Second), "apps/a 10.0.1.1:31002, apps/b InvalidApp, apps/c 10.0.0.3:31002")
		set("agent-2", netip.MustParseAddr("10.0.2.1"))
		expect(t, "once there is an address", w.after(20*time.Second), "apps/b 10.0.2.1:31002")
		set("agent-1")
		set("agent-2", netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("10.0.2.1"))
		expect(t, "while there is none, and the one that counts is still there", w.after(3*time.Minute), "")
		set("agent-1", netip.MustParseAddr("10.0.1.9"))
		expect(t, "after a move", w.after(2*time.Minute), "apps/a 10.0.1.9:31002 urgent")
		m.put("/a", "")
		m.put("/b", "")
		w.after(6 * time.Minute)
		mu.Lock()
		lookups = 0
		mu.Unlock()
		w.after(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if lookups > 0 {
			t.Errorf("%d look-ups of hosts that nobody uses", lookups)
		}
	})
}

func TestALookupThatHangsHoldsUpNoOtherHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a")
		m.put("/b", running("/b", "slow"))
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		expect(t, "after the look-up's time", w.after(6*time.Second), "apps/a 10.0.0.1:31002, apps/b InvalidApp")
		m.put("/a", running("/a", "10.0.0.2"))
		m.event("status_update_event", "/a")
		expect(t, "later", w.after(time.Second), "apps/a 10.0.0.2:31002 urgent")
	})
}

func TestAStreamThatFallsSilentIsBegunAnewAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(30 * time.Second) // its last sign of life
		m.silence(true)
		m.put("/a", running("/a", "10.0.0.2"))
		m.event("status_update_event", "/a")
		expect(t, "for a while", w.after(59*time.Second), "")
		m.silence(false)
		expect(t, "then", w.after(time.Second), "apps/a 10.0.0.2:31002 urgent")
		if got := w.Traffic(); got.Connects != 2 || got.Snapshots != 2 || got.Fetches != 0 || got.Events < 2 {
			t.Errorf("%+v, want two streams and as many snapshots", got)
		}
	})
}

func TestAttemptsWaitARandomTimeBelowABoundThatGrows(t *testing.T) {
	t.Parallel()
	const attempts = 40
	longest := make([]time.Duration, attempts)
	for range 500 {
		bound := 3 * time.Second
		for i, wait := range marathon.Waits(attempts) {
			if wait < bound/8 || wait >= bound {
				t.Fatalf("attempt %d waits %s, want a time below %s, but not much below", i, wait, bound)
			}
			longest[i] = max(longest[i], wait)
			bound = min(bound*3/2, 5*time.Minute)
		}
	}
	if longest[0] > 3*time.Second || longest[attempts-1] < 4*time.Minute {
		t.Errorf("the longest waits are %s at first and %s later", longest[0], longest[attempts-1])
	}
}

func TestADeploymentWithAnEndlessNameIsNotRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Second)
		m.times("/v2/apps")
		m.raw(fmt.Sprintf(`{"eventType":"deployment_info","plan":{"id":%q},"currentStep":{"actions":[{"app":"/a"}]}}`, strings.Repeat("x", 1000)))
		w.after(time.Second)
		if got := m.times("/v2/apps"); got != 1 {
			t.Errorf("asked %d times for everything, want once", got)
		}
	})
}

// withChecks is an app with a health check and one task on the host agent, of
// which the results are what is said.
func withChecks(id, results string) string {
	text := strings.Replace(running(id, "agent"), `"instances"`, `"healthChecks":[{"protocol":"MESOS_HTTP"}],"instances"`, 1)
	return strings.Replace(text, `"state"`, `"healthCheckResults":[`+results+`],"state"`, 1)
}

// ready returns how many instances of an app take traffic.
func (w *watching) ready(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return ready(w.state, key)
}

func TestHealthAndAddressesAreRemembered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		back bool // Marathon is there at the second start
	}{
		{"while Marathon is down", false},
		{"where it has forgotten what is healthy", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "marathon.json")
			synctest.Test(t, func(t *testing.T) {
				var n network
				m := newScript()
				m.put("/a", withChecks("/a", `{"alive":true}`))
				m.put("/b", withChecks("/b", `{"alive":false}`))
				m.put("/c", withChecks("/c", ``))
				stop := n.serve(t, "m:80", m)
				o := marathon.Options{Dial: n.dial, File: file, Lookup: func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
				}}
				w := watch(t, o)
				w.after(time.Minute)
				m.put("/a", withChecks("/a", ``)) // another master leads
				m.event("status_update_event", "/a")
				w.after(time.Minute)
				if w.ready("apps/a") != 1 || w.ready("apps/b")+w.ready("apps/c") != 0 {
					t.Errorf("%d, %d and %d are ready", w.ready("apps/a"), w.ready("apps/b"), w.ready("apps/c"))
				}
				w.end()
				if !tt.back {
					stop()
					o.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no resolver") }
				}
				w = watch(t, o)
				expect(t, "after the start", w.after(time.Minute), "apps/a 10.0.0.7:31002, apps/b 10.0.0.7:31002, apps/c 10.0.0.7:31002")
				if w.ready("apps/a") != 1 || w.ready("apps/b")+w.ready("apps/c") != 0 {
					t.Errorf("after the start %d, %d and %d are ready", w.ready("apps/a"), w.ready("apps/b"), w.ready("apps/c"))
				}
			})
		})
	}
}

func TestATaskThatIsReadyByItsAgeIsToldThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/b")
		text := strings.Replace(running("/a", "10.0.0.1"), `"instances"`, `"readinessChecks":[{"name":"r"}],"deployments":[{"id":"d"}],"instances"`, 1)
		m.put("/a", strings.Replace(text, `"state"`, `"startedAt":"`+time.Now().UTC().Format(time.RFC3339Nano)+`","state"`, 1))
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Second)
		if got := w.ready("apps/a"); got != 0 {
			t.Errorf("at first %d are ready", got)
		}
		m.times("/v2/apps")
		w.after(time.Minute)
		if got := w.ready("apps/a"); got != 1 {
			t.Errorf("a minute later %d are ready, want 1", got)
		}
		if m.times("/v2/apps")+m.times("/v2/apps/a") != 0 {
			t.Error("Marathon was asked")
		}
	})
}

func TestTheLastAppDoesNotGoByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Second)
		m.put("/a", "")
		m.event("app_terminated_event", "/a")
		expect(t, "at first", w.after(time.Second), "apps/a 10.0.0.1:31002 held")
		expect(t, "a minute later", w.after(time.Minute), "apps/a gone urgent")
	})
}

func TestAnAnswerAboutAnotherAppIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a", "/b")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Second)
		m.answer(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/apps/a" {
				says(http.StatusOK, "application/json", `{"app":`+running("/b", "10.6.6.6")+`}`)(w, r)
				return
			}
			says(http.StatusOK, "application/json", `{"apps":[`+running("/a", "10.0.0.2")+`,`+running("/b", "10.0.0.1")+`]}`)(w, r)
		})
		m.event("status_update_event", "/a")
		expect(t, "then", w.after(time.Minute), "apps/a 10.0.0.2:31002 urgent")
	})
}

func TestParseKeepLost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]marathon.KeepLost{"": marathon.LostLast, "last": marathon.LostLast, "never": marathon.LostNever, "always": marathon.LostAlways} {
		if got, err := marathon.ParseKeepLost(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := marathon.ParseKeepLost("sometimes"); err == nil || !strings.Contains(err.Error(), "sometimes") {
		t.Errorf("sometimes is %v, %v", got, err)
	}
}

// TestAHostIsFoundBesideMany of which nothing is heard, as where a server of
// names is gone: it is told before all of them were waited for.
func TestAHostIsFoundBesideMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript()
		m.put("/a", running("/a", "z-good"))
		for i := range 400 {
			id := fmt.Sprintf("/z%d", i)
			m.put(id, running(id, fmt.Sprintf("dead-%d", i)))
		}
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			if host == "z-good" && ctx.Err() == nil {
				return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		w.after(90 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := w.state["apps/a"].Instances; len(got) != 1 {
			t.Errorf("after 90 s there are %d instances, want 1", len(got))
		}
	})
}

func TestWhatStandsInAGroupIsOfItsEnvironment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.serve(t, "m:80", newScript("/a", "/shop/a", "/shop/eu/a", "/shopping/a"))
		w := watch(t, marathon.Options{Dial: n.dial, Environments: map[string]string{"/shop": "org/shop", "/shop/eu": "org/eu"}})
		w.after(time.Second)
		for key, want := range map[string]string{"apps/a": "", "apps/shop/a": "org/shop", "apps/shop/eu/a": "org/eu", "apps/shopping/a": ""} {
			if got := w.state[key]; got.Namespace != want || got.Origin != marathon.Origin {
				t.Errorf("%s is of %q by %q, want %q", key, got.Namespace, got.Origin, want)
			}
		}
	})
}

func TestLabelsMakeGateways(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a")
		withLabels := strings.Replace(running("/shop/web", "10.0.0.1"), `"instances"`, `"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"shop.example.com"},"instances"`, 1)
		m.put("/shop/web", withLabels)
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, Groups: []string{"external"}, Environments: map[string]string{"/shop": "org/shop"}})
		w.after(time.Second)
		gateways := func() (all int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for key, u := range w.state {
				if strings.HasPrefix(key, "labels/") {
					all += len(u.Documents)
					if u.Namespace != "org/shop" || u.Origin != marathon.Origin {
						t.Errorf("%s is of %q by %q", key, u.Namespace, u.Origin)
					}
				}
			}
			return all
		}
		if gateways() == 0 {
			t.Fatalf("no gateway among %s", w.knows())
		}
		m.put("/shop/web", running("/shop/web", "10.0.0.1"))
		m.event("api_post_event", "/shop/web")
		w.after(time.Second)
		if gateways() != 0 {
			t.Errorf("without labels there still are gateways among %s", w.knows())
		}
	})
}

func TestNothingOfCredentialsIsLogged(t *testing.T) {
	t.Parallel()
	token := secretFile(t, "s3cret")
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript("/a")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial, Credentials: marathon.Credentials{TokenFile: token}})
		w.after(time.Minute)
		m.answer(says(http.StatusUnauthorized, "application/json", `{"message":"who are you"}`))
		m.hangUp()
		w.after(time.Hour)
		if err := os.Remove(token); err != nil {
			t.Fatal(err)
		}
		m.hangUp()
		w.after(time.Hour)
		if log := w.logged() + w.fare(); !strings.Contains(log, "refuses the credentials") || strings.Contains(log, "s3cret") {
			t.Errorf("logged %q", log)
		}
	})
}

// FuzzRemembered checks that any text of the file is read or refused.
func FuzzRemembered(f *testing.F) {
	f.Add("{\"Format\":1,\"Hosts\":{\"agent\":\"10.0.0.1\"}}\n{\"apps\":[" + running("/a", "agent") + "]}\n")
	f.Add("{\"Format\":1}\n{\"apps\":[]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		once, err := marathon.Rewrite(text)
		if err != nil {
			return
		}
		if !json.Valid([]byte(once[:strings.IndexByte(once, '\n')])) {
			t.Errorf("%q begins with no JSON", once)
		}
		twice, err := marathon.Rewrite(once)
		if err != nil || twice != once {
			t.Errorf("%q became %q, %v", once, twice, err)
		}
	})
}
