// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// app is what counts of an app, whichever Marathon describes it: the fields of
// 1.4 and those of 1.5 and later have become the same. It is not changed once
// it was read.
type app struct {
	id string // absolute, such as /shop/web
	*spec
	version   string    // of its configuration, a time
	changed   time.Time // when it last changed but for its number of instances; zero if that is unknown
	scaled    time.Time // when that number last changed; zero if that is unknown
	instances int       // how many tasks are wanted
	deploying bool      // a deployment of the app runs
	tasks     []task    // by id
}

// spec is what an app says of its tasks. During a deployment there are tasks of
// two versions of it, and each has what its own version said.
type spec struct {
	labels []routing.Label // by name
	image  string
	mode   mode
	ports  []port // by index
	// declared says that ports are all that there are: without it a task has
	// what ports it was given.
	declared  bool
	ipIndex   int // which address of a task counts, as a label says; -1 if none does
	checks    []check
	readiness []readiness
}

// mode is how the tasks of an app are reached.
type mode uint8

const (
	modeHost      mode = iota // at ports of the agent, in its network
	modeBridge                // at ports of the agent, which lead into the container
	modeContainer             // at an address of their own
)

// port is a port as an app declares it.
type port struct {
	name      string
	number    int // as declared: in the container, if it is mapped; 0 for that on the agent
	host      int // on the agent: 0 for any, -1 for none
	service   int // at which load balancers offer it; 0 if it has none
	otherwise int // where a task is reached that does not tell its ports
	tcp       bool
	vips      []string // values of VIP_0 and so on, as written, in their order
}

// check is a health check of an app.
type check struct {
	protocol string // in upper case, such as MESOS_HTTP
	path     string
	port     int // a number; 0 if index tells
	index    int
	interval time.Duration
	failures int // in a row, after which a task is killed
}

// readiness is a check that a deployment waits for.
type readiness struct {
	timeout time.Duration
}

// task is what counts of a task: one running copy of an app.
type task struct {
	id        string
	at        *place
	ports     []int        // on the agent
	services  []int        // the service ports of these, by the task's own version; nil if unknown
	addresses []netip.Addr // of its own, in modeContainer
	version   string       // of the app, with which it was started
	started   int64        // in milliseconds since 1970; 0 if it is unknown
	state     state
	health    health // by the health checks of the app as it is now
	readiness readinessResult
	alive     uint16 // how many health checks say that it is
}

// place is where tasks run.
type place struct {
	host         string // the agent: a name or an address
	zone, region string
}

// state is what becomes of a task as far as traffic goes.
type state uint8

const (
	stateOther   state = iota // it does not run yet, or no more
	stateRunning              // also that of a Marathon that tells no states
	stateLost                 // its agent is out of reach; it may live
	stateKilling              // it runs, and was told to end
)

// health is what the health checks of an app say of a task.
type health uint8

const (
	healthUnknown health = iota // not all have said something
	healthAlive                 // all say that it is
	healthDead                  // one says that it is not
)

// readinessResult is what the readiness checks of an app say of a task.
type readinessResult uint8

const (
	readinessUnknown readinessResult = iota
	readinessPassed
	readinessFailed
)

// name is the last part of the id: what the app is called in its group.
func (a *app) name() string { return a.id[strings.LastIndexByte(a.id, '/')+1:] }

// group is the path of the groups that the app is in, such as shop/eu; empty
// if it is in none.
func (a *app) group() string {
	return strings.Trim(a.id[:strings.LastIndexByte(a.id, '/')], "/")
}

// label returns the value of a label of the app.
func (s *spec) label(name string) (value string, ok bool) {
	for _, l := range s.labels {
		if l.Name == name {
			return l.Value, true
		}
	}
	return "", false
}

// positionOf is where something of an app is written, as far as that can be
// told of what has no lines: the key of the app's updates.
func positionOf(id string) routing.Position {
	if !strings.HasPrefix(id, "/") {
		return routing.Position{Source: resourceApps} // what it is called is not known
	}
	return routing.Position{Source: resourceApps + id}
}

// wrong is a fault of an app: what it says cannot be, and this part of it, or
// all of it if severity says Refused, does not count.
func wrong(severity routing.Severity, id, path, problem, allowed string) *routing.Fault {
	return &routing.Fault{
		Code: "InvalidApp", At: positionOf(id), Kind: resourceApps, Name: id, Path: path,
		Problem: problem, Allowed: allowed, Severity: severity,
	}
}

// since is when the task was started; the zero time if that is unknown.
func (t *task) since() time.Time {
	if t.started == 0 {
		return time.Time{}
	}
	return time.UnixMilli(t.started).UTC()
}

// words are the texts and places that apps and tasks of one answer have in
// common, each once. The zero words know none.
type words struct {
	texts  map[string]string
	places map[place]*place
}

// text returns the one copy of a text.
func (w *words) text(text string) string {
	if one, ok := w.texts[text]; ok || text == "" {
		return one
	}
	if w.texts == nil {
		w.texts = make(map[string]string)
	}
	w.texts[text] = text
	return text
}

// place returns the one copy of a place.
func (w *words) place(p place) *place {
	if one := w.places[p]; one != nil {
		return one
	}
	if w.places == nil {
		w.places = make(map[place]*place)
	}
	one := &place{host: w.text(p.host), zone: w.text(p.zone), region: w.text(p.region)}
	w.places[*one] = one
	return one
}
