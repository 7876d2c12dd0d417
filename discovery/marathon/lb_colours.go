// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// colour is what an app says of its deployment group, of which the older app
// makes way for the newer one.
type colour struct {
	group   string    // with a slash at its beginning; empty if it is of none
	started time.Time // zero is earlier than any other
	// target is how many tasks of both are to serve, 0 if it is not told.
	target    int
	newcomers bool // tasks were added to one of both on purpose
}

func (r *labelReader) coloured(value string) {
	value = strings.TrimSpace(value)
	if group := "/" + strings.TrimPrefix(value, "/"); selectable(group) {
		r.read.colour.group = group
		return
	}
	r.say(Wrong, quoted(value)+" is no name of a group: letters, digits and /._- are allowed")
}

// selectable reports whether a text can be the id of an app, and stand in a selector.
func selectable(text string) bool {
	return len(text) > 1 && len(text) <= 512 && text[0] == '/' && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/._-", c)
	})
}

func (r *labelReader) started(value string) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(form, strings.TrimSpace(value)); err == nil {
			r.read.colour.started = t
			return
		}
	}
	r.say(Wrong, quoted(value)+" is no time such as 2026-01-02T15:04:05Z, so the app counts as the older one")
}

func (r *labelReader) wanted(value string) {
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 1 {
		r.say(Wrong, quoted(value)+" is no number of tasks, so none is taken out")
		return
	}
	r.read.colour.target = n
}

func (r *labelReader) newcomers(value string) {
	if _, err := strconv.Atoi(strings.TrimSpace(value)); err != nil {
		r.say(Wrong, quoted(value)+" is no number of tasks, so it counts as missing")
		return
	}
	r.read.colour.newcomers = true
}

// painted is an app with what it says of its deployment group.
type painted struct {
	*app
	colour
}

// elders sorts the apps of a deployment group, the oldest first.
func elders(apps []painted) []painted {
	slices.SortFunc(apps, func(a, b painted) int { return cmp.Or(a.started.Compare(b.started), strings.Compare(a.id, b.id)) })
	if len(apps) == 2 && apps[1].newcomers && apps[0].scaled.After(apps[1].scaled) {
		slices.Reverse(apps)
	}
	return apps
}

// rests returns which tasks of the older of two apps get no new requests, by
// id; nil if none does. Requests under way go on.
func rests(apps []painted, alive func(a *app, t *task) bool) map[string]bool {
	if len(apps) != 2 {
		return nil
	}
	older, newer, target := apps[0], apps[1], 1
	if newer.newcomers || older.newcomers {
		if target = cmp.Or(newer.target, older.target); target == 0 {
			return nil
		}
	}
	healthy := 0
	for i := range newer.tasks {
		if t := &newer.tasks[i]; len(newer.checks) == 0 && t.state == stateRunning || len(newer.checks) > 0 && alive(newer.app, t) {
			healthy++
		}
	}
	if len(newer.checks) == 0 { // marathon-lb takes all that are asked for as healthy, also those that do not run yet
		healthy = min(healthy, newer.instances)
	}
	var ids []string
	for i := range older.tasks {
		if t := &older.tasks[i]; t.state == stateRunning || t.state == stateLost {
			ids = append(ids, t.id)
		}
	}
	slices.Sort(ids)
	n := tooMany(len(ids), healthy, older.instances, target)
	if n == 0 {
		return nil
	}
	resting := make(map[string]bool, n)
	for _, id := range ids[:n] {
		resting[id] = true
	}
	return resting
}

// tooMany returns how many of the tasks of an older app are not needed, where
// it has some, healthy ones of the newer app are there, instances of the older
// one are asked for, and target of both.
func tooMany(tasks, healthy, instances, target int) int {
	return min(tasks, healthy, max(0, healthy+instances-target))
}
