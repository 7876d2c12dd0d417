// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// app is what was asked for, and its tasks.
type app struct {
	id         string
	raw        map[string]any // as it was defined
	definition *definition
	instances  int
	image      string
	networking networking
	network    string // name of a container network
	ports      []port
	checks     []check
	version    string // of the last change of any kind
	configured string // of the last one that made new tasks
	scaled     string
	tasks      []*task
	edits      []func(map[string]any)
	shown      map[embeds][]byte // as it is served now
}

// touch forgets what was served of the app, which has changed.
func (a *app) touch() { clear(a.shown) }

// requirePorts reports whether tasks listen on the app's own ports.
func (a *app) requirePorts() bool { return a.networking == hostNetwork && a.definition.RequirePorts }

// task is one task.
type task struct {
	app      *app
	id       string
	instance string // as health results and events name it
	version  string // of the app when it was started
	agent    Agent
	agentID  string
	ip       string
	ports    []int // of its agent
	services []int
	listens  []int // by the index of the app's ports, where it really listens; 0 is unknown
	state    string
	staged   time.Time
	started  time.Time
	health   []health // one for each check of its app's version
	checks   []check
	ready    map[string]bool // by readiness check; nothing is known of others
	process  Process
	left     chan struct{} // closed when it has left
	stopping bool          // a deployment has it end
	gone     bool
}

// health is what one check found.
type health struct {
	known                     bool
	alive                     bool
	failures                  int // in a row
	firstSuccess, lastSuccess time.Time
	lastFailure               time.Time
	cause                     string
}

func (h *health) found(alive bool, cause string, now time.Time) {
	h.known, h.alive = true, alive
	if alive {
		if h.firstSuccess.IsZero() {
			h.firstSuccess = now
		}
		h.lastSuccess, h.failures, h.cause = now, 0, ""
		return
	}
	h.lastFailure, h.cause = now, cause
	h.failures++
}

// leave has everything that attends to the task end.
func (t *task) leave() {
	if !t.gone {
		t.gone = true
		close(t.left)
	}
}

// healthy reports whether all checks say that it is alive.
func (t *task) healthy() bool {
	for _, h := range t.health {
		if !h.known || !h.alive {
			return false
		}
	}
	return true
}

// current reports whether it is of the app as it is now, but for its number of
// instances.
func (t *task) current() bool { return t.version >= t.app.configured }

// The states of tasks that the cluster itself gives.
const (
	staging = "TASK_STAGING"
	running = "TASK_RUNNING"
	killing = "TASK_KILLING"
	killed  = "TASK_KILLED"
	failed  = "TASK_FAILED"
)

// Task is a task as it stands.
type Task struct {
	ID           string
	App          string // full id
	Version      string // of the app when it was started
	Host         string // of its agent
	IP           string // its own, or that of the network of its agent
	Ports        []int  // of its agent
	ServicePorts []int
	State        string
	Health       []bool // what checks found; empty as long as they have not been made
}

// Tasks returns the tasks of an app, the eldest first; none if there is no such
// app.
func (c *Cluster) Tasks(id string) []Task {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.apps[id]
	if a == nil {
		return nil
	}
	all := make([]Task, 0, len(a.tasks))
	for _, t := range a.tasks {
		seen := Task{
			ID: t.id, App: a.id, Version: t.version, Host: t.agent.Host, IP: t.ip,
			Ports: slices.Clone(t.ports), ServicePorts: slices.Clone(t.services), State: t.state,
		}
		for _, h := range t.health {
			if h.known {
				seen.Health = append(seen.Health, h.alive)
			}
		}
		all = append(all, seen)
	}
	return all
}

// Apps returns the ids of all apps, sorted.
func (c *Cluster) Apps() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.apps))
}

// find returns a task by its id, or nil. The lock is held.
func (c *Cluster) find(id string) *task {
	for _, all := range []map[string]*app{c.apps, c.leaving} {
		for _, a := range all {
			for _, t := range a.tasks {
				if t.id == id {
					return t
				}
			}
		}
	}
	return nil
}

// SetHealth says what the health checks of a task find from now on: one verdict
// for each check, of which the last one is that of all further checks. None
// means that they have not been made yet. With Options.Probe it holds until the
// next check. A task that there is not is left alone.
func (c *Cluster) SetHealth(id string, alive ...bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.find(id)
	if t == nil {
		return
	}
	if len(alive) == 0 {
		clear(t.health)
		t.app.touch()
		return
	}
	for i := range t.health {
		c.examined(t, i, alive[min(i, len(alive)-1)], "told so")
	}
}

// examined counts what a check of a task found. The lock is held.
func (c *Cluster) examined(t *task, check int, alive bool, cause string) {
	h := &t.health[check]
	before, wasKnown, wasHealthy := h.alive, h.known, t.healthy()
	h.found(alive, cause, time.Now())
	t.app.touch()
	if !wasKnown || before != alive {
		c.emitHealth(t, alive)
	}
	if !alive {
		c.emit("failed_health_check_event", map[string]any{"appId": t.app.id, c.taskKey(): c.taskName(t), "healthCheck": map[string]any{"protocol": t.checks[check].Protocol}})
	}
	if now := t.healthy(); now != wasHealthy {
		c.emit("instance_health_changed_event", map[string]any{
			"instanceId": t.instance, "runSpecId": t.app.id, "runSpecVersion": t.version, "healthy": now,
		})
	}
	c.note()
}

// Recheck has all health checks made again of all running tasks of which nothing
// is known, such as after an election: they are alive.
func (c *Cluster) Recheck() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.apps {
		for _, t := range a.tasks {
			for i, h := range t.health {
				if !h.known && t.state == running {
					c.examined(t, i, true, "")
				}
			}
		}
	}
}

// SetReady says what the readiness checks of a task find.
func (c *Cluster) SetReady(id string, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.find(id); t != nil {
		c.setReady(t, ready)
	}
}

func (c *Cluster) setReady(t *task, ready bool) {
	if t.ready == nil {
		t.ready = make(map[string]bool)
	}
	for _, check := range t.app.definition.ReadinessChecks {
		t.ready[check.Name] = ready
	}
	t.app.touch()
	c.note()
}

// SetState gives a task a state, such as TASK_UNREACHABLE, and tells so. What it
// runs goes on.
func (c *Cluster) SetState(id, state string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.find(id); t != nil {
		c.setState(t, state, "")
	}
}

// setState changes the state of a task and tells so. The lock is held.
func (c *Cluster) setState(t *task, state, message string) {
	t.state = state
	t.app.touch()
	c.emit("status_update_event", map[string]any{
		"slaveId": t.agentID, "taskId": t.id, "taskStatus": state, "message": message, "appId": t.app.id,
		"host": t.agent.Host, "ports": notNil(t.ports), "ipAddresses": t.addresses(), "version": t.version,
	})
	c.emit("instance_changed_event", map[string]any{
		"instanceId": t.instance, "condition": condition(state), "runSpecId": t.app.id, "agentId": t.agentID,
		"host": t.agent.Host, "runSpecVersion": t.version,
	})
	c.note()
}

// condition is a state as events of instances have it: TASK_RUNNING is Running.
func condition(state string) string {
	word := strings.ToLower(strings.TrimPrefix(state, "TASK_"))
	if word == "" {
		return "Unknown"
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

// addresses are a task's IP addresses as tasks and events have them.
func (t *task) addresses() []map[string]string {
	ip := net.ParseIP(t.ip)
	if ip == nil {
		return []map[string]string{}
	}
	protocol := "IPv4"
	if ip.To4() == nil {
		protocol = "IPv6"
	}
	return []map[string]string{{"ipAddress": t.ip, "protocol": protocol}}
}

// Fail has a task end by itself. Marathon starts another one in its place, unless
// deployments go by hand.
func (c *Cluster) Fail(id string) {
	c.mu.Lock()
	t := c.find(id)
	c.mu.Unlock()
	if t != nil {
		c.lost(t, "Command exited with status 1", false)
	}
}

// lost takes away a task that has ended. Unless deployments go by hand, the app
// is given another one: at once, or after a while if wait is set.
func (c *Cluster) lost(t *task, message string, wait bool) {
	c.mu.Lock()
	if t.gone || t.stopping {
		c.mu.Unlock()
		return
	}
	c.remove(t, failed, message)
	if wait && !c.o.ByHand {
		c.later(func(ctx context.Context) {
			late := time.NewTimer(restartDelay)
			defer late.Stop()
			select {
			case <-ctx.Done():
			case <-late.C:
				c.replenish(t.app)
			}
		})
	}
	c.mu.Unlock()
	stopAll([]*task{t})
	if !wait && !c.o.ByHand {
		c.replenish(t.app)
	}
}

// restartDelay is how long an app waits for another task after one that did not
// end well. It keeps one that never starts from taking all of the machine.
const restartDelay = time.Second

// replenish starts the tasks that an app lacks.
func (c *Cluster) replenish(a *app) {
	c.mu.Lock()
	var fresh []*task
	if c.apps[a.id] == a && !c.over {
		for n := a.current(); n < a.instances; n++ {
			fresh = append(fresh, c.stage(a))
		}
	}
	c.mu.Unlock()
	c.startAll(fresh)
	if !c.o.Probe {
		c.pass(fresh)
	}
}

// current returns how many tasks are of the app as it is now. The lock is held.
func (a *app) current() (n int) {
	for _, t := range a.tasks {
		if t.current() {
			n++
		}
	}
	return n
}

// remove takes a task off its app. The lock is held; the process is stopped by
// the caller, without it.
func (c *Cluster) remove(t *task, state, message string) {
	if t.gone {
		return
	}
	t.leave()
	c.tasks--
	t.app.tasks = slices.DeleteFunc(t.app.tasks, func(other *task) bool { return other == t })
	c.setState(t, state, message)
}

// stopAll ends the processes of tasks, all at once, and waits for them.
func stopAll(tasks []*task) {
	done := make(chan struct{})
	n := 0
	for _, t := range tasks {
		if p := t.process; p != nil {
			n++
			go func() {
				p.Stop()
				done <- struct{}{}
			}()
		}
	}
	for range n {
		<-done
	}
}

// stage makes a task that waits to be started. The lock is held.
func (c *Cluster) stage(a *app) *task {
	c.count++
	c.tasks++
	agent := c.o.Agents[c.nextAgent%len(c.o.Agents)]
	t := &task{
		app: a, version: a.version, agent: agent, agentID: fmt.Sprintf("f0f0f0f0-0000-4000-8000-000000000000-S%d", c.nextAgent%len(c.o.Agents)),
		state: staging, staged: time.Now(), left: make(chan struct{}),
		checks: a.checks, health: make([]health, len(a.checks)),
	}
	c.nextAgent++
	t.id, t.instance = c.taskIDs(a.id, c.count)
	for _, p := range a.ports {
		t.services = append(t.services, p.service)
	}
	switch a.networking {
	case hostNetwork:
		if net.ParseIP(agent.Host) != nil {
			t.ip = agent.Host
		}
	case bridgeNetwork:
		c.nextIP++
		t.ip = address(172, 17, c.nextIP)
	case containerNetwork:
		c.nextIP++
		if t.ip = address(9, 0, c.nextIP); c.o.Runner != nil {
			t.ip = address(127, 1, c.nextIP) // where a process of this machine can listen
		}
	}
	t.ports = c.hostPorts(a)
	a.tasks = append(a.tasks, t)
	c.setState(t, staging, "")
	return t
}

// address is the nth address of a network of 16 bits.
func address(a, b byte, n int) string {
	return net.IPv4(a, b, byte(n/250), byte(1+n%250)).String()
}

// hostPorts makes up the ports of an agent that a task is given.
func (c *Cluster) hostPorts(a *app) []int {
	var ports []int
	for _, p := range a.ports {
		switch {
		case a.requirePorts():
			ports = append(ports, p.service)
		case a.networking == containerNetwork && p.host == nil:
		case deref(p.host) > 0:
			ports = append(ports, *p.host)
		default:
			if c.nextPort++; c.nextPort > 65000 {
				c.nextPort = 31000
			}
			ports = append(ports, c.nextPort)
		}
	}
	return ports
}

// taskIDs are the ids of a task and its instance in the form of the version.
func (c *Cluster) taskIDs(app string, n int) (id, instance string) {
	safe := strings.ReplaceAll(app[1:], "/", "_")
	unique := fmt.Sprintf("%08x-0000-11f0-8000-%012x", n, n)
	switch {
	case c.release <= 4:
		return safe + "." + unique, safe + "." + unique
	case c.release <= 7:
		return safe + "." + unique, safe + ".marathon-" + unique
	default:
		return safe + ".instance-" + unique + "._app.1", safe + ".instance-" + unique
	}
}

// startAll starts what tasks are and has them running, without the lock.
func (c *Cluster) startAll(tasks []*task) {
	for _, t := range tasks {
		if err := c.start(t); err != nil {
			c.o.Log.Warn("a task cannot be started", "task", t.id, "error", err)
			c.lost(t, err.Error(), true)
		}
	}
}

func (c *Cluster) start(t *task) error {
	l := c.launch(t)
	var p Process
	if c.o.Runner != nil {
		var err error
		if p, err = c.o.Runner.Start(l); err != nil {
			return err
		}
	}
	c.mu.Lock()
	if t.gone || c.over {
		c.mu.Unlock()
		if p != nil {
			p.Stop()
		}
		return nil
	}
	if p != nil {
		t.process = p
		t.listens = slices.Clone(p.Ports())
		if t.app.networking != containerNetwork {
			t.ports = slices.Clone(t.listens)
		}
	}
	t.started = time.Now()
	c.setState(t, running, "")
	c.attend(t)
	c.mu.Unlock()
	return nil
}

// launch says what is to be started.
func (c *Cluster) launch(t *task) Launch {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := t.app
	l := Launch{App: a.id, Task: t.id, Version: t.version, Image: a.image, Address: t.agent.Host, Env: map[string]string{
		"HOST": t.agent.Host, "MESOS_TASK_ID": t.id, "MARATHON_APP_ID": a.id, "MARATHON_APP_VERSION": t.version,
		"MARATHON_APP_DOCKER_IMAGE": a.image,
	}}
	for name, value := range a.definition.Env {
		if text, ok := value.(string); ok { // the others are secrets
			l.Env[name] = text
		}
	}
	for _, p := range a.ports {
		switch {
		case a.networking == containerNetwork:
			l.Address = t.ip
			l.Ports = append(l.Ports, p.container)
		case a.requirePorts():
			l.Ports = append(l.Ports, p.service)
		default:
			l.Ports = append(l.Ports, deref(p.host))
		}
	}
	return l
}

// attend has a task that runs looked after: its checks, and its end. The lock
// is held.
func (c *Cluster) attend(t *task) {
	if t.process != nil {
		c.later(func(ctx context.Context) {
			select {
			case <-ctx.Done():
			case <-t.left:
			case <-t.process.Done():
				c.lost(t, "Command ended by itself", true)
			}
		})
	}
	if c.o.Probe {
		c.probe(t)
	}
}

// Edit changes what is served of an app from now on, as JSON has it, to
// something that a definition cannot say. It is told to nobody.
func (c *Cluster) Edit(id string, change func(app map[string]any)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.apps[id]; a != nil {
		a.edits = append(a.edits, change)
		a.touch()
	}
}

// Fill deploys many apps at once, which tell nobody and run nothing: /filled-0000
// and so on, each with so many tasks, all alive.
func (c *Cluster) Fill(apps, tasksEach int) {
	for n := range apps {
		id := fmt.Sprintf("/filled-%04d", n)
		text, err := json.Marshal(map[string]any{
			"id": id, "instances": tasksEach, "labels": map[string]string{"filled": strconv.Itoa(n % 10), "hash": hex.EncodeToString([]byte(id))},
			"container": map[string]any{"type": "DOCKER", "docker": map[string]any{
				"image": "example/filled:" + strconv.Itoa(n%7), "network": "BRIDGE",
				"portMappings": []any{map[string]any{"containerPort": 8080, "labels": map[string]string{"VIP_0": id + ":80"}}},
			}},
			"healthChecks": []any{map[string]any{"protocol": "MESOS_HTTP", "path": "/health"}},
		})
		if err == nil {
			err = c.fill(text)
		}
		if err != nil {
			panic(err) // it is our own definition
		}
	}
}

func (c *Cluster) fill(text []byte) error {
	raw, d, err := parseDefinition(text, "", nil)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := c.streams
	c.streams = nil
	defer func() { c.streams = quiet }()
	a := c.adopt(raw, d)
	for len(a.tasks) < a.instances {
		t := c.stage(a)
		t.state, t.started = running, t.staged
		for i := range t.health {
			t.health[i].found(true, "", t.started)
		}
	}
	a.touch()
	return nil
}
