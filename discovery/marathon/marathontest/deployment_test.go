// SPDX-License-Identifier: Apache-2.0

package marathontest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// states are the tasks of an app as one line: their states, with + for what is
// known to be alive, and - for what is known to be not.
func states(c *marathontest.Cluster, id string) string {
	var all []string
	for _, task := range c.Tasks(id) {
		word := []byte(strings.ToLower(strings.TrimPrefix(task.State, "TASK_")))
		for _, alive := range task.Health {
			if alive {
				word = append(word, '+')
			} else {
				word = append(word, '-')
			}
		}
		all = append(all, string(word))
	}
	return strings.Join(all, ",")
}

func TestPhases(t *testing.T) {
	const checked = `"healthChecks": [{"protocol": "HTTP"}], "readinessChecks": [{"name": "up", "path": "/"}]`
	c := marathontest.Start(t, marathontest.Options{ByHand: true, Killing: true})
	c.Deploy(`{"id": "/a", "instances": 2, ` + checked + `}`).Finish()
	if got := states(c, "/a"); got != "running+,running+" {
		t.Fatalf("after the first deployment: %s", got)
	}
	old := c.Tasks("/a")[0].Version
	d := c.Deploy(`{"id": "/a", "labels": {"changed": "yes"}}`)
	for _, want := range []struct {
		phase marathontest.Phase
		tasks string
		ready string
	}{
		{marathontest.Begun, "running+,running+", "null"},
		{marathontest.Staged, "running+,running+,staging,staging", "null"},
		{marathontest.Running, "running+,running+,running,running", "false"},
		{marathontest.Healthy, "running+,running+,running+,running+", "false"},
		{marathontest.Ready, "running+,running+,running+,running+", "true"},
		{marathontest.Killing, "killing+,killing+,running+,running+", "true"},
		{marathontest.Over, "running+,running+", "null"},
	} {
		d.StepTo(want.phase)
		t.Run(want.phase.String(), func(t *testing.T) {
			if d.Phase() != want.phase {
				t.Fatalf("Phase() = %v, want %v", d.Phase(), want.phase)
			}
			if got := states(c, "/a"); got != want.tasks {
				t.Errorf("tasks: %s, want %s", got, want.tasks)
			}
			app := apps(t, c.URL()+everything)["/a"]
			wantAt(t, app, want.ready, "readinessCheckResults", 0, "ready")
			under := `"` + d.ID() + `"`
			if want.phase == marathontest.Over {
				under = "null"
			}
			wantAt(t, app, under, "deployments", 0, "id")
		})
	}
	select {
	case <-d.Done():
	default:
		t.Error("Done is not closed after the end")
	}
	if d.Step() {
		t.Error("there is a step after the end")
	}
	if got := c.Tasks("/a")[0].Version; got <= old {
		t.Errorf("version of a task = %s, want one later than %s", got, old)
	}
}

func TestScaling(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{})
	c.Deploy(`{"id": "/a"}`)
	first := c.Tasks("/a")[0]
	c.Scale("/a", 3)
	if got := c.Tasks("/a"); len(got) != 3 || got[0].ID != first.ID || got[0].Version != first.Version || got[1].Version <= first.Version {
		t.Errorf("tasks after scaling up: %+v, want the first one and two of a later version", got)
	}
	c.Scale("/a", 1)
	if got := c.Tasks("/a"); len(got) != 1 || got[0].ID != first.ID {
		t.Errorf("tasks after scaling down: %+v, want the first one", got)
	}
	c.Restart("/a")
	if got := c.Tasks("/a"); len(got) != 1 || got[0].ID == first.ID {
		t.Errorf("tasks after a restart: %+v, want another one", got)
	}
	c.Scale("/a", 0)
	if got := c.Tasks("/a"); len(got) != 0 {
		t.Errorf("tasks of an app without instances: %+v", got)
	}
	c.Remove("/a")
	if got := c.Apps(); len(got) != 0 {
		t.Errorf("apps after the last was removed: %q", got)
	}
}

func TestRemoval(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{ByHand: true})
	c.Deploy(`{"id": "/a"}`).Finish()
	c.Remove("/a")
	if got := apps(t, c.URL()+everything); len(got) != 0 {
		t.Errorf("an app that is being removed is listed: %v", got)
	}
	if a := ask(t, "GET", c.URL()+"/v2/tasks", ""); !strings.Contains(a.body, "TASK_RUNNING") {
		t.Errorf("its task is not: %s", a.body)
	}
	t.Run("and may be made again meanwhile", func(t *testing.T) {
		if _, err := c.Put(`{"id": "/a"}`, false); !errors.Is(err, marathontest.ErrLocked) {
			t.Errorf("Put = %v, want that it is locked", err)
		}
		d, err := c.Put(`{"id": "/a"}`, true)
		if err != nil {
			t.Fatal(err)
		}
		d.Finish()
		if got := states(c, "/a"); got != "running" {
			t.Errorf("tasks: %s, want one", got)
		}
		if a := ask(t, "GET", c.URL()+"/v2/tasks", ""); strings.Count(a.body, "TASK_RUNNING") != 1 {
			t.Errorf("tasks in all: %s", a.body)
		}
	})
}

func TestForceKeepsWhatWasToGo(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{ByHand: true, Killing: true})
	c.Deploy(`{"id": "/a", "instances": 2}`).Finish()
	before := c.Tasks("/a")
	c.Scale("/a", 1).StepTo(marathontest.Killing)
	if got := states(c, "/a"); got != "running,killing" {
		t.Fatalf("tasks: %s, want the younger one to be killed", got)
	}
	d, err := c.Put(`{"id": "/a", "instances": 2}`, true)
	if err != nil {
		t.Fatal(err)
	}
	d.Finish()
	if after := c.Tasks("/a"); states(c, "/a") != "running,running" || after[1].ID != before[1].ID {
		t.Errorf("tasks: %+v, want those from before, %+v", after, before)
	}
}

func TestTaskChanges(t *testing.T) {
	begin := func(t *testing.T) (*marathontest.Cluster, string) {
		t.Helper()
		c := marathontest.Start(t, marathontest.Options{})
		c.Deploy(`{"id": "/a", "healthChecks": [{"protocol": "HTTP"}, {"protocol": "TCP"}]}`)
		return c, c.Tasks("/a")[0].ID
	}
	t.Run("health is what is said, one verdict a check", func(t *testing.T) {
		c, id := begin(t)
		for _, tt := range []struct {
			alive []bool
			want  string
		}{{[]bool{false}, "running--"}, {[]bool{true, false}, "running+-"}, {nil, "running"}, {[]bool{true}, "running++"}} {
			c.SetHealth(id, tt.alive...)
			if got := states(c, "/a"); got != tt.want {
				t.Errorf("SetHealth(%v): %s, want %s", tt.alive, got, tt.want)
			}
		}
	})
	t.Run("a state is what is said", func(t *testing.T) {
		c, id := begin(t)
		c.SetState(id, "TASK_UNREACHABLE")
		wantAt(t, apps(t, c.URL()+everything)["/a"], `"TASK_UNREACHABLE"`, "tasks", 0, "state")
	})
	t.Run("another one comes for one that failed", func(t *testing.T) {
		c, id := begin(t)
		c.Fail(id)
		if got := c.Tasks("/a"); len(got) != 1 || got[0].ID == id || states(c, "/a") != "running++" {
			t.Errorf("tasks: %+v", got)
		}
	})
	t.Run("but not by hand", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{ByHand: true})
		c.Deploy(`{"id": "/a"}`).Finish()
		c.Fail(c.Tasks("/a")[0].ID)
		if got := c.Tasks("/a"); len(got) != 0 {
			t.Errorf("tasks: %+v", got)
		}
	})
	t.Run("a task that there is not is left alone", func(t *testing.T) {
		c, _ := begin(t)
		c.SetHealth("x", true)
		c.SetState("x", "TASK_LOST")
		c.SetReady("x", true)
		c.Fail("x")
		if got := states(c, "/a"); got != "running++" {
			t.Errorf("tasks: %s", got)
		}
	})
	t.Run("what is served may be edited to anything", func(t *testing.T) {
		c, _ := begin(t)
		c.Edit("/a", func(app map[string]any) { app["tasks"] = nil; app["labels"] = 7 })
		app := apps(t, c.URL()+everything)["/a"]
		wantAt(t, app, "null", "tasks")
		wantAt(t, app, "7", "labels")
	})
}

func TestWrites(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{ByHand: true, MaxTasks: 50})
	url := c.URL() + "/v2/apps"
	a := ask(t, "POST", url, article)
	if a.status != 201 || a.header.Get("Marathon-Deployment-Id") == "" || !strings.Contains(a.body, "simple-service") {
		t.Fatalf("POST = %d %v %s", a.status, a.header, a.body)
	}
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"an app that there is cannot be created", "POST", "", article, 409, "exists"},
		{"an app that a deployment holds cannot be changed", "PUT", "/simple-service-1.0.0", `{"instances": 2}`, 409, c.Deployments()[0].ID()},
		{"unless by force", "PUT", "/simple-service-1.0.0?force=true", `{"instances": 2}`, 200, "deploymentId"},
		{"nor can it be removed", "DELETE", "/simple-service-1.0.0", "", 409, "locked"},
		{"nor restarted", "POST", "/simple-service-1.0.0/restart", "", 409, "locked"},
		{"what is not there cannot be removed", "DELETE", "/nothing", "", 404, "does not exist"},
		{"nor patched", "PATCH", "/nothing", "{}", 404, "does not exist"},
		{"but put", "PUT", "/group/new", `{"cmd": "true"}`, 200, "deploymentId"},
		{"half of JSON is refused", "POST", "", `{"id": "/x"`, 400, "invalid JSON"},
		{"what is no object is refused", "POST", "", `null`, 400, "invalid JSON"},
		{"an id that is none is refused", "POST", "", `{"id": "/Not_this"}`, 422, "Not_this"},
		{"no id is refused", "POST", "", `{}`, 422, "id"},
		{"a field of another type is refused", "POST", "", `{"id": "/x", "instances": "two"}`, 422, "instances"},
		{"fewer instances than none are refused", "POST", "", `{"id": "/x", "instances": -1}`, 422, "instances"},
		{"a port that is none is refused", "POST", "", `{"id": "/x", "portDefinitions": [{"port": 70000}]}`, 422, "70000"},
		{"a check of a port that there is not is refused", "POST", "", `{"id": "/x", "healthChecks": [{"portIndex": 1}]}`, 422, "portIndex 1"},
		{"a check of an unknown kind is refused", "POST", "", `{"id": "/x", "healthChecks": [{"protocol": "ICMP"}]}`, 422, "ICMP"},
		{"more tasks than there is room for are refused", "POST", "", `{"id": "/x", "instances": 51}`, 503, "no more tasks"},
		{"a method that is not for a path is refused", "DELETE", "", "", 405, "DELETE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := ask(t, tt.method, url+tt.path, tt.body); a.status != tt.status || !strings.Contains(a.body, tt.want) {
				t.Errorf("%s %s = %d %s, want %d with %q", tt.method, tt.path, a.status, a.body, tt.status, tt.want)
			}
		})
	}
	t.Run("a body that is not said to be JSON is refused", func(t *testing.T) {
		if a := ask(t, "POST", url, article, "Content-Type", "text/plain"); a.status != 415 {
			t.Errorf("= %d, want 415", a.status)
		}
	})
	t.Run("a body that is too large is refused", func(t *testing.T) {
		if a := ask(t, "POST", url, `{"id": "/x", "cmd": "`+strings.Repeat("x", 1<<20)+`"}`); a.status != 413 {
			t.Errorf("= %d, want 413", a.status)
		}
	})
	t.Run("a page of another site can deploy nothing", func(t *testing.T) {
		if a := ask(t, "POST", url, `{"id": "/evil"}`, "Sec-Fetch-Site", "cross-site"); a.status != 403 {
			t.Errorf("= %d, want 403", a.status)
		}
	})
	t.Run("deployments under way are listed, and may be cancelled", func(t *testing.T) {
		d := c.Deployments()[0]
		if a := ask(t, "GET", c.URL()+"/v2/deployments", ""); !strings.Contains(a.body, d.ID()) {
			t.Errorf("/v2/deployments = %s, want %s in it", a.body, d.ID())
		}
		if a := ask(t, "DELETE", c.URL()+"/v2/deployments/"+d.ID(), ""); a.status != 200 {
			t.Errorf("= %d %s", a.status, a.body)
		}
		<-d.Done()
		if d.Step() {
			t.Error("a cancelled deployment goes on")
		}
	})
}

// TestServers deploys tasks that are real servers, and has their health checks
// really made.
func TestServers(t *testing.T) {
	var ill atomic.Bool
	c := marathontest.Start(t, marathontest.Options{
		Probe: true, ProbeEvery: 10 * time.Millisecond,
		Runner: marathontest.Servers(func(l marathontest.Launch) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/health" && ill.Load() {
					w.WriteHeader(http.StatusInternalServerError)
				}
				fmt.Fprint(w, l.App, " ", l.Env["GREETING"], " ", l.Image)
			})
		}),
	})
	const checked = `"healthChecks": [{"protocol": "HTTP", "path": "/health", "maxConsecutiveFailures": 3}], "readinessChecks": [{"name": "up", "path": "/ready"}]`
	for _, tt := range []struct {
		name, definition string
		port             func(marathontest.Task) string
	}{
		{
			"in the network of the agent", `{"id": "/a", "env": {"GREETING": "hello"}, "container": {"docker": {"image": "i:1"}}, ` + checked + `}`,
			func(task marathontest.Task) string { return fmt.Sprintf("%s:%d", task.Host, task.Ports[0]) },
		},
		{
			"behind a bridge", `{"id": "/b", "env": {"GREETING": "hello"}, "networks": [{"mode": "container/bridge"}], "container": {"docker": {"image": "i:1"}, "portMappings": [{"containerPort": 80}]}, ` + checked + `}`,
			func(task marathontest.Task) string { return fmt.Sprintf("%s:%d", task.Host, task.Ports[0]) },
		},
		{
			"with an address of its own", `{"id": "/c", "env": {"GREETING": "hello"}, "networks": [{"mode": "container"}], "container": {"docker": {"image": "i:1"}, "portMappings": [{"containerPort": 18080}]}, ` + checked + `}`,
			func(task marathontest.Task) string { return task.IP + ":18080" },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := c.Deploy(tt.definition)
			select {
			case <-d.Done():
			case <-time.After(patience):
				t.Fatalf("the deployment stays at %v: %s", d.Phase(), states(c, d.App()))
			}
			if a := ask(t, "GET", "http://"+tt.port(c.Tasks(d.App())[0])+"/", ""); a.body != d.App()+" hello i:1" {
				t.Errorf("the task answers %q", a.body)
			}
		})
	}
	t.Run("one that fails its checks is killed and replaced", func(t *testing.T) {
		first := c.Tasks("/a")[0].ID
		ill.Store(true)
		until(t, func() bool { tasks := c.Tasks("/a"); return len(tasks) == 0 || tasks[0].ID != first })
		ill.Store(false)
		until(t, func() bool { return states(c, "/a") == "running+" })
	})
	t.Run("a deployment waits for health, which nobody has told yet", func(t *testing.T) {
		ill.Store(true)
		d := c.Deploy(`{"id": "/d", ` + checked + `}`)
		until(t, func() bool { return d.Phase() == marathontest.Running })
		if got := states(c, "/d"); got != "running" {
			t.Errorf("tasks: %s, want one of which nothing is known: it has time to start", got)
		}
		ill.Store(false)
		until(t, func() bool { return d.Phase() == marathontest.Over })
	})
}

// until waits for what must come.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not come about")
		case <-tick.C:
		}
	}
}

func TestFill(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{})
	c.Fill(50, 4)
	list := apps(t, c.URL()+everything)
	if len(list) != 50 || len(at(list["/filled-0049"], "tasks").([]any)) != 4 {
		t.Errorf("%d apps, want 50 with 4 tasks each", len(list))
	}
	wantAt(t, list["/filled-0049"], "true", "tasks", 3, "healthCheckResults", 0, "alive")
	a := ask(t, "GET", c.URL()+"/v2/tasks?status=running", "", "Accept", "text/plain")
	if n := strings.Count(a.body, "\n"); n != 50 {
		t.Errorf("the list of tasks as text has %d lines, want one an app", n)
	}
}

func TestFaults(t *testing.T) {
	const path = "/v2/apps"
	begin := func(t *testing.T) *marathontest.Cluster {
		t.Helper()
		c := marathontest.Start(t, marathontest.Options{})
		c.Deploy(article)
		return c
	}
	t.Run("an answer takes the place of the right one, as often as said", func(t *testing.T) {
		c := begin(t)
		c.Break(marathontest.Fault{Path: path, Times: 1, Status: 503, Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}})
		if a := ask(t, "GET", c.URL()+"/v2/info", ""); a.status != 200 {
			t.Errorf("another path = %d", a.status)
		}
		if a := ask(t, "GET", c.URL()+path, ""); a.status != 503 || a.body != "<html>" || a.header.Get("Content-Type") != "text/html" {
			t.Errorf("= %d %s", a.status, a.body)
		}
		if a := ask(t, "GET", c.URL()+path, ""); a.status != 200 {
			t.Errorf("the next call = %d", a.status)
		}
		calls := c.Requests()
		if last := calls[len(calls)-2]; last.Path != path || last.Status != 503 || c.Count(path) != 2 {
			t.Errorf("told of: %+v, %d calls", last, c.Count(path))
		}
	})
	t.Run("calls hang until healed", func(t *testing.T) {
		c := begin(t)
		heal := c.Break(marathontest.Fault{Path: "/v2/*", Hang: true})
		answered := make(chan int, 1)
		go func() { answered <- ask(t, "GET", c.URL()+path, "").status }()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.AwaitCount(ctx, path, 1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-answered:
			t.Error("it was answered")
		default:
		}
		heal()
		heal()
		if status := <-answered; status != 200 {
			t.Errorf("= %d after it was healed", status)
		}
	})
	t.Run("an answer breaks off", func(t *testing.T) {
		c := begin(t)
		c.Break(marathontest.Fault{Cut: 20})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err == nil || len(b) != 20 {
			t.Errorf("%d bytes, %v, want 20 and an error", len(b), err)
		}
	})
	t.Run("an answer is huge, and right", func(t *testing.T) {
		c := begin(t)
		c.Break(marathontest.Fault{Path: path, Huge: 3 << 20})
		if a := ask(t, "GET", c.URL()+path, ""); len(a.body) < 3<<20 {
			t.Errorf("%d bytes", len(a.body))
		}
		if list := apps(t, c.URL()+path); len(list) != 1 {
			t.Errorf("%d apps, want 1", len(list))
		}
	})
	t.Run("an answer is slow and late, and whole", func(t *testing.T) {
		c := begin(t)
		c.Break(marathontest.Fault{Path: path, Delay: time.Millisecond, Slow: time.Microsecond})
		if list := apps(t, c.URL()+path); len(list) != 1 {
			t.Errorf("%d apps, want 1", len(list))
		}
	})
}
