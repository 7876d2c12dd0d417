// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Phase is how far a deployment has come. What each phase brings about is there
// once Deployment.Phase says so.
type Phase uint8

// The phases of a deployment, in their order. Those that a deployment does not
// need pass without a change.
const (
	// Begun is its beginning: the app is what it is to be, its tasks are as
	// they were. An app that is removed is gone, its tasks run on.
	Begun Phase = iota
	// Staged: the new tasks are there, as TASK_STAGING.
	Staged
	// Running: they run. Nothing is known of their health, and they are not
	// ready.
	Running
	// Healthy: the health checks found them alive.
	Healthy
	// Ready: so did the readiness checks.
	Ready
	// Killing: the old tasks are being killed, which Options.Killing shows. They
	// still run.
	Killing
	// Over: they are gone, and the deployment has succeeded.
	Over
)

// String returns the name of the phase in lower case.
func (p Phase) String() string {
	names := [...]string{"begun", "staged", "running", "healthy", "ready", "killing", "over"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Deployment is a change of one app under way. All of its new tasks go through
// each phase together, whatever the app's upgrade strategy says.
type Deployment struct {
	c       *Cluster
	id      string
	app     *app
	version string
	action  string

	step sync.Mutex // held while it moves from one phase to the next

	// The lock of the cluster guards what follows.
	phase     Phase
	fresh     []*task // that it has started
	leaving   []*task // that it has end
	cancelled bool
	done      chan struct{}
}

// ErrLocked reports an app that another deployment holds.
var ErrLocked = errors.New("app is locked by one or more deployments")

// ErrMissing reports an app that there is not.
var ErrMissing = errors.New("app does not exist")

// ErrFull reports that the cluster can take no more tasks.
var ErrFull = errors.New("the cluster can take no more tasks")

// ID returns the id by which Marathon names it.
func (d *Deployment) ID() string { return d.id }

// App returns the full id of the app that it changes.
func (d *Deployment) App() string { return d.app.id }

// Done is closed when it is over, or was cancelled by another one.
func (d *Deployment) Done() <-chan struct{} { return d.done }

// Phase returns how far it has come.
func (d *Deployment) Phase() Phase {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return d.phase
}

// Finish takes it through all phases that are left.
func (d *Deployment) Finish() { d.StepTo(Over) }

// StepTo takes it to a phase, through those before.
func (d *Deployment) StepTo(p Phase) {
	for d.Phase() < p {
		if !d.Step() {
			return
		}
	}
}

// Step takes it to the next phase, and reports whether there was one. One that
// was cancelled has none.
func (d *Deployment) Step() bool {
	d.step.Lock()
	defer d.step.Unlock()
	c := d.c
	c.mu.Lock()
	if d.phase == Over || d.cancelled || c.over {
		c.mu.Unlock()
		return false
	}
	next := d.phase + 1
	fresh := slices.Clone(d.fresh)
	switch next {
	case Staged:
		d.stage()
	case Killing:
		d.leaving = d.old()
		for _, t := range d.leaving {
			t.stopping = true
			if c.o.Killing {
				c.setState(t, killing, "Killed task")
			}
		}
	default:
	}
	leaving := d.leaving
	c.mu.Unlock()

	switch next {
	case Running:
		c.startAll(fresh)
	case Healthy:
		if !c.o.Probe {
			c.pass(fresh)
		}
	case Ready:
		c.mu.Lock()
		for _, t := range fresh {
			c.setReady(t, true)
		}
		c.mu.Unlock()
	case Over:
		stopAll(leaving)
	default:
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if d.cancelled {
		return false
	}
	d.phase = next
	if next == Over {
		for _, t := range leaving {
			c.remove(t, killed, "Command terminated with signal Terminated")
		}
		d.end()
	}
	d.app.touch()
	c.note()
	return true
}

// stage makes the tasks that the app lacks. The lock is held.
func (d *Deployment) stage() {
	if d.c.apps[d.app.id] != d.app {
		return
	}
	for n := d.app.current(); n < d.app.instances; n++ {
		d.fresh = append(d.fresh, d.c.stage(d.app))
	}
}

// old returns the tasks that are to go: those of former versions, and of the
// others the youngest if there are too many. The lock is held.
func (d *Deployment) old() (old []*task) {
	keep := d.app.instances
	if d.c.apps[d.app.id] != d.app {
		keep = 0
	}
	for _, t := range d.app.tasks {
		if keep > 0 && t.current() {
			keep--
			continue
		}
		old = append(old, t)
	}
	return old
}

// end tells that the deployment is over. The lock is held.
func (d *Deployment) end() {
	c := d.c
	c.emitPlan("deployment_step_success", d, "plan", "currentStep")
	c.emitPlan("deployment_success", d, "plan")
	if c.apps[d.app.id] != d.app {
		delete(c.leaving, d.app.id)
		c.emit("app_terminated_event", map[string]any{"appId": d.app.id})
	}
	d.unlock()
}

// unlock lets go of the app. The lock of the cluster is held.
func (d *Deployment) unlock() {
	if d.c.locks[d.app.id] == d {
		delete(d.c.locks, d.app.id)
	}
	d.c.order = slices.DeleteFunc(d.c.order, func(other *Deployment) bool { return other == d })
	close(d.done)
}

// cancel ends it as it stands; what was to go stays until another one has it go.
// The lock of the cluster is held.
func (d *Deployment) cancel() {
	d.cancelled = true
	for _, t := range d.leaving {
		t.stopping = false
		if t.state == killing {
			d.c.setState(t, running, "")
		}
	}
	d.c.emitPlan("deployment_failed", d, "plan")
	d.unlock()
}

// run takes a deployment to its end, as its checks allow.
func (d *Deployment) run(ctx context.Context) {
	for ctx.Err() == nil {
		if d.c.await(ctx, d.mayStep) != nil || !d.Step() {
			return
		}
	}
}

// mayStep reports whether what the next phase waits for is there. The lock is
// held.
func (d *Deployment) mayStep() bool {
	if d.cancelled || d.c.over {
		return true
	}
	if !d.c.o.Probe {
		return true
	}
	switch d.phase {
	case Running, Healthy:
		return d.fulfilled()
	default:
	}
	return true
}

// fulfilled reports whether the app has as many tasks of its version as it
// should, all of them healthy. The lock is held.
func (d *Deployment) fulfilled() bool {
	healthy := 0
	for _, t := range d.app.tasks {
		if t.current() && t.state == running && t.healthy() {
			healthy++
		}
	}
	return d.c.apps[d.app.id] != d.app || healthy >= d.app.instances
}

// pass has all checks of tasks find them alive.
func (c *Cluster) pass(tasks []*task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range tasks {
		for i := range t.health {
			if !t.gone {
				c.examined(t, i, true, "")
			}
		}
	}
}

// event is the payload of an event of the deployment.
func (d *Deployment) event(parts ...string) map[string]any {
	e := map[string]any{"id": d.id}
	actions := []any{map[string]any{"action": d.action, "app": d.app.id}}
	for _, part := range parts {
		switch part {
		case "plan":
			e["plan"] = map[string]any{"id": d.id, "version": d.version, "steps": []any{map[string]any{"actions": actions}}}
		case "currentStep":
			e["currentStep"] = map[string]any{"actions": actions}
		}
	}
	return e
}

// Deploy creates the app that a definition names, or changes it to that: fields
// that the definition leaves out stay as they are. A definition is JSON as POST
// /v2/apps takes it. Deploy panics if it is none, or if another deployment holds
// the app, which are mistakes of the test; see Put.
//
// Without Options.ByHand the deployment is over when Deploy returns; with
// Options.Probe it goes on beside.
func (c *Cluster) Deploy(definition string) *Deployment {
	return must(c.Put(definition, false))
}

func must(d *Deployment, err error) *Deployment {
	if err != nil {
		panic(err)
	}
	return d
}

// Put is Deploy for definitions that may be wrong. The error is ErrLocked if
// another deployment holds the app, which force cancels; ErrFull if the cluster
// can take no more tasks; or else what is wrong with the definition.
func (c *Cluster) Put(definition string, force bool) (*Deployment, error) {
	return c.put([]byte(definition), change{force: force})
}

// change is how an app is to be changed.
type change struct {
	id      string // of the app; empty means what the definition says
	force   bool
	create  bool // it must not be there
	update  bool // it must be there
	restart bool
	uri     string // by which call
}

// errExists reports an app that there is.
var errExists = errors.New("an app with that id exists already")

func (c *Cluster) put(text []byte, how change) (*Deployment, error) {
	d, err := c.begin(text, how)
	if err != nil {
		return nil, err
	}
	c.proceed(d)
	return d, nil
}

// proceed takes a deployment as far as the options say.
func (c *Cluster) proceed(d *Deployment) {
	switch {
	case c.o.ByHand:
	case c.o.Probe:
		c.background(d.run)
	default:
		d.Finish()
	}
}

// begin begins a deployment of a definition.
func (c *Cluster) begin(text []byte, how change) (*Deployment, error) {
	// What it is merged with is known by its id only.
	_, first, err := parseDefinition(text, how.id, nil)
	if first == nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.apps[first.ID]
	var fields map[string]any
	if before != nil {
		fields = before.raw
	}
	switch {
	case before != nil && how.create:
		return nil, errExists
	case before == nil && how.update:
		return nil, ErrMissing
	}
	raw, d, err := parseDefinition(text, first.ID, fields)
	if err != nil {
		return nil, err
	}
	if n := d.instances(); n > 0 && c.tasks+n > c.o.MaxTasks {
		return nil, fmt.Errorf("%w: it has %d of %d, and %d are asked for", ErrFull, c.tasks, c.o.MaxTasks, n)
	}
	if before == nil && len(c.apps) >= c.o.MaxTasks {
		return nil, fmt.Errorf("%w, nor apps: it has %d", ErrFull, len(c.apps))
	}
	if err := c.lock(first.ID, how.force); err != nil {
		return nil, err
	}
	action := "RestartApplication"
	switch {
	case before == nil:
		action = "StartApplication"
	case !how.restart && sameConfig(before.raw, raw):
		action = "ScaleApplication"
	}
	a := c.adopt(raw, d)
	if how.restart {
		a.configured = a.version
	}
	c.emit("api_post_event", map[string]any{"clientIp": "127.0.0.1", "uri": how.uri, "appDefinition": c.define(a)})
	return c.deployment(a, action), nil
}

// lock cancels what holds an app, or says that it is held. The lock of the
// cluster is held.
func (c *Cluster) lock(id string, force bool) error {
	holder := c.locks[id]
	if holder == nil {
		return nil
	}
	if !force {
		return fmt.Errorf("%w: %s", ErrLocked, holder.id)
	}
	holder.cancel()
	return nil
}

// deployment begins a deployment of an app. The lock is held.
func (c *Cluster) deployment(a *app, action string) *Deployment {
	c.count++
	d := &Deployment{
		c: c, id: fmt.Sprintf("%08x-aaaa-4000-8000-%012x", c.count, c.count),
		app: a, version: a.version, action: action, done: make(chan struct{}),
	}
	c.locks[a.id] = d
	c.order = append(c.order, d)
	a.touch()
	c.emit("group_change_success", map[string]any{"groupId": "/", "version": a.version})
	c.emitPlan("deployment_info", d, "plan", "currentStep")
	c.note()
	return d
}

// sameConfig reports whether two definitions differ in their number of instances
// at most.
func sameConfig(a, b map[string]any) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	delete(a, "instances")
	delete(b, "instances")
	return reflect.DeepEqual(a, b)
}

// adopt makes a definition the app's. The lock is held.
func (c *Cluster) adopt(raw map[string]any, d *definition) *app {
	before := c.apps[d.ID]
	a := before
	if a == nil {
		// One whose removal was cancelled has tasks yet.
		if a = c.leaving[d.ID]; a == nil {
			a = &app{id: d.ID, shown: make(map[embeds][]byte)}
		}
		delete(c.leaving, d.ID)
		c.apps[d.ID] = a
	}
	now := c.nextVersion()
	if before == nil || !sameConfig(before.raw, raw) {
		a.configured = now
	}
	if before == nil || before.instances != d.instances() {
		a.scaled = now
	}
	ports := d.ports()
	if n, _ := d.networking(); n != containerNetwork || c.release >= 5 || d.IPAddress == nil {
		for i := range ports {
			if ports[i].service == 0 && i < len(a.ports) {
				ports[i].service = a.ports[i].service
			}
			if ports[i].service == 0 {
				if c.nextPublic++; c.nextPublic > maxServicePort {
					c.nextPublic = minServicePort
				}
				ports[i].service = c.nextPublic
			}
		}
	}
	a.raw, a.definition, a.version, a.ports = raw, d, now, ports
	a.instances, a.image, a.checks = d.instances(), d.image(), d.HealthChecks
	a.networking, a.network = d.networking()
	a.touch()
	return a
}

// The service ports that are given to those who ask for none, as Marathon's own
// flags have it.
const minServicePort, maxServicePort = 10_000, 20_000

// versions is how Marathon writes times.
const versions = "2006-01-02T15:04:05.000Z"

// nextVersion returns a version later than all before. The lock is held.
func (c *Cluster) nextVersion() string {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if !now.After(c.stamp) {
		now = c.stamp.Add(time.Millisecond)
	}
	c.stamp = now
	return now.Format(versions)
}

// Scale changes how many tasks an app has. It panics as Deploy does.
func (c *Cluster) Scale(id string, instances int) *Deployment {
	return must(c.put(fmt.Appendf(nil, `{"instances": %d}`, instances), change{id: id, update: true}))
}

// Restart replaces all tasks of an app. It panics as Deploy does.
func (c *Cluster) Restart(id string) *Deployment {
	return must(c.put([]byte("{}"), change{id: id, update: true, restart: true}))
}

// Remove removes an app. It panics if there is none, or if another deployment
// holds it.
func (c *Cluster) Remove(id string) *Deployment {
	d, err := c.take(id, false)
	return must(d, err)
}

// take begins and proceeds with the removal of an app.
func (c *Cluster) take(id string, force bool) (*Deployment, error) {
	c.mu.Lock()
	a := c.apps[id]
	if a == nil {
		c.mu.Unlock()
		return nil, ErrMissing
	}
	if err := c.lock(id, force); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	delete(c.apps, id)
	c.leaving[id] = a
	a.version = c.nextVersion()
	d := c.deployment(a, "StopApplication")
	c.mu.Unlock()
	c.proceed(d)
	return d, nil
}

// Deployments returns those that are under way, the eldest first.
func (c *Cluster) Deployments() []*Deployment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.order)
}
