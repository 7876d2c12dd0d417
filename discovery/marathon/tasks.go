// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"slices"
	"strings"
	"time"
)

// memory is what is remembered of an app: no more than of the tasks that it
// had when it was last asked for.
type memory struct {
	version string // of the app
	spec    *spec
	older   []versioned // other versions of which there are tasks
	tasks   []verdict   // of those that are checked, by id
	due     time.Time   // when the verdict of a task changes by time alone; zero for never
}

// versioned is what a version of an app said.
type versioned struct {
	version string
	spec    *spec
}

// of returns what a version of the app said, nil if that is not known.
func (m *memory) of(version string) *spec {
	if version == m.version {
		return m.spec
	}
	for _, v := range m.older {
		if v.version == version {
			return v.spec
		}
	}
	return nil
}

// task returns what is known of a task.
func (m *memory) task(id string) verdict {
	at, found := slices.BinarySearchFunc(m.tasks, id, func(v verdict, id string) int { return strings.Compare(v.id, id) })
	if !found {
		return verdict{id: id}
	}
	return m.tasks[at]
}

// verdict is what was last known of a task.
type verdict struct {
	id     string
	health health
	served bool // it was fit for traffic
}

// youth is how much older than the timeout of a readiness check a task must be
// of which the check says nothing: then it is from before the deployment.
const youth = 5 * time.Second

// judge reports whether a task may take traffic, as far as its checks go, and
// remembers that, task by task in the order of their ids.
//
// What health checks said counts until they say something else: after a change
// of leader Marathon has forgotten it for a while. A task of which nothing was
// ever said is not fit.
func (c *cluster) judge(a *app, s *spec, t *task, now time.Time, m, next *memory) bool {
	if len(s.checks) == 0 && len(s.readiness) == 0 {
		return true
	}
	v := m.task(t.id)
	switch h := s.health(a, t); {
	case len(s.checks) == 0:
		v.health = healthAlive
	case h != healthUnknown:
		v.health = h
	}
	fit := v.health == healthAlive && isReady(a, s, t, v, now, next)
	v.served = v.served || fit
	next.tasks = append(next.tasks, v)
	return fit
}

// health returns what the health checks of s say of a task: all must say that
// it is alive.
func (s *spec) health(a *app, t *task) health {
	switch {
	case s == a.spec || t.health == healthDead:
		return t.health
	case int(t.alive) >= len(s.checks):
		return healthAlive
	}
	return healthUnknown
}

// isReady reports whether a task is ready, which is asked while a deployment
// runs: the check says so, or the task was there before.
func isReady(a *app, s *spec, t *task, v verdict, now time.Time, next *memory) bool {
	if !a.deploying || len(s.readiness) == 0 || t.readiness == readinessPassed {
		return true
	}
	if t.readiness == readinessFailed {
		return false
	}
	age := youth
	for _, r := range s.readiness {
		age = max(age, r.timeout+youth)
	}
	old := t.since().Add(age)
	if v.served || !now.Before(old) {
		return true
	}
	if next.due.IsZero() || old.Before(next.due) {
		next.due = old
	}
	return false
}
