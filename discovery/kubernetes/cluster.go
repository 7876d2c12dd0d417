// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// cluster is what is known of a cluster, and what of it was told. It does no
// I/O and is not safe for concurrent use.
type cluster struct {
	pods     map[name]*pod
	services map[name]*service
	slices   map[name]*slice

	replicas index[string] // pods by the key of their workload
	parts    index[name]   // slices by Service
	leading  index[name]   // slices by pod that they lead to

	// What may have changed since it was told.
	staleWorkloads map[string]bool // by key
	staleServices  map[name]bool

	told map[string][]*routing.Instance // by key
}

// index finds names by something that they have in common.
type index[K comparable] map[K]map[name]bool

func (x index[K]) add(key K, n name) {
	if x[key] == nil {
		x[key] = make(map[name]bool)
	}
	x[key][n] = true
}

func (x index[K]) remove(key K, n name) {
	delete(x[key], n)
	if len(x[key]) == 0 {
		delete(x, key)
	}
}

// sorted returns what has key in common, so that whoever goes through it does
// so in the same order each time.
func (x index[K]) sorted(key K) []name {
	return slices.SortedFunc(maps.Keys(x[key]), name.compare)
}

func newCluster() *cluster {
	return &cluster{
		pods: make(map[name]*pod), services: make(map[name]*service), slices: make(map[name]*slice),
		replicas: make(index[string]), parts: make(index[name]), leading: make(index[name]),
		staleWorkloads: make(map[string]bool), staleServices: make(map[name]bool),
		told: make(map[string][]*routing.Instance),
	}
}

// workloadKey and serviceKey name what updates are about.
func workloadKey(p *pod) string    { return "pods/" + p.name.namespace + "/" + p.workload }
func serviceKey(n name) string     { return "services/" + n.String() }
func (c *cluster) stalePod(n name) { c.staleWorkload(c.pods[n]) }

func (c *cluster) staleWorkload(p *pod) {
	if p != nil {
		c.staleWorkloads[workloadKey(p)] = true
	}
}

// setPod takes note of a pod as it is now, nil if it is no more.
func (c *cluster) setPod(n name, p *pod) {
	was := c.pods[n]
	if reflect.DeepEqual(was, p) {
		return // most of what changes in a pod does not count
	}
	if was != nil {
		c.replicas.remove(workloadKey(was), n)
		delete(c.pods, n)
	}
	if p != nil {
		c.replicas.add(workloadKey(p), n)
		c.pods[n] = p
	}
	c.staleWorkload(was)
	c.staleWorkload(p)
}

// setService takes note of a Service as it is now, nil if it is no more.
func (c *cluster) setService(n name, s *service) {
	if reflect.DeepEqual(c.services[n], s) {
		return
	}
	if s == nil {
		delete(c.services, n)
	} else {
		c.services[n] = s
	}
	c.staleServices[n] = true
}

// setSlice takes note of an EndpointSlice as it is now, nil if it is no more.
func (c *cluster) setSlice(n name, s *slice) {
	was := c.slices[n]
	if reflect.DeepEqual(was, s) {
		return
	}
	if was != nil {
		c.parts.remove(was.service, n)
		c.eachPod(was, func(p name) { c.leading.remove(p, n) })
		delete(c.slices, n)
	}
	if s != nil {
		c.parts.add(s.service, n)
		c.eachPod(s, func(p name) { c.leading.add(p, n) })
		c.slices[n] = s
	}
	for _, one := range []*slice{was, s} {
		if one != nil {
			c.staleServices[one.service] = true
			c.eachPod(one, c.stalePod)
		}
	}
}

// eachPod calls f with each pod that a slice leads to.
func (c *cluster) eachPod(s *slice, f func(name)) {
	for i := range s.endpoints {
		if p := s.endpoints[i].pod; p != (name{}) {
			f(p)
		}
	}
}

// take returns what has changed since it was called last, sorted by key.
func (c *cluster) take() []discovery.Update {
	var updates []discovery.Update
	for _, key := range slices.Sorted(maps.Keys(c.staleWorkloads)) {
		updates = c.tell(updates, key, c.workload(key))
	}
	for _, n := range slices.SortedFunc(maps.Keys(c.staleServices), name.compare) {
		updates = c.tell(updates, serviceKey(n), c.serviceInstances(n))
	}
	clear(c.staleWorkloads)
	clear(c.staleServices)
	slices.SortFunc(updates, func(a, b discovery.Update) int { return strings.Compare(a.Key, b.Key) })
	return updates
}

// tell adds the update of one object if it differs from what was told of it.
// An instance that is still the same stays the same value.
func (c *cluster) tell(updates []discovery.Update, key string, now []*routing.Instance) []discovery.Update {
	before := c.told[key]
	same := keep(before, now)
	if same {
		return updates
	}
	u := discovery.Update{Key: key, Instances: now, Gone: len(now) == 0, Urgent: missing(before, now)}
	if u.Gone {
		u.Instances = nil
		delete(c.told, key)
	} else {
		c.told[key] = now
	}
	return append(updates, u)
}

// keep puts the instances of before in place of those of now that are equal,
// and reports whether all are, in the same order.
func keep(before, now []*routing.Instance) bool {
	known := make(map[netip.AddrPort]*routing.Instance, len(before))
	for _, i := range before {
		known[i.AddrPort()] = i
	}
	for k, i := range now {
		if b := known[i.AddrPort()]; b != nil && reflect.DeepEqual(b, i) {
			now[k] = b
		}
	}
	return slices.Equal(before, now)
}

// missing reports whether an instance of before that was ready is not in now,
// or is not ready any more.
func missing(before, now []*routing.Instance) bool {
	ready := make(map[netip.AddrPort]bool, len(now))
	for _, i := range now {
		ready[i.AddrPort()] = i.Ready
	}
	return slices.ContainsFunc(before, func(i *routing.Instance) bool { return i.Ready && !ready[i.AddrPort()] })
}
