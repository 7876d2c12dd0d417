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
	sets     map[name]owner // what controls ReplicaSets
	orphaned map[name]bool  // those that are no more, and have pods

	replicas index[string] // pods by the key of their workload
	parts    index[name]   // slices by Service
	leading  index[name]   // slices by pod that they lead to
	members  index[name]   // pods by ReplicaSet

	// What may have changed since it was told.
	staleWorkloads map[string]bool // by key
	staleServices  map[name]bool

	// unsliced are the Kubernetes namespaces, the empty one for all, of which
	// slices were never listed. Nothing says there where Services lead.
	unsliced map[string]bool

	ways uint64 // grows when a port of a Service may lead elsewhere

	held map[object]*discovery.Held // objects whose absence is held back
	told map[string]telling         // by key
}

// object names an object of a cluster.
type object struct {
	kind kind
	name name
}

// kind is a kind of objects that instances come from.
type kind uint8

const (
	ofPods kind = iota
	ofServices
	ofSlices
)

// telling is what was told under a key.
type telling struct {
	instances []*routing.Instance
	held      *discovery.Held
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
		sets: make(map[name]owner), orphaned: make(map[name]bool),
		replicas: make(index[string]), members: make(index[name]), parts: make(index[name]), leading: make(index[name]),
		staleWorkloads: make(map[string]bool), staleServices: make(map[name]bool), unsliced: make(map[string]bool),
		held: make(map[object]*discovery.Held),
		told: make(map[string]telling),
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
		if set := setOf(p); set != (name{}) {
			c.members.add(set, n)
		}
		c.pods[n] = p
	}
	if was != nil && (p == nil || setOf(p) != setOf(was)) {
		c.leave(setOf(was), n)
	}
	c.staleWorkload(was)
	c.staleWorkload(p)
}

// setReplicaSet takes note of what controls a ReplicaSet, nil if nothing does
// or it is no more. Of one that is no more, what controlled it still counts for
// as long as it has pods: they are deleted after it.
func (c *cluster) setReplicaSet(n name, o *owner) {
	was, known := c.sets[n]
	switch {
	case o == nil && c.members[n] != nil:
		c.orphaned[n] = known
		return
	case o == nil:
		delete(c.sets, n)
		return
	}
	delete(c.orphaned, n)
	if known && was == *o {
		return
	}
	c.sets[n] = *o
	for p := range c.members[n] {
		c.stalePod(p)
	}
}

// leave takes note that a pod is of a ReplicaSet no more.
func (c *cluster) leave(set, pod name) {
	c.members.remove(set, pod)
	if c.members[set] == nil && c.orphaned[set] {
		delete(c.sets, set)
	}
	if c.members[set] == nil {
		delete(c.orphaned, set)
	}
}

// setOf returns the ReplicaSet of a pod, the zero name if it has none.
func setOf(p *pod) name {
	if p.owner.kind != "ReplicaSet" {
		return name{}
	}
	return name{p.name.namespace, p.owner.name}
}

// workloadOfPod returns what a pod is a replica of, as far as that is known;
// the zero owner if it is none. While its ReplicaSet is not known, or cannot be
// seen, its name tells.
func (c *cluster) workloadOfPod(p *pod) owner {
	if o, known := c.sets[setOf(p)]; known {
		return o
	}
	kind, called, _ := strings.Cut(p.workload, "/")
	if p.owner == (owner{}) {
		return owner{}
	}
	return owner{kind, called}
}

// setService takes note of a Service as it is now, nil if it is no more.
func (c *cluster) setService(n name, s *service) {
	if reflect.DeepEqual(c.services[n], s) {
		return
	}
	c.ways++
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
	if was == nil || s == nil || was.service != s.service || !slices.Equal(was.ports, s.ports) {
		c.ways++
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

// sliced takes note that the slices of a Kubernetes namespace, the empty one for
// all, are known from now on.
func (c *cluster) sliced(namespace string) {
	if !c.unsliced[namespace] {
		return
	}
	delete(c.unsliced, namespace)
	for n := range c.services {
		c.staleServices[n] = true
	}
}

// withhold returns what takes note that the absence of an object of a kind is
// held back, nil that it is not any more.
func (c *cluster) withhold(k kind) func(name, *discovery.Held) {
	return func(n name, held *discovery.Held) {
		if held == nil {
			delete(c.held, object{k, n})
		} else {
			c.held[object{k, n}] = held
		}
		switch k {
		case ofPods:
			c.stalePod(n)
		case ofServices:
			c.staleServices[n] = true
		case ofSlices:
			if s := c.slices[n]; s != nil {
				c.staleServices[s.service] = true
				c.eachPod(s, c.stalePod)
			}
		}
	}
}

// heldWorkload returns the absence that is held back of a pod of a workload or
// of a slice that leads to one, nil if there is none.
func (c *cluster) heldWorkload(key string) *discovery.Held {
	if len(c.held) == 0 {
		return nil
	}
	for _, p := range c.replicas.sorted(key) {
		if held := c.held[object{ofPods, p}]; held != nil {
			return held
		}
		for _, s := range c.leading.sorted(p) {
			if held := c.held[object{ofSlices, s}]; held != nil {
				return held
			}
		}
	}
	return nil
}

// heldService returns the absence that is held back of a Service or of one of
// its slices, nil if there is none.
func (c *cluster) heldService(n name) *discovery.Held {
	if len(c.held) == 0 {
		return nil
	}
	if held := c.held[object{ofServices, n}]; held != nil {
		return held
	}
	for _, s := range c.parts.sorted(n) {
		if held := c.held[object{ofSlices, s}]; held != nil {
			return held
		}
	}
	return nil
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
		updates = c.tell(updates, key, telling{c.workload(key), c.heldWorkload(key)})
	}
	for _, n := range slices.SortedFunc(maps.Keys(c.staleServices), name.compare) {
		updates = c.tell(updates, serviceKey(n), telling{c.serviceInstances(n), c.heldService(n)})
	}
	clear(c.staleWorkloads)
	clear(c.staleServices)
	slices.SortFunc(updates, func(a, b discovery.Update) int { return strings.Compare(a.Key, b.Key) })
	return updates
}

// tell adds the update of one object if it differs from what was told of it.
// An instance that is still the same stays the same value.
func (c *cluster) tell(updates []discovery.Update, key string, now telling) []discovery.Update {
	before := c.told[key]
	if len(now.instances) == 0 {
		now.held = nil // there is nothing that would be gone
	}
	same := keep(before.instances, now.instances)
	if same && before.held == now.held {
		return updates
	}
	u := discovery.Update{
		Key: key, Instances: now.instances, Held: now.held,
		Gone: len(now.instances) == 0, Urgent: missing(before.instances, now.instances),
	}
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
