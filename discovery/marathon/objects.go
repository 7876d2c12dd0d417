// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// app is what counts of an app, whichever Marathon describes it: the fields of
// 1.4 and those of 1.5 and later have become the same. It is not changed once
// it was read.
type app struct {
	id      string          // absolute, such as /shop/web
	labels  []routing.Label // by name
	image   string
	version string // of its configuration, a time
	scaled  time.Time
	// instances is how many tasks are wanted.
	instances int
	mode      mode
	// ports are what the app declares, by index; with none it still may have
	// tasks with ports.
	ports     []port
	declared  bool // the app says which ports it has, none perhaps
	checks    []check
	readiness []readiness
	deploying bool // a deployment of the app runs
	tasks     []task
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
	container int // in the container; 0 in modeHost, and if it is that of the agent
	// host is that on the agent: 0 for any, -1 for none.
	host     int
	service  int // at which load balancers offer it; 0 if it has none
	required bool
	tcp      bool // it takes TCP, perhaps UDP as well
	vips     []string
}

// check is a health check of an app.
type check struct {
	protocol string // in upper case, such as MESOS_HTTP
	path     string
	port     int // a number, 0 if it is told by index
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
	host      string // agent: a name or an address
	ports     []int  // on the agent
	addresses []string
	state     state
	version   string // of the app, with which it was started
	started   time.Time
	zone      string
	region    string
	health    health
	readiness readinessResult
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
	healthAlive
	healthDead
)

// readinessResult is what the readiness checks of an app say of a task.
type readinessResult uint8

const (
	readinessUnknown readinessResult = iota
	readinessPassed
	readinessFailed
)
