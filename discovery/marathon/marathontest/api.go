// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A body of a call is bounded in bytes and in time.
const (
	maxDefinition = 1 << 20
	bodyTimeout   = 30 * time.Second
)

// Handler returns what answers for one of the Marathons, for those who have a
// server of their own, or need none.
func (c *Cluster) Handler(marathon int) http.Handler { return c.handler(c.servers[marathon]) }

// handler answers what one of the Marathons is asked.
func (c *Cluster) handler(s *server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.enter() {
			page(w, http.StatusServiceUnavailable)
			return
		}
		defer c.calls.Done()
		path, ours := strings.CutPrefix(r.URL.Path, c.o.Prefix)
		if r.URL.Path == loginPath {
			path, ours = loginPath, true
		}
		noted := &statusWriter{ResponseWriter: w}
		done := c.record(Request{
			Instance: s.index, Method: r.Method, Path: path, Query: r.URL.RawQuery, Header: r.Header.Clone(),
		})
		noted.done = done
		w = noted
		if b := c.fault(path); b != nil {
			var goesOn bool
			if w, goesOn = b.strike(w, r); !goesOn {
				return
			}
		}
		switch {
		case !ours:
			page(w, http.StatusNotFound)
		case path == loginPath:
			c.login(w, r)
		case path == "/ping":
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "pong")
		case !c.admits(r):
			if c.o.Users != nil {
				w.Header().Set("WWW-Authenticate", `Basic realm="Mesosphere"`)
			}
			refuse(w, http.StatusUnauthorized, "Invalid username or password.")
		default:
			c.lead(w, r, s, path)
		}
	})
}

// enter counts a call, and reports whether Run still waits for it.
func (c *Cluster) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.calls.Add(1)
	}
	return !c.over
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	done func(int)
}

// WriteHeader notes the status and sends it.
func (w *statusWriter) WriteHeader(status int) {
	w.done(status)
	w.done = func(int) {}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (w *statusWriter) Write(b []byte) (int, error) {
	w.done(http.StatusOK)
	w.done = func(int) {}
	return w.ResponseWriter.Write(b)
}

// Unwrap returns what the answer is really written to.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// lead has the leader answer. As in life, all others hand calls on to it, but
// those for events they send there since Marathon 1.7.
func (c *Cluster) lead(w http.ResponseWriter, r *http.Request, s *server, path string) {
	leader := c.awaitLeader(r.Context())
	if leader < 0 {
		page(w, http.StatusBadGateway, "Could not determine the current leader")
		return
	}
	address := c.servers[leader].address
	if leader != s.index {
		switch {
		case r.Header.Get("X-Marathon-Via") != "":
			page(w, http.StatusBadGateway, "Detected proxying loop")
			return
		case path == "/v2/events" && c.release >= 7:
			http.Redirect(w, r, c.scheme()+address+c.o.Prefix+path+query(r), http.StatusFound) //nolint:gosec // to one of our own
			return
		}
		w.Header().Set("X-Marathon-Via", "1.1 "+s.address)
	}
	w.Header().Set("X-Marathon-Leader", c.scheme()+address)
	c.answer(w, r, path)
}

func query(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + r.URL.RawQuery
}

// awaitLeader returns who leads, for whom it waits as long as the options say;
// -1 if nobody does.
func (c *Cluster) awaitLeader(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, c.o.ElectionWait)
	defer cancel()
	leader := -1
	_ = c.await(ctx, func() bool { // it says so by the leader
		leader = c.leader
		return leader >= 0
	})
	return leader
}

// answer answers a call as the leader does.
func (c *Cluster) answer(w http.ResponseWriter, r *http.Request, path string) {
	if path == "/v2/events" {
		if !accepts(r, "text/event-stream") {
			refuse(w, http.StatusNotAcceptable, "this is an event stream: accept text/event-stream")
			return
		}
		c.follow(w, r)
		return
	}
	if path == "/v2/tasks" && strings.Contains(r.Header.Get("Accept"), "text/plain") {
		c.listTasksAsText(w)
		return
	}
	if !accepts(r, "application/json") {
		refuse(w, http.StatusNotAcceptable, "answers are application/json: accept it")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		c.write(w, r, path)
		return
	}
	rest, isApp := strings.CutPrefix(path, "/v2/apps/")
	switch {
	case path == "/v2/apps":
		c.listApps(w, r)
	case isApp:
		c.getApp(w, r, "/"+strings.Trim(rest, "/"))
	case path == "/v2/tasks":
		c.listTasks(w, r)
	case path == "/v2/deployments":
		c.listDeployments(w)
	case path == "/v2/info":
		c.info(w)
	case path == "/v2/leader":
		writeJSON(w, http.StatusOK, map[string]string{"leader": c.leaderAddress()})
	default:
		page(w, http.StatusNotFound)
	}
}

// accepts reports whether a call says that it accepts a type. One that says
// nothing does not: callers are to say it.
func accepts(r *http.Request, kind string) bool {
	family, _, _ := strings.Cut(kind, "/")
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		name, _, _ := strings.Cut(part, ";")
		switch strings.TrimSpace(name) {
		case kind, "*/*", family + "/*":
			return true
		}
	}
	return false
}

func (c *Cluster) leaderAddress() string {
	if leader := c.Leader(); leader >= 0 {
		return c.servers[leader].address
	}
	return ""
}

func (c *Cluster) info(w http.ResponseWriter) {
	leader := c.leaderAddress()
	writeJSON(w, http.StatusOK, map[string]any{
		"name": "marathon", "version": c.o.Version, "frameworkId": "f0f0f0f0-0000-4000-8000-000000000000-0000",
		"leader": leader, "elected": leader != "",
	})
}

// embedded reads what a call asks to have embedded.
func embedded(r *http.Request) (with embeds) {
	for _, name := range r.URL.Query()["embed"] {
		for _, kind := range []string{"group.apps.", "apps.", "app."} {
			name = strings.TrimPrefix(name, kind)
		}
		switch name {
		case "tasks":
			with |= withTasks
		case "deployments":
			with |= withDeployments
		case "readiness":
			with |= withReadiness
		case "counts":
			with |= withCounts
		case "lastTaskFailure":
			with |= withFailure
		case "failures": // of old: both
			with |= withFailure | withTasks
		}
	}
	return with
}

func (c *Cluster) listApps(w http.ResponseWriter, r *http.Request) {
	chosen, err := parseLabels(r.URL.Query().Get("label"))
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	with := embedded(r)
	c.mu.Lock()
	var parts [][]byte
	size := 0
	for _, id := range slices.Sorted(maps.Keys(c.apps)) {
		if a := c.apps[id]; chosen.holds(a.definition.Labels) {
			parts = append(parts, c.serve(a, with))
			size += len(parts[len(parts)-1]) + 1
		}
	}
	c.mu.Unlock()
	body := make([]byte, 0, size+16)
	body = append(body, `{"apps":[`...)
	for i, part := range parts {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, part...)
	}
	writeText(w, http.StatusOK, append(body, "]}"...))
}

// getApp answers a call for one app, for its tasks or its versions.
func (c *Cluster) getApp(w http.ResponseWriter, r *http.Request, id string) {
	rest, ofTasks := strings.CutSuffix(id, "/tasks")
	with := embedded(r) | withTasks | withDeployments | withCounts
	c.mu.Lock()
	a := c.apps[id]
	if a == nil && ofTasks && c.apps[rest] != nil {
		var tasks []any
		for _, t := range c.apps[rest].tasks {
			tasks = append(tasks, c.showTask(t))
		}
		c.mu.Unlock()
		writeJSON(w, http.StatusOK, map[string]any{"tasks": tasks})
		return
	}
	if a == nil {
		c.mu.Unlock()
		refuse(w, http.StatusNotFound, "App '"+id+"' does not exist")
		return
	}
	text := c.serve(a, with)
	c.mu.Unlock()
	writeText(w, http.StatusOK, slices.Concat([]byte(`{"app":`), text, []byte("}")))
}

func (c *Cluster) listTasks(w http.ResponseWriter, r *http.Request) {
	only := r.URL.Query()["status"]
	tasks := []any{}
	c.mu.Lock()
	for _, t := range c.allTasks() {
		word := "running"
		if t.state == staging {
			word = "staging"
		}
		if only == nil || slices.Contains(only, word) {
			tasks = append(tasks, c.showTask(t))
		}
	}
	c.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"tasks": tasks})
}

// listTasksAsText lists where apps are reached: a line a port, its fields apart
// by tabs.
func (c *Cluster) listTasksAsText(w http.ResponseWriter) {
	var b strings.Builder
	c.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(c.apps)) {
		a := c.apps[id]
		for i, p := range a.ports {
			fmt.Fprintf(&b, "%s\t%d\t", strings.ReplaceAll(id[1:], "/", "_"), p.service)
			for _, t := range a.tasks {
				if t.state == running && i < len(t.ports) {
					fmt.Fprintf(&b, "%s:%d\t", t.agent.Host, t.ports[i])
				}
			}
			b.WriteByte('\n')
		}
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, b.String())
}

// allTasks returns the tasks of all apps, by app, and those of apps that are no
// more. The lock is held.
func (c *Cluster) allTasks() (tasks []*task) {
	for _, all := range []map[string]*app{c.apps, c.leaving} {
		for _, id := range slices.Sorted(maps.Keys(all)) {
			tasks = append(tasks, all[id].tasks...)
		}
	}
	return tasks
}

func (c *Cluster) listDeployments(w http.ResponseWriter) {
	all := []any{}
	c.mu.Lock()
	for _, d := range c.order {
		all = append(all, map[string]any{
			"id": d.id, "version": d.version, "affectedApps": []string{d.app.id}, "totalSteps": int(Over), "currentStep": int(d.phase) + 1,
			"currentActions": []any{map[string]any{"action": d.action, "app": d.app.id}},
		})
	}
	c.mu.Unlock()
	writeJSON(w, http.StatusOK, all)
}

// write answers a call that changes something.
func (c *Cluster) write(w http.ResponseWriter, r *http.Request, path string) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDefinition))
	if err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, err.Error())
		return
	}
	_ = control.SetReadDeadline(time.Time{})
	if len(body) > 0 && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		refuse(w, http.StatusUnsupportedMediaType, "send application/json: Content-Type says what is sent")
		return
	}
	how := change{force: r.URL.Query().Get("force") == "true", uri: path}
	rest, isApp := strings.CutPrefix(path, "/v2/apps/")
	rest = "/" + strings.Trim(rest, "/")
	restarted, restart := strings.CutSuffix(rest, "/restart")
	deployment, isDeployment := strings.CutPrefix(path, "/v2/deployments/")
	var d *Deployment
	switch {
	case r.Method == http.MethodPost && path == "/v2/apps":
		how.create = true
		d, err = c.put(body, how)
		if err == nil {
			c.created(w, d)
			return
		}
	case r.Method == http.MethodPost && isApp && restart:
		how.id, how.update, how.restart = restarted, true, true
		d, err = c.put([]byte("{}"), how)
	case isApp && (r.Method == http.MethodPut || r.Method == http.MethodPatch):
		how.id, how.update = rest, r.Method == http.MethodPatch
		d, err = c.put(body, how)
	case isApp && r.Method == http.MethodDelete:
		d, err = c.take(rest, how.force)
	case isDeployment && r.Method == http.MethodDelete:
		d, err = c.abort(deployment)
	default:
		refuse(w, http.StatusMethodNotAllowed, r.Method+" is not for "+path)
		return
	}
	if err != nil {
		c.refuseChange(w, rest, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"version": d.version, "deploymentId": d.id})
}

// created answers that an app was made, with the app.
func (c *Cluster) created(w http.ResponseWriter, d *Deployment) {
	c.mu.Lock()
	text := c.serve(d.app, withTasks|withDeployments|withCounts)
	c.mu.Unlock()
	w.Header().Set("Marathon-Deployment-Id", d.id)
	w.Header().Set("Location", c.o.Prefix+"/v2/apps"+d.app.id)
	writeText(w, http.StatusCreated, text)
}

// abort cancels a deployment, which stays as it stands.
func (c *Cluster) abort(id string) (*Deployment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.order {
		if d.id == id {
			d.cancel()
			return d, nil
		}
	}
	return nil, fmt.Errorf("%w: no deployment %s", ErrMissing, id)
}

// refuseChange says why something cannot be changed.
func (c *Cluster) refuseChange(w http.ResponseWriter, id string, err error) {
	switch {
	case errors.Is(err, ErrLocked):
		holder := ""
		c.mu.Lock()
		if d := c.locks[id]; d != nil {
			holder = d.id
		}
		c.mu.Unlock()
		writeJSON(w, http.StatusConflict, map[string]any{
			"message":     "App is locked by one or more deployments. Override with the option '?force=true'.",
			"deployments": []any{map[string]string{"id": holder}},
		})
	case errors.Is(err, errExists):
		refuse(w, http.StatusConflict, err.Error())
	case errors.Is(err, ErrMissing):
		refuse(w, http.StatusNotFound, "App '"+id+"' does not exist")
	case errors.Is(err, errDefinition):
		writeJSON(w, http.StatusUnprocessableEntity, map[string]any{
			"message": "Object is not valid", "details": []any{map[string]any{"path": "/", "errors": []string{err.Error()}}},
		})
	case errors.Is(err, ErrFull):
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		refuse(w, http.StatusBadRequest, err.Error())
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"message": message})
}

// page answers with a page of HTML, as the server in front of Marathon's own
// calls does.
func page(w http.ResponseWriter, status int, about ...string) {
	w.Header().Set("Content-Type", "text/html; charset=iso-8859-1")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html><head><title>Error %d</title></head><body><h2>HTTP ERROR: %[1]d</h2><p>%s</p></body></html>\n",
		status, strings.Join(append(about, http.StatusText(status)), "; "))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // all of it is ours
	}
	writeText(w, status, text)
}

func writeText(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a failed write is the caller's, who has gone
}
