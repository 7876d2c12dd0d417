// SPDX-License-Identifier: Apache-2.0

package marathontest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// patience bounds how long tests wait for what must come.
const patience = time.Minute

// everything is the call for a whole snapshot.
const everything = "/v2/apps?embed=apps.tasks&embed=apps.deployments&embed=apps.readiness"

// article is an app in the form of Marathon before 1.5.
const article = `{"id": "/simple-service-1.0.0",
 "container": {"type": "DOCKER", "docker": {"image": "magneticio/simpleservice:1.0.0", "network": "BRIDGE",
   "portMappings": [{"containerPort": 3000, "labels": {"VIP_0": "/simple-service-1.0.0:3000"}}]}},
 "labels": {"HAPROXY_0_MODE": "http", "HAPROXY_GROUP": "external"}}`

type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes a call with those header fields, name and value in turn. A call
// accepts JSON unless it says otherwise.
func ask(t *testing.T, method, url, body string, fields ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := direct.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// direct follows no redirect.
var direct = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// apps makes the call for all apps, by id.
func apps(t *testing.T, url string) map[string]map[string]any {
	t.Helper()
	a := ask(t, "GET", url, "")
	var list struct{ Apps []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 {
		t.Fatalf("GET %s = %d %.200s: %v", url, a.status, a.body, err)
	}
	byID := make(map[string]map[string]any)
	for _, app := range list.Apps {
		byID[app["id"].(string)] = app
	}
	return byID
}

// at walks into JSON by names of fields and numbers of elements.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

func wantAt(t *testing.T, v any, want string, path ...any) {
	t.Helper()
	got, err := json.Marshal(at(v, path...))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%v = %s, want %s", path, got, want)
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    marathontest.Options
		want string
	}{
		{"a version that is not known is refused", marathontest.Options{Version: "1.12"}, "1.4 to 1.11"},
		{"a version that is none is refused", marathontest.Options{Version: "latest"}, "1.4 to 1.11"},
		{"a prefix without a slash is refused", marathontest.Options{Prefix: "marathon"}, "begins with a slash"},
		{"an end of line that is none is refused", marathontest.Options{LineEnd: "x"}, "ends no line"},
		{"an address that cannot be had is refused", marathontest.Options{Addresses: []string{"192.0.2.1:1"}}, "marathon 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := marathontest.New(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New(%+v): error = %v, want one with %q", tt.o, err, tt.want)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{Version: "1.11", Agents: []marathontest.Agent{{Host: "10.0.0.5", Region: "eu", Zone: "eu-1"}}})
	c.Deploy(`{"id": "/shop/web", "labels": {"a": "b"}, "networks": [{"mode": "container/bridge"}],
		"container": {"portMappings": [{"containerPort": 8080, "name": "http", "labels": {"VIP_0": "/web:80"}}]},
		"healthChecks": [{"protocol": "MESOS_HTTP", "path": "/health"}]}`)
	app := apps(t, c.URL()+everything)["/shop/web"]
	task := c.Tasks("/shop/web")[0]
	for _, tt := range []struct {
		want string
		path []any
	}{
		{`"b"`, []any{"labels", "a"}},
		{`"container/bridge"`, []any{"networks", 0, "mode"}},
		{`8080`, []any{"container", "portMappings", 0, "containerPort"}},
		{`0`, []any{"container", "portMappings", 0, "hostPort"}},
		{`10000`, []any{"container", "portMappings", 0, "servicePort"}},
		{`"/web:80"`, []any{"container", "portMappings", 0, "labels", "VIP_0"}},
		{`null`, []any{"ipAddress"}},
		{`[]`, []any{"deployments"}},
		{`[]`, []any{"readinessCheckResults"}},
		{`"` + task.ID + `"`, []any{"tasks", 0, "id"}},
		{`"10.0.0.5"`, []any{"tasks", 0, "host"}},
		{strconv.Itoa(task.Ports[0]), []any{"tasks", 0, "ports", 0}},
		{`10000`, []any{"tasks", 0, "servicePorts", 0}},
		{`"172.17.0.2"`, []any{"tasks", 0, "ipAddresses", 0, "ipAddress"}},
		{`"TASK_RUNNING"`, []any{"tasks", 0, "state"}},
		{`"eu-1"`, []any{"tasks", 0, "zone"}},
		{`"eu"`, []any{"tasks", 0, "region"}},
		{`true`, []any{"tasks", 0, "healthCheckResults", 0, "alive"}},
		{`"` + strings.TrimSuffix(task.ID, "._app.1") + `"`, []any{"tasks", 0, "healthCheckResults", 0, "instanceId"}},
	} {
		wantAt(t, app, tt.want, tt.path...)
	}
	if app["version"] != task.Version {
		t.Errorf("version = %v, want that of the task, %v", app["version"], task.Version)
	}
}

func TestEmbeds(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{})
	c.Deploy(`{"id": "/a"}`)
	embedded := []string{"tasks", "deployments", "readinessCheckResults", "tasksRunning"}
	for _, tt := range []struct{ name, query, want string }{
		{"nothing is embedded that is not asked for", "", ""},
		{"tasks are embedded alone", "?embed=apps.tasks", "tasks"},
		{"deployments are", "?embed=apps.deployments", "deployments"},
		{"readiness is", "?embed=apps.readiness", "readinessCheckResults"},
		{"counts are", "?embed=apps.counts", "tasksRunning"},
		{"what is asked for twice is there once", "?embed=apps.tasks&embed=app.tasks&embed=apps.counts", "tasks tasksRunning"},
		{"what is not known is ignored", "?embed=apps.weather", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := apps(t, c.URL()+"/v2/apps"+tt.query)["/a"]
			var got []string
			for _, field := range embedded {
				if _, ok := app[field]; ok {
					got = append(got, field)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("embedded are %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("a call for one app has its tasks, and readiness if asked", func(t *testing.T) {
		var one struct{ App map[string]any }
		for query, want := range map[string]bool{"": false, "?embed=app.readiness": true} {
			a := ask(t, "GET", c.URL()+"/v2/apps/a"+query, "")
			one.App = nil
			if err := json.Unmarshal([]byte(a.body), &one); err != nil {
				t.Fatal(err)
			}
			if _, ok := one.App["tasks"]; !ok {
				t.Errorf("%q has no tasks", query)
			}
			if _, ok := one.App["readinessCheckResults"]; ok != want {
				t.Errorf("%q: has readiness is %v, want %v", query, ok, want)
			}
		}
	})
}

func TestLabelSelectors(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{})
	c.Deploy(`{"id": "/a", "labels": {"tier": "web", "env": "test"}}`)
	c.Deploy(`{"id": "/b", "labels": {"tier": "db"}}`)
	c.Deploy(`{"id": "/c"}`)
	for _, tt := range []struct{ selector, want string }{
		{"tier", "/a /b"},
		{"!tier", "/c"},
		{"tier==web", "/a"},
		{"tier!=web", "/b /c"},
		{"tier in (web, db)", "/a /b"},
		{"tier notin (db)", "/a /c"},
		{"tier in (web,db),env==test", "/a"},
	} {
		t.Run(tt.selector, func(t *testing.T) {
			r := apps(t, c.URL()+"/v2/apps?label="+strings.NewReplacer(" ", "%20", "=", "%3D", ",", "%2C").Replace(tt.selector))
			var got []string
			for id := range r {
				got = append(got, id)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q chooses %q, want %q", tt.selector, got, tt.want)
			}
		})
	}
	if a := ask(t, "GET", c.URL()+"/v2/apps?label=a%3D%3D", ""); a.status != 422 {
		t.Errorf("half a selector = %d, want 422", a.status)
	}
}

// TestGenerations deploys the same apps on all kinds of Marathon.
func TestGenerations(t *testing.T) {
	container := `{"id": "/own", "ipAddress": {"networkName": "dcos", "discovery": {"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]}}}`
	for _, tt := range []struct {
		version string
		bridge  map[string][]any // of the article's app: what must be where
		own     map[string][]any
		host    map[string][]any
	}{
		{
			"1.4",
			map[string][]any{
				`"BRIDGE"`:       {"container", "docker", "network"},
				`3000`:           {"container", "docker", "portMappings", 0, "containerPort"},
				`null`:           {"networks"},
				`10000`:          {"ports", 0},
				`"TASK_RUNNING"`: {"tasks", 0, "state"},
			},
			map[string][]any{`80`: {"ipAddress", "discovery", "ports", 0, "number"}, `"dcos"`: {"ipAddress", "networkName"}, `[]`: {"ports"}},
			map[string][]any{`null`: {"networks"}, `"web"`: {"portDefinitions", 0, "name"}},
		},
		{
			"1.5",
			map[string][]any{
				`"container/bridge"`: {"networks", 0, "mode"},
				`3000`:               {"container", "portMappings", 0, "containerPort"},
				`null`:               {"container", "docker", "network"},
			},
			map[string][]any{`80`: {"container", "portMappings", 0, "containerPort"}, `"dcos"`: {"networks", 0, "name"}, `"container"`: {"networks", 0, "mode"}, `null`: {"ipAddress"}},
			map[string][]any{`"host"`: {"networks", 0, "mode"}, `"web"`: {"portDefinitions", 0, "name"}},
		},
	} {
		for _, nulls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s with nulls %v", tt.version, nulls), func(t *testing.T) {
				c := marathontest.Start(t, marathontest.Options{Version: tt.version, Nulls: nulls})
				c.Deploy(article)
				c.Deploy(container)
				c.Deploy(`{"id": "/host", "portDefinitions": [{"port": 0, "name": "web"}, {"port": 12345}]}`)
				all := apps(t, c.URL()+everything)
				for id, wants := range map[string]map[string][]any{"/simple-service-1.0.0": tt.bridge, "/own": tt.own, "/host": tt.host} {
					for want, path := range wants {
						wantAt(t, all[id], want, path...)
					}
				}
				if _, has := all["/own"]["readinessChecks"]; has != nulls {
					t.Errorf("readinessChecks that there are not are there: %v, want %v", has, nulls)
				}
				if got := len(c.Tasks("/own")[0].Ports); got != 0 {
					t.Errorf("a task with an address of its own has %d ports of its agent, want 0", got)
				}
				if got := c.Tasks("/host")[0]; len(got.Ports) != 2 || got.Ports[1] == 12345 {
					t.Errorf("ports = %v, want two of the agent's choice", got.Ports)
				}
			})
		}
	}
	t.Run("apps name results of health checks by task before 1.5 and by instance since", func(t *testing.T) {
		for version, want := range map[string]string{"1.4": "taskId", "1.5": "instanceId", "1.8": "instanceId"} {
			c := marathontest.Start(t, marathontest.Options{Version: version})
			c.Deploy(`{"id": "/a", "healthChecks": [{"protocol": "TCP"}]}`)
			if at(apps(t, c.URL()+everything)["/a"], "tasks", 0, "healthCheckResults", 0, want) == nil {
				t.Errorf("%s: no %s", version, want)
			}
		}
	})
	t.Run("required ports are those of the task", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{})
		c.Deploy(`{"id": "/a", "requirePorts": true, "portDefinitions": [{"port": 12345}]}`)
		if got := c.Tasks("/a")[0].Ports; !slices.Equal(got, []int{12345}) {
			t.Errorf("ports = %v, want 12345", got)
		}
	})
	t.Run("no ports at all are none", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{})
		c.Deploy(`{"id": "/a", "portDefinitions": []}`)
		if got := c.Tasks("/a")[0].Ports; len(got) != 0 {
			t.Errorf("ports = %v, want none", got)
		}
	})
}

func TestPrefixAndInfo(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{Prefix: "/service/marathon", Version: "1.6"})
	if !strings.HasSuffix(c.URL(), "/service/marathon") {
		t.Errorf("URL() = %s, want the prefix at its end", c.URL())
	}
	if a := ask(t, "GET", c.URL()+"/ping", ""); a.body != "pong" {
		t.Errorf("/ping = %q", a.body)
	}
	a := ask(t, "GET", c.URL()+"/v2/info", "")
	if !strings.Contains(a.body, `"version":"1.6"`) || !strings.Contains(a.body, `"elected":true`) {
		t.Errorf("/v2/info = %s", a.body)
	}
	if a := ask(t, "GET", strings.TrimSuffix(c.URL(), "/service/marathon")+"/v2/apps", ""); a.status != 404 || strings.HasPrefix(a.body, "{") {
		t.Errorf("without the prefix = %d %s, want a page of 404", a.status, a.body)
	}
}

func TestAccept(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{})
	for _, tt := range []struct {
		name, path, accept string
		want               int
	}{
		{"JSON is accepted", "/v2/apps", "application/json", 200},
		{"anything is accepted", "/v2/apps", "*/*", 200},
		{"a call that does not say what it accepts is refused", "/v2/apps", "", 406},
		{"a call that accepts something else is refused", "/v2/apps", "text/html", 406},
		{"so is a call for events that does not accept a stream", "/v2/events", "application/json", 406},
		{"and one for all tasks may be for text", "/v2/tasks", "text/plain", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := ask(t, "GET", c.URL()+tt.path, "", "Accept", tt.accept); a.status != tt.want {
				t.Errorf("GET %s with Accept %q = %d, want %d", tt.path, tt.accept, a.status, tt.want)
			}
		})
	}
}

func TestLeaders(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{Instances: 3, ElectionWait: time.Millisecond})
	c.Deploy(article)
	urls := c.URLs()
	t.Run("a Marathon that does not lead hands calls on", func(t *testing.T) {
		a := ask(t, "GET", urls[1]+everything, "")
		if a.status != 200 || !strings.Contains(a.body, "simple-service") || a.header.Get("X-Marathon-Via") == "" || a.header.Get("X-Marathon-Leader") != urls[0] {
			t.Errorf("= %d %v %.60s", a.status, a.header, a.body)
		}
	})
	t.Run("a call that was handed on already is refused", func(t *testing.T) {
		if a := ask(t, "GET", urls[1]+everything, "", "X-Marathon-Via", "1.1 other"); a.status != 502 {
			t.Errorf("= %d, want 502", a.status)
		}
	})
	t.Run("events are redirected to the leader, with the query", func(t *testing.T) {
		a := ask(t, "GET", urls[2]+"/v2/events?plan-format=light", "", "Accept", "text/event-stream")
		if a.status != 302 || a.header.Get("Location") != urls[0]+"/v2/events?plan-format=light" {
			t.Errorf("= %d to %s", a.status, a.header.Get("Location"))
		}
	})
	t.Run("while nobody leads calls are refused with a page", func(t *testing.T) {
		c.Elect(-1)
		a := ask(t, "GET", urls[0]+everything, "")
		if a.status != 502 || !strings.Contains(a.body, "Could not determine the current leader") || strings.HasPrefix(a.body, "{") {
			t.Errorf("= %d %s", a.status, a.body)
		}
		if a := ask(t, "GET", urls[0]+"/ping", ""); a.status != 200 {
			t.Errorf("/ping = %d, want 200 from any", a.status)
		}
	})
	t.Run("another one leads after it was elected", func(t *testing.T) {
		c.Elect(2)
		a := ask(t, "GET", urls[0]+everything, "")
		if a.status != 200 || a.header.Get("X-Marathon-Leader") != urls[2] {
			t.Errorf("= %d %v", a.status, a.header)
		}
	})
	t.Run("one that is stopped refuses connections until it is resumed", func(t *testing.T) {
		c.Stop(2)
		if c.Leader() != -1 {
			t.Errorf("Leader() = %d after the leader was stopped", c.Leader())
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, urls[2]+"/ping", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := new(http.Client).Do(r); err == nil {
			resp.Body.Close()
			t.Error("it answers")
		}
		if err := c.Resume(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if err := c.Resume(t.Context(), 2); err == nil {
			t.Error("it is resumed twice")
		}
		c.Elect(2)
		if a := ask(t, "GET", urls[2]+everything, ""); a.status != 200 {
			t.Errorf("= %d after it was resumed", a.status)
		}
	})
	t.Run("old ones hand events on, too", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{Version: "1.6"})
		s := listen(t, c.URLs()[1]+"/v2/events")
		s.want("event_stream_attached")
	})
}

func TestElectionForgetsHealth(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{})
	c.Deploy(`{"id": "/a", "healthChecks": [{"protocol": "HTTP"}, {"protocol": "MESOS_HTTP"}]}`)
	health := func() string { return fmt.Sprint(c.Tasks("/a")[0].Health) }
	if got := health(); got != "[true true]" {
		t.Fatalf("Health = %s after the deployment", got)
	}
	c.Elect(1)
	if got := health(); got != "[true]" {
		t.Errorf("Health = %s after an election, want that of the agent's check alone", got)
	}
	c.Recheck()
	if got := health(); got != "[true true]" {
		t.Errorf("Health = %s after the checks were made again", got)
	}
}

// listener reads an event stream.
type listener struct {
	t      *testing.T
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func listen(t *testing.T, url string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d", url, resp.StatusCode)
	}
	return &listener{t, bufio.NewReader(resp.Body), cancel}
}

// next returns the kind and the data of the next event.
func (l *listener) next() (kind, data string) {
	l.t.Helper()
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "event: "); ok {
			kind = rest
		}
		if rest, ok := strings.CutPrefix(line, "data: "); ok {
			data += rest + "\n"
		}
		if line == "" && kind != "" {
			return kind, data
		}
	}
}

func (l *listener) want(kinds ...string) (data string) {
	l.t.Helper()
	for _, want := range kinds {
		var got string
		if got, data = l.next(); got != want {
			l.t.Fatalf("event %s, want %s", got, want)
		}
	}
	return data
}
