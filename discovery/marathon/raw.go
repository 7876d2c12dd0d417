// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// rawApp is an app as Marathon writes it, as far as it counts. Numbers may be
// written as 80 or 80.0, and anything may be null.
type rawApp struct {
	ID              string
	Instances       float64
	Version         string
	VersionInfo     rawVersionInfo
	Labels          map[string]string
	Networks        []rawNetwork
	Container       rawContainer
	PortDefinitions []rawDefinition
	Ports           []float64
	RequirePorts    bool
	IPAddress       *rawIPAddress
	HealthChecks    []rawCheck
	ReadinessChecks []rawReadinessCheck
	Deployments     []struct{}
	words           *words
	tasks           []task
	readinessOf     map[string]readinessResult // by task
	wrong           bool                       // it has something that cannot be read
}

// most returns which field has the most elements, and how many.
func (r *rawApp) most() (path string, n int) {
	more := func(of string, count int) {
		if count > n {
			path, n = of, count
		}
	}
	more("labels", len(r.Labels))
	more("networks", len(r.Networks))
	more("ports", len(r.Ports))
	more("healthChecks", len(r.HealthChecks))
	more("readinessChecks", len(r.ReadinessChecks))
	more("portDefinitions", len(r.PortDefinitions))
	for i := range r.PortDefinitions {
		more("portDefinitions.labels", len(r.PortDefinitions[i].Labels))
	}
	mappings := r.Container.mappings()
	more("container.portMappings", len(mappings))
	for i := range mappings {
		more("container.portMappings.labels", len(mappings[i].Labels))
	}
	if r.IPAddress != nil {
		ports := r.IPAddress.Discovery.Ports
		more("ipAddress.discovery.ports", len(ports))
		for i := range ports {
			more("ipAddress.discovery.ports.labels", len(ports[i].Labels))
		}
	}
	return path, n
}

// most returns which field has the most elements, and how many.
func (t *rawTask) most() (path string, n int) {
	path, n = "ports", len(t.Ports)
	for _, other := range []struct {
		path string
		n    int
	}{{"servicePorts", len(t.ServicePorts)}, {"ipAddresses", len(t.IPAddresses)}, {"healthCheckResults", len(t.HealthCheckResults)}} {
		if other.n > n {
			path, n = other.path, other.n
		}
	}
	return path, n
}

// place returns what a field is read into, nil for one that does not count.
func (r *rawApp) place(key string) any {
	switch key {
	case "id":
		return &r.ID
	case "instances":
		return &r.Instances
	case "version":
		return &r.Version
	case "versionInfo":
		return &r.VersionInfo
	case "labels":
		return &r.Labels
	case "networks":
		return &r.Networks
	case "container":
		return &r.Container
	case "portDefinitions":
		return &r.PortDefinitions
	case "ports":
		return &r.Ports
	case "requirePorts":
		return &r.RequirePorts
	case "ipAddress":
		return &r.IPAddress
	case "healthChecks":
		return &r.HealthChecks
	case "readinessChecks":
		return &r.ReadinessChecks
	case "deployments":
		return &r.Deployments
	}
	return nil
}

type rawVersionInfo struct {
	LastScalingAt      string `json:"lastScalingAt"`
	LastConfigChangeAt string `json:"lastConfigChangeAt"`
}

type rawNetwork struct {
	Mode string `json:"mode"`
}

type rawContainer struct {
	PortMappings []rawMapping `json:"portMappings"`
	Docker       struct {
		Image        string       `json:"image"`
		Network      string       `json:"network"`
		PortMappings []rawMapping `json:"portMappings"`
	} `json:"docker"`
}

// mappings returns the port mappings, wherever they stand.
func (c *rawContainer) mappings() []rawMapping {
	if len(c.PortMappings) > 0 {
		return c.PortMappings
	}
	return c.Docker.PortMappings
}

type rawMapping struct {
	ContainerPort float64           `json:"containerPort"`
	HostPort      *float64          `json:"hostPort"`
	ServicePort   float64           `json:"servicePort"`
	Protocol      string            `json:"protocol"`
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels"`
}

type rawDefinition struct {
	Port     float64           `json:"port"`
	Protocol string            `json:"protocol"`
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels"`
}

type rawIPAddress struct {
	Discovery struct {
		Ports []struct {
			Number   float64           `json:"number"`
			Name     string            `json:"name"`
			Protocol string            `json:"protocol"`
			Labels   map[string]string `json:"labels"`
		} `json:"ports"`
	} `json:"discovery"`
}

type rawCheck struct {
	Protocol               string   `json:"protocol"`
	Path                   string   `json:"path"`
	Port                   float64  `json:"port"`
	PortIndex              float64  `json:"portIndex"`
	IntervalSeconds        *float64 `json:"intervalSeconds"`
	MaxConsecutiveFailures *float64 `json:"maxConsecutiveFailures"`
}

type rawReadinessCheck struct {
	TimeoutSeconds *float64 `json:"timeoutSeconds"`
}

type rawReadiness struct {
	TaskID string `json:"taskId"`
	Ready  bool   `json:"ready"`
}

type rawTask struct {
	ID           string    `json:"id"`
	Host         string    `json:"host"`
	Ports        []float64 `json:"ports"`
	ServicePorts []float64 `json:"servicePorts"`
	IPAddresses  []struct {
		IPAddress string `json:"ipAddress"`
	} `json:"ipAddresses"`
	State              string      `json:"state"`
	StagedAt           string      `json:"stagedAt"`
	StartedAt          string      `json:"startedAt"`
	Version            string      `json:"version"`
	Region             string      `json:"region"`
	Zone               string      `json:"zone"`
	HealthCheckResults []rawResult `json:"healthCheckResults"`
}

// rawResult is what a health check says of a task.
type rawResult struct {
	Alive               *bool    `json:"alive"`
	ConsecutiveFailures *float64 `json:"consecutiveFailures"`
	LastFailure         *string  `json:"lastFailure"`
	LastSuccess         *string  `json:"lastSuccess"`
}

// made reports whether the check was made at all. Where Marathon knows of a
// task but not yet how it fares, as after a change of leader, it writes that
// the task is not alive though nothing ever failed.
func (r *rawResult) made() bool {
	return r.Alive != nil &&
		(*r.Alive || r.ConsecutiveFailures == nil || *r.ConsecutiveFailures != 0 || r.LastFailure != nil || r.LastSuccess != nil)
}

// ready notes what a readiness check says of a task: all must say that it is
// ready.
func (r *rawApp) ready(one rawReadiness) {
	if r.readinessOf == nil {
		r.readinessOf = make(map[string]readinessResult)
	}
	switch {
	case one.TaskID == "":
	case !one.Ready:
		r.readinessOf[one.TaskID] = readinessFailed
	case r.readinessOf[one.TaskID] == readinessUnknown:
		r.readinessOf[one.TaskID] = readinessPassed
	}
}

// app returns what counts; nil if that cannot be told.
func (r *rawApp) app() (*app, []*routing.Fault) {
	m, ok := r.mode()
	if !ok {
		return nil, []*routing.Fault{wrong(routing.Refused, r.ID, "networks[0].mode", fmt.Sprintf("%.60q is no mode", r.Networks[0].Mode),
			"host, container and container/bridge are allowed")}
	}
	labels, ipIndex, faults := r.labels()
	s := &spec{
		labels: labels, image: r.words.text(r.Container.Docker.Image), mode: m, ipIndex: ipIndex,
		checks: r.checks(), readiness: r.readinessChecks(),
	}
	s.ports, s.declared = r.ports(m)
	a := &app{
		id: r.ID, spec: s, version: r.words.text(r.Version),
		changed: moment(r.VersionInfo.LastConfigChangeAt), scaled: moment(r.VersionInfo.LastScalingAt),
		instances: max(0, whole(r.Instances)), deploying: len(r.Deployments) > 0, tasks: r.tasks,
	}
	slices.SortStableFunc(a.tasks, func(a, b task) int { return strings.Compare(a.id, b.id) })
	a.tasks = slices.Concat(slices.CompactFunc(a.tasks, func(a, b task) bool { return a.id == b.id })) // no larger than it is
	services := servicePorts(s.ports)
	for i := range a.tasks {
		t := &a.tasks[i]
		t.readiness = r.readinessOf[t.id]
		if t.health != healthDead && len(s.checks) > 0 && int(t.alive) >= len(s.checks) {
			t.health = healthAlive
		}
		if slices.Equal(t.services, services) {
			t.services = nil // by index, then
		}
		if m != modeContainer && t.version == a.version {
			t.addresses = nil // those of an older version may count
		}
	}
	return a, faults
}

// The modes of networking, as they are written.
const (
	networkHost      = "host"
	networkBridge    = "container/bridge"
	networkContainer = "container"
)

// mode returns how tasks are reached: what later Marathons write counts more.
// ok is false if that is unknown.
func (r *rawApp) mode() (m mode, ok bool) {
	if r.IPAddress != nil {
		m = modeContainer
	}
	switch strings.ToUpper(r.Container.Docker.Network) {
	case "HOST":
		m = modeHost
	case "BRIDGE":
		m = modeBridge
	case "USER":
		m = modeContainer
	}
	if len(r.Networks) == 0 {
		return m, true
	}
	switch strings.ToLower(cmp.Or(r.Networks[0].Mode, networkContainer)) {
	case networkHost:
		return modeHost, true
	case networkBridge:
		return modeBridge, true
	case networkContainer:
		return modeContainer, true
	}
	return 0, false
}

// labelIPIndex is the label of apps that says which of the addresses of a task
// counts, from 0.
const labelIPIndex = "sluice.ip-index"

const maxIPIndex = 100

// labels returns the labels by name, and what they say of addresses.
func (r *rawApp) labels() (labels []routing.Label, ipIndex int, faults []*routing.Fault) {
	ipIndex = -1
	for name, value := range r.Labels {
		path := "labels." + name
		switch {
		case strings.HasPrefix(name, ownLabels):
			faults = append(faults, wrong(routing.Warning, r.ID, path, "labels that begin with "+ownLabels+" are made here, so it does not count", "give it another name"))
			continue
		case name == labelIPIndex:
			n, ok := number(value, 0, maxIPIndex)
			if !ok {
				faults = append(faults, wrong(routing.Warning, r.ID, path, fmt.Sprintf("%.60q is no such number", value), fmt.Sprintf("a number from 0 to %d is allowed", maxIPIndex)))
				break
			}
			ipIndex = n
		}
		labels = append(labels, routing.Label{Name: r.words.text(name), Value: r.words.text(value)})
	}
	slices.SortFunc(labels, func(a, b routing.Label) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(faults, func(a, b *routing.Fault) int { return strings.Compare(a.Path, b.Path) })
	return slices.Concat(labels), ipIndex, faults
}

// checks returns the health checks, with Marathon's defaults.
func (r *rawApp) checks() (list []check) {
	for _, c := range r.HealthChecks {
		list = append(list, check{
			protocol: r.words.text(cmp.Or(strings.ToUpper(c.Protocol), "HTTP")), path: r.words.text(cmp.Or(c.Path, "/")),
			port: max(0, whole(c.Port)), index: max(0, whole(c.PortIndex)),
			interval: seconds(c.IntervalSeconds, 60), failures: failures(c.MaxConsecutiveFailures),
		})
	}
	return list
}

func (r *rawApp) readinessChecks() (list []readiness) {
	for _, c := range r.ReadinessChecks {
		list = append(list, readiness{timeout: seconds(c.TimeoutSeconds, 10)})
	}
	return list
}

// failures returns how many in a row kill a task.
func failures(n *float64) int {
	if n == nil {
		return 3
	}
	return max(0, whole(*n))
}

// seconds returns a duration; what cannot be one is the default.
func seconds(n *float64, otherwise int) time.Duration {
	if n == nil || !(*n >= 0 && *n <= 1e6) {
		return time.Duration(otherwise) * time.Second
	}
	return time.Duration(math.Round(*n*1000)) * time.Millisecond
}

// moment reads a time; one that cannot be read, or be written again, is the
// zero time.
func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// milliseconds returns a time as tasks have it.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// task returns what counts of a task.
func (t *rawTask) task(w *words) task {
	cut := task{
		id: t.ID, at: w.place(place{host: t.Host, zone: t.Zone, region: t.Region}),
		ports: numbers(t.Ports), services: numbers(t.ServicePorts),
		state: stateOf(t.State), version: w.text(t.Version), started: milliseconds(moment(cmp.Or(t.StartedAt, t.StagedAt))),
	}
	for i := range t.IPAddresses {
		if address, err := netip.ParseAddr(t.IPAddresses[i].IPAddress); err == nil {
			cut.addresses = append(cut.addresses, address.Unmap())
		}
	}
	for i := range t.HealthCheckResults {
		switch result := &t.HealthCheckResults[i]; {
		case !result.made():
		case *result.Alive:
			cut.alive = uint16(min(int(cut.alive)+1, math.MaxUint16))
		default:
			cut.health = healthDead
		}
	}
	return cut
}

// numbers returns whole numbers, nil for none.
func numbers(list []float64) []int {
	if len(list) == 0 {
		return nil
	}
	all := make([]int, len(list))
	for i, f := range list {
		all[i] = whole(f)
	}
	return all
}

// stateOf reads the state of a task. Old Marathons tell none, but only of tasks
// that run.
func stateOf(text string) state {
	switch text {
	case "", "TASK_RUNNING":
		return stateRunning
	case "TASK_LOST", "TASK_UNREACHABLE":
		return stateLost
	case "TASK_KILLING":
		return stateKilling
	}
	return stateOther
}
