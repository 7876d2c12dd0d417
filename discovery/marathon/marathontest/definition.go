// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
)

// definition is what an app asks for, in the shapes of all versions.
type definition struct {
	ID              string            `json:"id"`
	Instances       *int              `json:"instances"`
	Env             map[string]any    `json:"env"`
	Labels          map[string]string `json:"labels"`
	Networks        []network         `json:"networks"`
	Container       *container        `json:"container"`
	PortDefinitions []portDefinition  `json:"portDefinitions"`
	Ports           []int             `json:"ports"`
	RequirePorts    bool              `json:"requirePorts"`
	IPAddress       *ipAddress        `json:"ipAddress"`
	HealthChecks    []check           `json:"healthChecks"`
	ReadinessChecks []readinessCheck  `json:"readinessChecks"`
}

type network struct {
	Mode string `json:"mode"`
	Name string `json:"name"`
}

type container struct {
	Type         string    `json:"type"`
	Docker       *docker   `json:"docker"`
	PortMappings []mapping `json:"portMappings"`
}

type docker struct {
	Image        string    `json:"image"`
	Network      string    `json:"network"`
	PortMappings []mapping `json:"portMappings"`
}

type mapping struct {
	ContainerPort int               `json:"containerPort"`
	HostPort      *int              `json:"hostPort"`
	ServicePort   int               `json:"servicePort"`
	Protocol      string            `json:"protocol"`
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels"`
	NetworkNames  []string          `json:"networkNames"`
}

type portDefinition struct {
	Port     int               `json:"port"`
	Protocol string            `json:"protocol"`
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels"`
}

type ipAddress struct {
	NetworkName string `json:"networkName"`
	Discovery   *struct {
		Ports []struct {
			Number   int               `json:"number"`
			Protocol string            `json:"protocol"`
			Name     string            `json:"name"`
			Labels   map[string]string `json:"labels"`
		} `json:"ports"`
	} `json:"discovery"`
}

// check is a health check.
type check struct {
	Protocol    string   `json:"protocol"`
	Path        string   `json:"path"`
	Port        *int     `json:"port"`
	PortIndex   *int     `json:"portIndex"`
	Grace       *float64 `json:"gracePeriodSeconds"`
	Interval    *float64 `json:"intervalSeconds"`
	Timeout     *float64 `json:"timeoutSeconds"`
	MaxFailures *int     `json:"maxConsecutiveFailures"`
}

// byMarathon reports whether Marathon makes the check, which forgets its results
// with the leader. Others are made by agents.
func (c check) byMarathon() bool {
	switch c.Protocol {
	case "", "HTTP", "HTTPS", "TCP":
		return true
	}
	return false
}

// readinessCheck is asked only while a deployment runs.
type readinessCheck struct {
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	PortName string   `json:"portName"`
	Interval *float64 `json:"intervalSeconds"`
	Timeout  *float64 `json:"timeoutSeconds"`
	Statuses []int    `json:"httpStatusCodesForReady"`
}

// seconds is a duration as definitions write it, or what it is by default.
func seconds(given *float64, otherwise time.Duration) time.Duration {
	if given == nil {
		return otherwise
	}
	return time.Duration(*given * float64(time.Second))
}

// networking is how tasks of an app are reached.
type networking uint8

const (
	hostNetwork networking = iota
	bridgeNetwork
	containerNetwork
)

// String returns the mode of the entry in networks.
func (n networking) String() string {
	switch n {
	case bridgeNetwork:
		return "container/bridge"
	case containerNetwork:
		return "container"
	default:
		return "host"
	}
}

// docker is the same in Marathon 1.4.
func (n networking) docker() string {
	switch n {
	case bridgeNetwork:
		return "BRIDGE"
	case containerNetwork:
		return "USER"
	default:
		return "HOST"
	}
}

// port is one port of an app, however it was written.
type port struct {
	container int  // 0 in host networking
	host      *int // of mappings: nil means none, 0 means any
	service   int
	protocol  string
	name      string
	labels    map[string]string
	networks  []string
}

// errDefinition reports a definition that is none.
var errDefinition = errors.New("object is not valid")

var segment = regexp.MustCompile(`^(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])$`)

// checkID reports what is wrong with the full id of an app.
func checkID(id string) error {
	rest, ok := strings.CutPrefix(id, "/")
	if !ok || len(id) > 1000 {
		return fmt.Errorf("%w: id %q is no path of at most 1000 bytes that begins with a slash", errDefinition, id)
	}
	for part := range strings.SplitSeq(rest, "/") {
		if !segment.MatchString(part) {
			return fmt.Errorf("%w: id %q: %q is not made of lower case letters, digits, hyphens and dots between them", errDefinition, id, part)
		}
	}
	return nil
}

// parseDefinition reads a definition; with the fields of before, if that is not
// nil, where it has none.
func parseDefinition(text []byte, id string, before map[string]any) (map[string]any, *definition, error) {
	var given map[string]any
	if err := json.Unmarshal(text, &given); err != nil {
		return nil, nil, fmt.Errorf("invalid JSON: %w", err)
	}
	if given == nil {
		return nil, nil, errors.New("invalid JSON: an app is an object")
	}
	raw := maps.Clone(before)
	if raw == nil {
		raw = make(map[string]any)
	}
	maps.Copy(raw, given)
	if id != "" {
		raw["id"] = id
	}
	for _, ours := range []string{"version", "versionInfo", "tasks", "deployments", "readinessCheckResults"} {
		delete(raw, ours)
	}
	merged, err := json.Marshal(raw)
	if err != nil {
		return nil, nil, err
	}
	d := new(definition)
	if err := json.Unmarshal(merged, d); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errDefinition, err)
	}
	if !strings.HasPrefix(d.ID, "/") {
		d.ID = "/" + d.ID // relative to the root
	}
	raw["id"] = d.ID
	return raw, d, d.check()
}

// maxInstances bounds what one app may ask for.
const maxInstances = 10_000

func (d *definition) check() error {
	if err := checkID(d.ID); err != nil {
		return err
	}
	if d.instances() < 0 || d.instances() > maxInstances {
		return fmt.Errorf("%w: instances: %d is not between 0 and %d", errDefinition, d.instances(), maxInstances)
	}
	for _, p := range d.ports() {
		for what, number := range map[string]int{"container": p.container, "service": p.service, "host": deref(p.host)} {
			if number < 0 || number > 65535 {
				return fmt.Errorf("%w: %s port %d is not between 0 and 65535", errDefinition, what, number)
			}
		}
	}
	for i, c := range d.HealthChecks {
		switch c.Protocol {
		case "", "HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP":
		default:
			return fmt.Errorf("%w: healthChecks(%d): no protocol %q", errDefinition, i, c.Protocol)
		}
		if c.Port == nil && c.Protocol != "COMMAND" && deref(c.PortIndex) >= len(d.ports()) {
			return fmt.Errorf("%w: healthChecks(%d): portIndex %d is of no port", errDefinition, i, deref(c.PortIndex))
		}
	}
	return nil
}

func deref(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func (d *definition) instances() int {
	if d.Instances == nil {
		return 1
	}
	return *d.Instances
}

func (d *definition) image() string {
	if d.Container == nil || d.Container.Docker == nil {
		return ""
	}
	return d.Container.Docker.Image
}

// networking tells how tasks are reached: later forms win over earlier ones.
func (d *definition) networking() (n networking, name string) {
	if d.IPAddress != nil {
		n, name = containerNetwork, d.IPAddress.NetworkName
	}
	if d.Container != nil && d.Container.Docker != nil {
		switch d.Container.Docker.Network {
		case "HOST":
			n = hostNetwork
		case "BRIDGE":
			n = bridgeNetwork
		case "USER":
			n = containerNetwork
		}
	}
	for _, entry := range d.Networks {
		switch entry.Mode {
		case "host":
			n = hostNetwork
		case "container/bridge":
			n = bridgeNetwork
		default:
			n = containerNetwork
		}
		name = entry.Name
	}
	return n, name
}

// ports returns the ports of an app. In host networking it has one if it says
// nothing.
func (d *definition) ports() (all []port) {
	if n, _ := d.networking(); n != hostNetwork {
		for _, m := range d.mappings() {
			all = append(all, port{
				container: m.ContainerPort, host: m.HostPort, service: m.ServicePort,
				protocol: m.Protocol, name: m.Name, labels: m.Labels, networks: m.NetworkNames,
			})
		}
		if all == nil && d.IPAddress != nil && d.IPAddress.Discovery != nil {
			for _, p := range d.IPAddress.Discovery.Ports {
				all = append(all, port{container: p.Number, protocol: p.Protocol, name: p.Name, labels: p.Labels})
			}
		}
		if n == bridgeNetwork {
			for i := range all {
				if all[i].host == nil {
					all[i].host = new(int)
				}
			}
		}
		return all
	}
	switch {
	case d.PortDefinitions != nil:
		for _, p := range d.PortDefinitions {
			all = append(all, hostPort(p))
		}
	case d.Ports != nil:
		for _, number := range d.Ports {
			all = append(all, hostPort(portDefinition{Port: number}))
		}
	default:
		all = append(all, hostPort(portDefinition{Name: "default"}))
	}
	return all
}

func hostPort(p portDefinition) port {
	return port{service: p.Port, protocol: p.Protocol, name: p.Name, labels: p.Labels}
}

func (d *definition) mappings() []mapping {
	if d.Container == nil {
		return nil
	}
	if len(d.Container.PortMappings) > 0 || d.Container.Docker == nil {
		return d.Container.PortMappings
	}
	return d.Container.Docker.PortMappings
}
