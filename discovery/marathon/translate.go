// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// kindApp is the kind of all instances.
const kindApp = "app"

// slowStart is how long a new task takes to get its whole share: it is started
// with cold caches, on a machine that others use.
const slowStart = 10 * time.Second

// ownLabels begin the labels that are made here, beside those of the app. The
// colon keeps them apart from what people write.
const ownLabels = "sluice:"

const (
	labelAppVersion      = ownLabels + "app-version"      // with which the task was started, a time
	labelPortName        = ownLabels + "port-name"        // if the port has one
	labelRegion          = ownLabels + "region"           // in which the task runs, if it is known
	labelServicePort     = ownLabels + "service-port"     // if the port has one
	labelDeploymentGroup = ownLabels + "deployment-group" // of which the app is for blue/green, with a slash before it
	labelRests           = ownLabels + "rests"            // that group, if blue/green took the task out
)

// lbDeploymentGroup is the label of marathon-lb for apps that take each
// other's place.
const lbDeploymentGroup = "HAPROXY_DEPLOYMENT_GROUP"

// maxComplaints is how many different things are told that are wrong with an
// app.
const maxComplaints = 20

// translateOptions shape a cluster. All may be zero.
type translateOptions struct {
	KeepLost KeepLost
	// IPIndex is which address of a task counts, as Options.IPIndex.
	IPIndex int
	// Framework is the name of the Marathon among the frameworks of Mesos, of
	// which names of the balancer are made. Empty means marathon.
	Framework string
	// Resolve returns the address of an agent that has a name, false if it is
	// not known. It does not wait. Nil knows none.
	Resolve func(host string) (netip.Addr, bool)
}

// cluster makes instances of apps. It remembers of each app what Marathon
// forgets from time to time. It is not safe for concurrent use.
type cluster struct {
	o    translateOptions
	apps map[string]*memory // by id
	// resting returns the tasks of an app, by id, that blue/green took out of
	// rotation. Nil means that there are none.
	resting func(id string) map[string]bool
}

func newCluster(o translateOptions) *cluster {
	o.Framework = cmp.Or(o.Framework, "marathon")
	if o.Resolve == nil {
		o.Resolve = func(string) (netip.Addr, bool) { return netip.Addr{}, false }
	}
	return &cluster{o: o, apps: make(map[string]*memory)}
}

// forget drops what is remembered of an app that is no more.
func (c *cluster) forget(id string) { delete(c.apps, id) }

// due returns when the instances of an app that was asked for are others though
// the app is the same; false if they are not.
func (c *cluster) due(id string) (time.Time, bool) {
	m := c.apps[id]
	if m == nil || m.due.IsZero() {
		return time.Time{}, false
	}
	return m.due, true
}

// alive reports whether a task runs and its health checks say that it is alive,
// or last said so. Without health checks it is enough that it runs.
func (c *cluster) alive(a *app, t *task) bool {
	if t.state != stateRunning {
		return false
	}
	h := t.health
	if m := c.apps[a.id]; h == healthUnknown && m != nil {
		h = m.task(t.id).health
	}
	return len(a.checks) == 0 || h == healthAlive
}

// instances returns the instances of an app as it is now: each port that takes
// TCP of each task that runs, in the order of the ids of the tasks, and each
// address once. Those that are not Ready take no traffic yet, or no more. Tasks
// that cannot be reached are told as faults.
func (c *cluster) instances(a *app, now time.Time) ([]*routing.Instance, []*routing.Fault) {
	m := c.apps[a.id]
	if m == nil {
		m = &memory{}
	}
	tr := translation{
		c: c, a: a, complaints: complaints{id: a.id},
		labels:   make(map[labelsOf][]routing.Label),
		names:    make(map[*port][]string),
		versions: make(map[string]ofVersion),
		was:      m, is: &memory{version: a.version, spec: a.spec},
	}
	if c.resting != nil {
		tr.resting = c.resting(a.id)
	}
	for i := range a.ports {
		tr.namesOf(&a.ports[i]) // what is wrong with them is told without tasks, too
	}
	list := tr.all(now)
	c.apps[a.id] = tr.is
	return list, tr.list
}

// translation makes the instances of one app.
type translation struct {
	complaints

	c        *cluster
	a        *app
	was, is  *memory
	versions map[string]ofVersion
	labels   map[labelsOf][]routing.Label // that instances have in common
	names    map[*port][]string
	resting  map[string]bool // tasks
}

// ofVersion is what tasks of a version have in common.
type ofVersion struct {
	spec *spec
	own  bool // spec is that of the version, not just the best that is known
}

// labelsOf is what the labels of an instance come from.
type labelsOf struct {
	spec                   *spec
	version, region, named string
	service                int
	rests                  bool
}

func (tr *translation) all(now time.Time) []*routing.Instance {
	fit := make([]bool, len(tr.a.tasks))
	others := false // there are tasks that Marathon sees and that are fit
	for i := range tr.a.tasks {
		t := &tr.a.tasks[i]
		if t.state == stateOther {
			continue
		}
		fit[i] = tr.c.judge(tr.a, tr.version(t).spec, t, now, tr.was, tr.is)
		others = others || fit[i] && t.state == stateRunning
	}
	var list []*routing.Instance
	for i := range tr.a.tasks {
		switch t := &tr.a.tasks[i]; t.state {
		case stateRunning:
			list = tr.task(list, t, fit[i])
		case stateKilling:
			list = tr.task(list, t, false)
		case stateLost:
			// One that is not used is not told at all: what runs there now may
			// be of another app.
			if fit[i] && (tr.c.o.KeepLost == LostAlways || tr.c.o.KeepLost == LostLast && !others) {
				list = tr.task(list, t, true)
			}
		case stateOther:
		}
	}
	return eachOnce(list)
}

// version returns what a task was started with.
func (tr *translation) version(t *task) ofVersion {
	if of, ok := tr.versions[t.version]; ok {
		return of
	}
	of := ofVersion{spec: tr.a.spec, own: true}
	if before := tr.was.of(t.version); t.version != "" && t.version != tr.a.version && !tr.asConfigured(t.version) {
		if of.own = before != nil; of.own {
			of.spec = before
		}
	}
	if of.own && t.version != tr.a.version {
		tr.is.older = append(tr.is.older, versioned{t.version, of.spec})
	}
	tr.versions[t.version] = of
	return of
}

// asConfigured reports whether nothing of the app but the number of its
// instances has changed since a version.
func (tr *translation) asConfigured(version string) bool {
	at := moment(version)
	return !tr.a.changed.IsZero() && !at.IsZero() && !at.Before(tr.a.changed)
}

// task adds the instances of a task.
func (tr *translation) task(list []*routing.Instance, t *task, fit bool) []*routing.Instance {
	of := tr.version(t)
	address, ok := tr.address(of.spec, t)
	if !ok {
		return list
	}
	ports := of.spec.reach(t, of.own)
	room := make([]routing.Instance, 0, len(ports))
	for _, r := range ports {
		switch {
		case r.port != nil && !r.port.tcp:
			continue
		case r.number < 1 || r.number > maxPort:
			tr.complain("tasks", fmt.Sprintf("port %d of a task has no number by which it could be reached", r.index), "declare it, or take the port away")
			continue
		}
		room = append(room, tr.instance(of.spec, t, r, address, fit))
		list = append(list, &room[len(room)-1])
	}
	return list
}

func (tr *translation) instance(s *spec, t *task, r reached, address netip.Addr, fit bool) routing.Instance {
	i := routing.Instance{
		Name: tr.a.name(), ID: tr.a.id, Namespace: tr.a.group(), Kind: kindApp, Image: s.image,
		Address: address, Port: r.number, Index: r.index, Zone: t.at.zone, Node: t.at.host,
		Ready: fit, Unproven: len(s.checks) == 0, SlowStart: slowStart, Since: t.since(),
	}
	key := labelsOf{spec: s, version: t.version, region: t.at.region, rests: tr.resting[t.id]}
	if p := r.port; p != nil {
		i.Names = tr.namesOf(p)
		if p.number != r.number {
			i.Declared = p.number
		}
		key.named, key.service = p.name, p.service
	}
	i.Labels = tr.labelled(key)
	return i
}

// labelled returns the labels of an instance, of which there is one list for
// all that have the same.
func (tr *translation) labelled(key labelsOf) []routing.Label {
	if list, ok := tr.labels[key]; ok {
		return list
	}
	list := slices.Clone(key.spec.labels)
	add := func(name, value string) {
		if value != "" {
			list = append(list, routing.Label{Name: name, Value: value})
		}
	}
	add(labelAppVersion, key.version)
	group, _ := tr.a.label(lbDeploymentGroup)
	if group != "" {
		group = "/" + strings.TrimPrefix(group, "/")
	}
	add(labelDeploymentGroup, group)
	add(labelPortName, key.named)
	add(labelRegion, key.region)
	if key.rests {
		add(labelRests, group)
	}
	if key.service > 0 {
		add(labelServicePort, strconv.Itoa(key.service))
	}
	list = slices.Clip(list)
	tr.labels[key] = list
	return list
}

// namesOf returns the names by which a port is asked for: those of its VIPs.
func (tr *translation) namesOf(p *port) []string {
	if len(p.vips) == 0 {
		return nil
	}
	if list, ok := tr.names[p]; ok {
		return list
	}
	list := make([]string, 0, len(p.vips))
	for _, value := range p.vips {
		name, err := vipName(value, tr.c.o.Framework)
		switch {
		case err != nil:
			tr.complain("VIP_n", "the VIP "+strconv.Quote(value)+" of a port cannot be: "+err.Error(), "/web:80 and 10.0.0.1:80 are allowed")
		case !slices.Contains(list, name):
			list = append(list, name)
		}
	}
	tr.names[p] = list
	return list
}

// address returns where a task is reached; false if that is not known.
func (tr *translation) address(s *spec, t *task) (netip.Addr, bool) {
	if s.mode == modeContainer {
		return tr.ownAddress(s, t)
	}
	host := t.at.host
	if host == "" {
		tr.complain("tasks", "a task that runs has no host", "")
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(host)
	known := err == nil
	if !known {
		address, known = tr.c.o.Resolve(host)
	}
	switch {
	case !known:
		tr.complain("tasks", fmt.Sprintf("the address of the agent %.100q is not known", host), "have its name looked up where this runs")
	case !usable(address):
		tr.complain("tasks", fmt.Sprintf("%.100q is no address by which an agent could be reached", host), "")
	default:
		return address.Unmap(), true
	}
	return netip.Addr{}, false
}

// ownAddress returns the address of a task that has its own: by index among
// those of IPv4, or all if it has none of these. A task that has none yet is no
// fault.
func (tr *translation) ownAddress(s *spec, t *task) (netip.Addr, bool) {
	var list []netip.Addr
	for _, version := range []bool{true, false} {
		for _, address := range t.addresses {
			if usable(address) && address.Is4() == version {
				list = append(list, address)
			}
		}
		if len(list) > 0 {
			break
		}
	}
	index := tr.c.o.IPIndex
	if s.ipIndex >= 0 {
		index = s.ipIndex
	}
	switch {
	case len(list) == 0:
		return netip.Addr{}, false
	case index < 0 || index >= len(list):
		tr.complain("tasks", fmt.Sprintf("a task has %d addresses, of which none is number %d", len(list), index),
			"the label "+labelIPIndex+" says which counts, from 0")
		return netip.Addr{}, false
	}
	return list[index], true
}

// usable reports whether an address can be connected to. Those of the loopback
// are: Marathon takes them, and who tries it on one machine has no others.
func usable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}

// hostNames returns the names of agents, sorted, that must be looked up to
// reach the tasks of an app.
func (a *app) hostNames() []string {
	var names []string
	for i := range a.tasks {
		t := &a.tasks[i]
		host := t.at.host
		if host == "" || a.mode == modeContainer && t.version == a.version || slices.Contains(names, host) {
			continue
		}
		if _, err := netip.ParseAddr(host); err != nil {
			names = append(names, host)
		}
	}
	slices.Sort(names)
	return names
}

// eachOnce leaves one instance at each address: that which takes traffic, where
// a task has the port of one that ends.
func eachOnce(list []*routing.Instance) []*routing.Instance {
	at := make(map[netip.AddrPort]int, len(list))
	kept := list[:0]
	for _, i := range list {
		where := i.AddrPort()
		if k, twice := at[where]; twice {
			if i.Ready && !kept[k].Ready {
				kept[k] = i
			}
			continue
		}
		at[where] = len(kept)
		kept = append(kept, i)
	}
	return kept
}

// complaints are what is wrong with an app, each told once.
type complaints struct {
	id   string
	list []*routing.Fault
}

func (c *complaints) complain(path, problem, allowed string) {
	same := func(f *routing.Fault) bool { return f.Path == path && f.Problem == problem }
	switch {
	case len(c.list) > maxComplaints || slices.ContainsFunc(c.list, same):
		return
	case len(c.list) == maxComplaints:
		path, problem, allowed = "", "more is wrong with it than is told", ""
	}
	c.list = append(c.list, wrong(routing.Warning, c.id, path, problem, allowed))
}
