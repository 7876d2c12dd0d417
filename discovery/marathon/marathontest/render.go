// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"encoding/json"
	"maps"
	"time"
)

// embeds say what a call asks to have embedded.
type embeds uint8

const (
	withTasks embeds = 1 << iota
	withDeployments
	withReadiness
	withCounts
	withFailure
)

// serve returns an app as it is served. The lock is held; what is returned is
// never changed.
func (c *Cluster) serve(a *app, with embeds) []byte {
	if text := a.shown[with]; text != nil {
		return text
	}
	shown := c.define(a)
	if with&withTasks != 0 {
		tasks := make([]any, 0, len(a.tasks))
		for _, t := range a.tasks {
			tasks = append(tasks, c.showTask(t))
		}
		shown["tasks"] = tasks
	}
	if with&withDeployments != 0 {
		under := []any{}
		if d := c.locks[a.id]; d != nil {
			under = append(under, map[string]string{"id": d.id})
		}
		shown["deployments"] = under
	}
	if with&withReadiness != 0 {
		shown["readinessCheckResults"] = c.showReadiness(a)
	}
	if with&withCounts != 0 {
		maps.Copy(shown, counts(a))
	}
	if with&withFailure != 0 {
		c.optional(shown, "lastTaskFailure", nil, false)
	}
	text, err := json.Marshal(shown)
	if err == nil && len(a.edits) > 0 {
		text, err = edit(text, a.edits)
	}
	if err != nil {
		panic(err) // all of it came from JSON
	}
	a.shown[with] = text
	return text
}

// edit changes what is served, on a copy: edits may change any part of it.
func edit(text []byte, edits []func(map[string]any)) ([]byte, error) {
	var app map[string]any
	if err := json.Unmarshal(text, &app); err != nil {
		return nil, err
	}
	for _, change := range edits {
		change(app)
	}
	return json.Marshal(app)
}

// optional sets a field that may have no value.
func (c *Cluster) optional(m map[string]any, name string, value any, has bool) {
	switch {
	case has:
		m[name] = value
	case c.o.Nulls:
		m[name] = nil
	default:
		delete(m, name)
	}
}

// define returns an app without anything embedded, in the shape of the version.
// The lock is held.
func (c *Cluster) define(a *app) map[string]any {
	shown := maps.Clone(a.raw)
	for _, field := range []string{"cmd", "args", "user", "env", "constraints", "healthChecks", "readinessChecks", "labels", "taskKillGracePeriodSeconds", "acceptedResourceRoles", "secrets", "dependencies", "gpus", "executor", "role"} {
		value, has := shown[field]
		c.optional(shown, field, value, has && value != nil)
	}
	shown["instances"] = a.instances
	shown["requirePorts"] = a.definition.RequirePorts
	shown["version"] = a.version
	shown["versionInfo"] = map[string]string{"lastScalingAt": a.scaled, "lastConfigChangeAt": a.configured}
	for _, field := range []string{"networks", "portDefinitions", "ports", "ipAddress", "container"} {
		delete(shown, field)
	}
	if c.release <= 4 {
		c.defineOld(a, shown)
	} else {
		c.defineNew(a, shown)
	}
	return shown
}

// defineNew writes ports and networks as Marathon 1.5 and later do.
func (c *Cluster) defineNew(a *app, shown map[string]any) {
	entry := map[string]any{"mode": a.networking.String()}
	c.optional(entry, "name", a.network, a.network != "")
	shown["networks"] = []any{entry}
	c.optional(shown, "ipAddress", nil, false)
	isHost := a.networking == hostNetwork
	c.optional(shown, "portDefinitions", c.portDefinitions(a), isHost)
	c.optional(shown, "ports", servicePorts(a), isHost)
	box, has := containerOf(a)
	if !has && isHost {
		c.optional(shown, "container", nil, false)
		return
	}
	if d, ok := box["docker"].(map[string]any); ok {
		d = maps.Clone(d)
		delete(d, "network")
		delete(d, "portMappings")
		box["docker"] = d
	}
	c.optional(box, "portMappings", c.portMappings(a), !isHost)
	shown["container"] = box
}

// defineOld writes them as Marathon 1.4 does.
func (c *Cluster) defineOld(a *app, shown map[string]any) {
	c.optional(shown, "networks", nil, false)
	box, has := containerOf(a)
	d, isDocker := box["docker"].(map[string]any)
	address := map[string]any{}
	c.optional(address, "networkName", a.network, a.network != "")
	switch {
	case isDocker:
		delete(box, "portMappings")
		d = maps.Clone(d)
		d["network"] = a.networking.docker()
		c.optional(d, "portMappings", c.portMappings(a), a.networking != hostNetwork)
		box["docker"] = d
		shown["container"] = box
	case has:
		delete(box, "portMappings")
		shown["container"] = box
	default:
		c.optional(shown, "container", nil, false)
	}
	if a.networking == containerNetwork && !isDocker {
		ports := []any{}
		for _, p := range a.ports {
			entry := map[string]any{"number": p.container, "protocol": protocolOf(p), "name": p.name}
			c.optional(entry, "labels", p.labels, len(p.labels) > 0)
			ports = append(ports, entry)
		}
		address["discovery"] = map[string]any{"ports": ports}
	}
	c.optional(shown, "ipAddress", address, a.networking == containerNetwork)
	if a.networking == containerNetwork {
		shown["ports"], shown["portDefinitions"] = []int{}, []any{}
		return
	}
	shown["ports"], shown["portDefinitions"] = servicePorts(a), c.portDefinitions(a)
}

// containerOf returns the container of an app as it was defined, as a copy of
// its own, and whether there was one.
func containerOf(a *app) (map[string]any, bool) {
	box, ok := a.raw["container"].(map[string]any)
	if !ok {
		return map[string]any{"type": "MESOS"}, false
	}
	box = maps.Clone(box)
	if box["type"] == nil {
		box["type"] = "DOCKER"
	}
	if box["docker"] == nil {
		delete(box, "docker")
	}
	return box, true
}

func protocolOf(p port) string {
	if p.protocol == "" {
		return "tcp"
	}
	return p.protocol
}

func (c *Cluster) portMappings(a *app) []any {
	all := []any{}
	for _, p := range a.ports {
		m := map[string]any{"containerPort": p.container, "servicePort": p.service, "protocol": protocolOf(p)}
		c.optional(m, "hostPort", p.host, p.host != nil)
		c.optional(m, "name", p.name, p.name != "")
		c.optional(m, "labels", p.labels, len(p.labels) > 0)
		c.optional(m, "networkNames", p.networks, len(p.networks) > 0)
		all = append(all, m)
	}
	return all
}

func (c *Cluster) portDefinitions(a *app) []any {
	all := []any{}
	for _, p := range a.ports {
		m := map[string]any{"port": p.service, "protocol": protocolOf(p)}
		c.optional(m, "name", p.name, p.name != "")
		c.optional(m, "labels", p.labels, len(p.labels) > 0)
		all = append(all, m)
	}
	return all
}

func servicePorts(a *app) []int {
	all := []int{}
	for _, p := range a.ports {
		all = append(all, p.service)
	}
	return all
}

func notNil(ports []int) []int {
	if ports == nil {
		return []int{}
	}
	return ports
}

// when is a time as Marathon writes it.
func when(t time.Time) string { return t.UTC().Format(versions) }

// showTask returns a task as it is served. The lock is held.
func (c *Cluster) showTask(t *task) map[string]any {
	shown := map[string]any{
		"id": t.id, "appId": t.app.id, "host": t.agent.Host, "ports": notNil(t.ports), "state": t.state,
		"slaveId": t.agentID, "version": t.version, "stagedAt": when(t.staged),
	}
	c.optional(shown, "servicePorts", t.services, t.services != nil)
	c.optional(shown, "ipAddresses", t.addresses(), t.ip != "" && t.state != staging)
	c.optional(shown, "startedAt", when(t.started), !t.started.IsZero())
	var results []any
	for _, h := range t.health {
		if h.known {
			results = append(results, c.showHealth(t, h))
		}
	}
	c.optional(shown, "healthCheckResults", results, len(results) > 0)
	if c.release >= 6 {
		c.optional(shown, "region", t.agent.Region, t.agent.Region != "")
		c.optional(shown, "zone", t.agent.Zone, t.agent.Zone != "")
	}
	if c.release >= 9 {
		shown["role"] = "*"
	}
	return shown
}

// taskKey and taskName are how health results and events name a task.
func (c *Cluster) taskKey() string {
	if c.release <= 4 {
		return "taskId"
	}
	return "instanceId"
}

func (c *Cluster) taskName(t *task) string {
	if c.release <= 4 {
		return t.id
	}
	return t.instance
}

func (c *Cluster) showHealth(t *task, h health) map[string]any {
	shown := map[string]any{"alive": h.alive, "consecutiveFailures": h.failures, c.taskKey(): c.taskName(t)}
	c.optional(shown, "firstSuccess", when(h.firstSuccess), !h.firstSuccess.IsZero())
	c.optional(shown, "lastSuccess", when(h.lastSuccess), !h.lastSuccess.IsZero())
	c.optional(shown, "lastFailure", when(h.lastFailure), !h.lastFailure.IsZero())
	c.optional(shown, "lastFailureCause", h.cause, h.cause != "")
	return shown
}

// showReadiness returns the results of readiness checks, which there are only of
// tasks that a deployment has started.
func (c *Cluster) showReadiness(a *app) []any {
	results := []any{}
	d := c.locks[a.id]
	if d == nil {
		return results
	}
	for _, t := range d.fresh {
		if t.gone || t.state != running {
			continue
		}
		for _, check := range a.definition.ReadinessChecks {
			ready := t.ready[check.Name]
			r := map[string]any{"name": check.Name, "taskId": t.id, "ready": ready}
			status := 503
			if ready {
				status = 200
			}
			c.optional(r, "lastResponse", map[string]any{"status": status, "contentType": "text/plain", "body": ""}, true)
			results = append(results, r)
		}
	}
	return results
}

func counts(a *app) map[string]any {
	var staged, up, healthy, unhealthy int
	for _, t := range a.tasks {
		if t.state == staging {
			staged++
			continue
		}
		up++
		if len(t.health) == 0 {
			continue
		}
		bad := false
		for _, h := range t.health {
			bad = bad || h.known && !h.alive
		}
		switch {
		case bad:
			unhealthy++
		case t.healthy():
			healthy++
		}
	}
	return map[string]any{"tasksStaged": staged, "tasksRunning": up, "tasksHealthy": healthy, "tasksUnhealthy": unhealthy}
}
