// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAnOlderAppMakesWay(t *testing.T) {
	for _, tt := range []struct {
		name                              string
		tasks, healthy, instances, target int
		want                              int
	}{
		{"nothing of the new app is healthy", 5, 0, 5, 1, 0},
		{"one for one", 5, 1, 5, 1, 1},
		{"as many as are healthy", 5, 2, 5, 1, 2},
		{"never more than there are", 2, 5, 5, 1, 2},
		{"all of them", 5, 5, 5, 1, 5},
		{"the old app was scaled down already", 5, 3, 0, 1, 2},
		{"and has nothing too many yet", 5, 1, 0, 1, 0},
		{"a target that both reach together", 5, 1, 4, 5, 0},
		{"one above the target", 5, 2, 4, 5, 1},
		{"a target above all that there is", 3, 2, 3, 10, 0},
		{"a target of both halves", 10, 5, 10, 10, 5},
		{"a hybrid that grows", 10, 3, 7, 10, 0},
		{"nothing is left of the old app", 0, 5, 0, 5, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tooMany(tt.tasks, tt.healthy, tt.instances, tt.target); got != tt.want {
				t.Errorf("of %d tasks, with %d healthy new ones, %d asked for and a target of %d, %d rest, want %d",
					tt.tasks, tt.healthy, tt.instances, tt.target, got, tt.want)
			}
		})
	}
}

// side is an app of a deployment group as a case writes it.
type side struct {
	started, scaled string // hours of one day
	instances       int
	states          string // of its tasks: a alive, d dead, s staging, l lost, k killing
	unchecked       bool
	target          int
	newcomers       bool
}

func (s side) app(id string) painted {
	hour := func(text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		at, err := time.Parse("2006-01-02 15", "2026-01-01 "+text)
		if err != nil {
			panic(err)
		}
		return at
	}
	a := &app{id: id, spec: &spec{checks: []check{{}}}, instances: s.instances, scaled: hour(s.scaled)}
	if s.unchecked {
		a.checks = nil
	}
	for i, c := range s.states {
		one := task{id: fmt.Sprintf("%s.%d", id, len(s.states)-i), state: stateRunning, health: healthAlive}
		switch c {
		case 'd':
			one.health = healthDead
		case 's':
			one.state = stateOther
		case 'l':
			one.state = stateLost
		case 'k':
			one.state = stateKilling
		}
		a.tasks = append(a.tasks, one)
	}
	return painted{a, colour{group: "/web", started: hour(s.started), target: s.target, newcomers: s.newcomers}}
}

func TestTasksOfOneOfTwoAppsRest(t *testing.T) {
	for _, tt := range []struct {
		name string
		b, g side // blue and green
		want string
	}{
		{"those first by id", side{started: "01", instances: 3, states: "aaa"}, side{started: "02", instances: 1, states: "a"}, "older /b: /b.1"},
		{"the one that began later is the newer one", side{started: "03", instances: 2, states: "a"}, side{started: "02", instances: 3, states: "aaa"}, "older /g: /g.1"},
		{"without a time it is the older one", side{started: "01", instances: 1, states: "a"}, side{instances: 2, states: "aa"}, "older /g: /g.1"},
		{"of two that began together the first is", side{started: "01", instances: 2, states: "aa"}, side{started: "01", instances: 1, states: "a"}, "older /b: /b.1"},
		{"only healthy ones count", side{started: "01", instances: 3, states: "aaa"}, side{started: "02", instances: 3, states: "ads"}, "older /b: /b.1"},
		{"without checks those that are asked for and run", side{started: "01", instances: 3, states: "aaa"}, side{started: "02", instances: 2, unchecked: true, states: "aaasl"}, "older /b: /b.1 /b.2"},
		{"without checks none that does not run yet", side{started: "01", instances: 3, states: "aaa"}, side{started: "02", instances: 2, unchecked: true, states: "s"}, "older /b:"},
		{"what does not serve need not rest", side{started: "01", instances: 3, states: "lsk"}, side{started: "02", instances: 3, states: "aaa"}, "older /b: /b.3"},
		{"up to the target", side{started: "01", instances: 3, states: "aaaa", target: 4}, side{started: "02", instances: 2, states: "aa", target: 4, newcomers: true}, "older /b: /b.1"},
		{"what was scaled last is the newer one", side{started: "01", scaled: "09", instances: 4, states: "aaaa", target: 4}, side{started: "02", scaled: "08", instances: 2, states: "aa", target: 4, newcomers: true}, "older /g: /g.1 /g.2"},
		{"but only if tasks were added on purpose", side{started: "01", scaled: "09", instances: 2, states: "aa"}, side{started: "02", scaled: "08", instances: 1, states: "a"}, "older /b: /b.1"},
		{"without a target none rests", side{started: "01", instances: 4, states: "aaaa"}, side{started: "02", instances: 2, states: "aa", newcomers: true}, "older /b:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			apps := elders([]painted{tt.b.app("/b"), tt.g.app("/g")})
			resting := rests(apps, newCluster(translateOptions{}).alive)
			got := strings.TrimSpace("older " + apps[0].id + ": " + strings.Join(slices.Sorted(maps.Keys(resting)), " "))
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNothingRestsInAGroupOfOneOrThree(t *testing.T) {
	a := side{started: "01", instances: 1, states: "a"}
	alive := newCluster(translateOptions{}).alive
	for _, apps := range [][]painted{{a.app("/a")}, {a.app("/a"), a.app("/b"), a.app("/c")}} {
		if resting := rests(elders(apps), alive); resting != nil {
			t.Errorf("of %d apps %v rest", len(apps), resting)
		}
	}
}
