// SPDX-License-Identifier: Apache-2.0

package marathon

import "time"

// memory is what is remembered of an app: no more than of the tasks that it
// had when it was last asked for.
type memory struct {
	specs map[string]*spec   // by version, of the app and of its tasks
	tasks map[string]verdict // by id, of those that are checked
	due   time.Time          // when the verdict of a task changes by time alone; zero for never
}

// verdict is what was last known of a task.
type verdict struct {
	health health
	served bool // it was fit for traffic
}

// youth is how much older than the timeout of a readiness check a task must be
// of which the check says nothing: then it is from before the deployment.
const youth = 5 * time.Second

// judge reports whether a task may take traffic, as far as its checks go, and
// what is to be remembered of it.
//
// What health checks said counts until they say something else: after a change
// of leader Marathon has forgotten it for a while. A task of which nothing was
// ever said is not fit.
func (c *cluster) judge(a *app, s *spec, t *task, now time.Time, m, next *memory) bool {
	if len(s.checks) == 0 && len(s.readiness) == 0 {
		return true
	}
	v := m.tasks[t.id]
	switch h := s.health(a, t); {
	case len(s.checks) == 0:
		v.health = healthAlive
	case h != healthUnknown:
		v.health = h
	}
	fit := v.health == healthAlive && isReady(a, s, t, v, now, next)
	v.served = v.served || fit
	next.tasks[t.id] = v
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
	old := t.started.Add(age)
	if v.served || !now.Before(old) {
		return true
	}
	if next.due.IsZero() || old.Before(next.due) {
		next.due = old
	}
	return false
}
