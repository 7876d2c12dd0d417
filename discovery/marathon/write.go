// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"time"
)

// equal reports whether two apps say the same.
func (a *app) equal(b *app) bool {
	return a == b || a.id == b.id && a.version == b.version && a.changed.Equal(b.changed) && a.scaled.Equal(b.scaled) &&
		a.instances == b.instances && a.deploying == b.deploying && a.spec.equal(b.spec) &&
		slices.EqualFunc(a.tasks, b.tasks, func(s, t task) bool { return s.equal(&t) })
}

func (s *spec) equal(o *spec) bool {
	return s.image == o.image && s.mode == o.mode && s.declared == o.declared && s.ipIndex == o.ipIndex &&
		slices.Equal(s.labels, o.labels) && slices.EqualFunc(s.ports, o.ports, port.equal) &&
		slices.Equal(s.checks, o.checks) && slices.Equal(s.readiness, o.readiness)
}

func (p port) equal(o port) bool {
	return p.name == o.name && p.number == o.number && p.host == o.host && p.service == o.service &&
		p.otherwise == o.otherwise && p.tcp == o.tcp && slices.Equal(p.vips, o.vips)
}

func (t *task) equal(o *task) bool {
	return t.id == o.id && *t.at == *o.at && t.version == o.version && t.started == o.started &&
		t.state == o.state && t.health == o.health && t.readiness == o.readiness && t.alive == o.alive &&
		slices.Equal(t.ports, o.ports) && slices.Equal(t.services, o.services) && slices.Equal(t.addresses, o.addresses)
}

// write writes an app as Marathon 1.5 and later do, but for what does not
// count: whoever reads that has an equal app.
func (a *app) write(w io.Writer) error { return json.NewEncoder(w).Encode(a.written()) }

// The written forms leave out what is as it is when nothing is said.
type (
	writtenApp struct {
		ID              string              `json:"id"`
		Instances       int                 `json:"instances"`
		Version         string              `json:"version,omitempty"`
		VersionInfo     map[string]string   `json:"versionInfo,omitempty"`
		Labels          map[string]string   `json:"labels,omitempty"`
		Networks        []rawNetwork        `json:"networks"`
		Container       *writtenContainer   `json:"container,omitempty"`
		PortDefinitions *[]writtenPort      `json:"portDefinitions,omitempty"`
		RequirePorts    bool                `json:"requirePorts,omitempty"`
		HealthChecks    []map[string]any    `json:"healthChecks,omitempty"`
		ReadinessChecks []map[string]any    `json:"readinessChecks,omitempty"`
		ReadinessOf     []map[string]any    `json:"readinessCheckResults,omitempty"`
		Deployments     []map[string]string `json:"deployments,omitempty"`
		Tasks           []writtenTask       `json:"tasks,omitempty"`
	}
	writtenContainer struct {
		Docker       map[string]string `json:"docker,omitempty"`
		PortMappings []writtenPort     `json:"portMappings,omitempty"`
	}
	writtenPort struct {
		Port          *int              `json:"port,omitempty"`
		ContainerPort *int              `json:"containerPort,omitempty"`
		HostPort      *int              `json:"hostPort,omitempty"`
		ServicePort   int               `json:"servicePort,omitempty"`
		Protocol      string            `json:"protocol,omitempty"`
		Name          string            `json:"name,omitempty"`
		Labels        map[string]string `json:"labels,omitempty"`
	}
	writtenTask struct {
		ID           string              `json:"id"`
		Host         string              `json:"host,omitempty"`
		Zone         string              `json:"zone,omitempty"`
		Region       string              `json:"region,omitempty"`
		Ports        []int               `json:"ports,omitempty"`
		ServicePorts []int               `json:"servicePorts,omitempty"`
		IPAddresses  []map[string]string `json:"ipAddresses,omitempty"`
		State        string              `json:"state"`
		Version      string              `json:"version,omitempty"`
		StartedAt    string              `json:"startedAt,omitempty"`
		Results      []map[string]bool   `json:"healthCheckResults,omitempty"`
	}
)

func (a *app) written() writtenApp {
	w := writtenApp{
		ID: a.id, Instances: a.instances, Version: a.version, VersionInfo: make(map[string]string),
		Labels: make(map[string]string), Networks: []rawNetwork{{Mode: a.mode.network()}},
	}
	writeMoment(w.VersionInfo, "lastConfigChangeAt", a.changed)
	writeMoment(w.VersionInfo, "lastScalingAt", a.scaled)
	for _, l := range a.labels {
		w.Labels[l.Name] = l.Value
	}
	w.writePorts(a.spec)
	for _, c := range a.checks {
		w.HealthChecks = append(w.HealthChecks, map[string]any{
			"protocol": c.protocol, "path": c.path, "port": c.port, "portIndex": c.index,
			"intervalSeconds": c.interval.Seconds(), "maxConsecutiveFailures": c.failures,
		})
	}
	for _, r := range a.readiness {
		w.ReadinessChecks = append(w.ReadinessChecks, map[string]any{"timeoutSeconds": r.timeout.Seconds()})
	}
	if a.deploying {
		w.Deployments = []map[string]string{{}}
	}
	for i := range a.tasks {
		t := &a.tasks[i]
		w.Tasks = append(w.Tasks, t.written())
		if t.readiness != readinessUnknown {
			w.ReadinessOf = append(w.ReadinessOf, map[string]any{"taskId": t.id, "ready": t.readiness == readinessPassed})
		}
	}
	return w
}

// network is the mode as Marathon writes it.
func (m mode) network() string {
	return [...]string{modeHost: networkHost, modeBridge: networkBridge, modeContainer: networkContainer}[m]
}

// writePorts writes the image and the ports. Ports on the agent that are not
// mapped are written as mapped ones where containers are bridged, which are the
// same.
func (w *writtenApp) writePorts(s *spec) {
	ports, definitions := []writtenPort{}, []writtenPort{}
	for _, p := range s.ports {
		one := writtenPort{Name: p.name, Labels: make(map[string]string)}
		if !p.tcp {
			one.Protocol = "udp"
		}
		for n, value := range p.vips {
			one.Labels["VIP_"+strconv.Itoa(n)] = value
		}
		if s.mode == modeHost {
			one.Port = &p.number
			w.RequirePorts = w.RequirePorts || p.host > 0
		} else {
			one.ContainerPort, one.ServicePort = &p.number, p.service
			if p.host >= 0 {
				one.HostPort = &p.host
			}
			definition := 0
			if p.service > 0 {
				definition = p.otherwise
			}
			definitions = append(definitions, writtenPort{Port: &definition})
		}
		ports = append(ports, one)
	}
	w.Container = &writtenContainer{Docker: map[string]string{"image": s.image}}
	if s.mode != modeHost && len(ports) > 0 {
		w.Container.PortMappings = ports
		ports = definitions
	}
	if s.declared {
		w.PortDefinitions = &ports
	}
}

func (t *task) written() writtenTask {
	w := writtenTask{
		ID: t.id, Host: t.at.host, Zone: t.at.zone, Region: t.at.region, Ports: t.ports, ServicePorts: t.services,
		State: t.state.text(), Version: t.version,
	}
	for _, address := range t.addresses {
		w.IPAddresses = append(w.IPAddresses, map[string]string{"ipAddress": address.String()})
	}
	if t.started != 0 {
		w.StartedAt = t.since().Format(time.RFC3339Nano)
	}
	for range t.alive {
		w.Results = append(w.Results, map[string]bool{"alive": true})
	}
	if t.health == healthDead {
		w.Results = append(w.Results, map[string]bool{"alive": false})
	}
	return w
}

// text is the state as Marathon writes it, or one that counts the same.
func (s state) text() string {
	return [...]string{
		stateOther: "TASK_STAGING", stateRunning: "TASK_RUNNING", stateLost: "TASK_UNREACHABLE", stateKilling: "TASK_KILLING",
	}[s]
}

func writeMoment(to map[string]string, name string, t time.Time) {
	if !t.IsZero() {
		to[name] = t.Format(time.RFC3339Nano)
	}
}
