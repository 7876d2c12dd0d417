// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/conditions"
)

// CompileOptions shape a snapshot. The zero CompileOptions are ready to use.
type CompileOptions struct {
	// Seed differs between proxies, so that their splits do not run in step.
	Seed uint64
	// PortMin and PortMax bound assigned ports. Zero means 40000 and 45000.
	PortMin, PortMax int
	// VirtualHostsDomain, if not empty, gives every gateway an automatic
	// virtual host below it: name.domain, port.deployment.domain or
	// port.cluster.deployment.domain.
	VirtualHostsDomain string
}

func (o CompileOptions) withDefaults() CompileOptions {
	o.PortMin = cmp.Or(o.PortMin, 40000)
	o.PortMax = cmp.Or(o.PortMax, 45000)
	return o
}

// PortBounds returns the lowest and the highest port that is assigned.
func (o CompileOptions) PortBounds() (low, high int) {
	o = o.withDefaults()
	return o.PortMin, o.PortMax
}

// Compile makes the snapshot of a table. prev is the snapshot that it will
// follow, nil for the first one; neither it nor the table is changed. The
// snapshot is never nil and always whole: a gateway with a Refused fault
// keeps the form that it has in prev, and is absent if it has none there; all
// others are as the table asks. Faults come in the order of the table, all at
// once, with those of severity Warning among them.
//
// What did not change is carried over: a gateway that is asked for as before
// is the same pointer, and one that changed keeps its slot, an assigned port,
// and each split whose weights are the same, with its counter.
func Compile(prev *Snapshot, t *Table, o CompileOptions) (*Snapshot, []*Fault) {
	if prev == nil {
		prev = &empty
	}
	c := &compilation{
		prev:    prev,
		table:   t,
		options: o.withDefaults(),
		next:    &Snapshot{version: t.Version, schedules: prev.schedules.follow()},
	}
	c.next.options = c.options
	if next, ok := c.again(); ok {
		next.table, next.settled = t, true
		return next, next.faults
	}
	c.admit()
	c.settle()
	c.warnOfDeadEnds()
	c.place()
	c.sniff()
	c.build()
	faults := c.faults()
	c.note(faults)
	return c.next, faults
}

// compilation is one run of Compile.
type compilation struct {
	prev       *Snapshot
	table      *Table
	options    CompileOptions
	next       *Snapshot
	candidates []*candidate // in table order, then those of broken text
	byName     map[string]*candidate
	chained    []*candidate // those with routes that may lead to gateways
}

// candidate is one gateway on its way into the snapshot.
type candidate struct {
	name  string
	order int // position among the candidates
	// asked is the gateway in the table; nil if its text is broken.
	asked *Gateway
	prev  *CompiledGateway // nil if new
	// form is what is to serve: asked, or what prev was compiled from; nil if
	// neither can.
	form *Gateway
	// changed reports that form is asked and differs from what prev was
	// compiled from. Only such a gateway is refused for a conflict with others:
	// whoever stays as he was has the older right.
	changed    bool
	conditions []*conditions.Condition // of a changed form, by route
	addresses  []*Target               // of a changed form, by route
	edits      []*Edits                // of a changed form, by route
	port       int
	slot       int
	sniffs     bool
	faults     []*Fault

	// Of the walk over chains.
	mark, low int
	stacked   bool
	depth     int
	via       *candidate
}

// fault notes a fault at a place of the gateway.
func (c *candidate) fault(f Fault) {
	f.Kind, f.Name = "gateways", c.name
	if f.At == (Position{}) && c.asked != nil {
		f.At = c.asked.At
	}
	c.faults = append(c.faults, &f)
}

// revert gives up the present form for the one before it.
func (c *candidate) revert() {
	if c.changed && c.prev != nil {
		c.form = c.prev.Asked
	} else {
		c.form = nil
	}
	c.changed = false
	c.conditions, c.addresses = nil, nil
}

// refuse notes a fault and gives up the present form.
func (c *candidate) refuse(f Fault) {
	c.fault(f)
	c.revert()
}

// admit makes the candidates, each looked at by itself.
func (c *compilation) admit() {
	n := len(c.table.Gateways) + len(c.table.Broken)
	c.candidates = make([]*candidate, 0, n)
	c.byName = make(map[string]*candidate, n)
	all := make([]candidate, n)
	add := func(name string, asked *Gateway) *candidate {
		one := &all[len(c.candidates)]
		*one = candidate{name: name, order: len(c.candidates), asked: asked, prev: c.prev.byName[name]}
		c.candidates = append(c.candidates, one)
		if c.byName[name] == nil {
			c.byName[name] = one
		}
		return one
	}
	for _, g := range c.table.Gateways {
		one := add(g.Name, g)
		if c.byName[g.Name] != one {
			one.fault(Fault{
				Code:    CodeDuplicateName,
				Path:    "name",
				Problem: fmt.Sprintf("the name %q is taken by another gateway of the table", g.Name),
				Allowed: "a name that no other gateway has",
			})
			continue
		}
		if one.prev != nil && g.equal(one.prev.Asked) {
			one.form = one.prev.Asked
			continue
		}
		one.form, one.changed = g, true
		if !one.check() {
			one.revert()
		}
	}
	for _, name := range c.table.Broken {
		if c.byName[name] != nil {
			continue
		}
		if one := add(name, nil); one.prev != nil {
			one.form = one.prev.Asked
		}
	}
	for _, one := range c.candidates {
		if (one.form != nil && one.form.chains()) || (one.prev != nil && one.prev.Asked.chains()) {
			c.chained = append(c.chained, one)
		}
	}
}

// settle lets the candidates find their place among each other. Whoever gives
// up a form may thereby get in the way of another, so it goes on until
// nothing moves; it ends, since each gives up at most twice.
func (c *compilation) settle() {
	for {
		moved := c.settlePorts()
		moved = c.settleTypes() || moved
		if c.settleCycles() {
			continue // chains have no depth while there are cycles
		}
		if !c.settleDepth() && !moved {
			return
		}
	}
}

// place gives every gateway a slot: the one that it had, or the first that is
// free.
func (c *compilation) place() {
	slots := make([]*CompiledGateway, 0, max(len(c.candidates), len(c.prev.slots)))
	taken := make([]bool, cap(slots)+1)
	for _, one := range c.candidates {
		if one.form != nil && one.prev != nil {
			one.slot = one.prev.Slot
			taken[one.slot] = true
		}
	}
	free := 0
	for _, one := range c.candidates {
		if one.form == nil {
			continue
		}
		if one.prev == nil {
			for taken[free] {
				free++
			}
			one.slot = free
			taken[free] = true
		}
		if n := one.slot + 1; n > len(slots) {
			slots = slots[:n]
		}
	}
	c.next.slots = slots
}

// build compiles what changed and takes over what did not.
func (c *compilation) build() {
	c.next.gateways = make([]*CompiledGateway, 0, len(c.candidates))
	for _, one := range c.candidates {
		if one.form == nil {
			continue
		}
		g := one.prev
		if !c.reusable(one) {
			g = c.compile(one)
		}
		c.next.gateways = append(c.next.gateways, g)
		c.next.slots[one.slot] = g
	}
	c.next.schedules.forget(c.next.gateways)
	c.warnOfMixedHosts()
	for _, lost := range c.next.index() {
		c.byName[lost.gateway].fault(Fault{
			Code:     codeHostTaken,
			Path:     "virtual_hosts",
			Problem:  fmt.Sprintf("requests for %s go to gateway %s, which has the same virtual host", lost.host, lost.to),
			Allowed:  "the first by number of name segments, then by name, has it; remove it from one of the two",
			Severity: Warning,
		})
	}
}

// faults returns what was found, in table order.
func (c *compilation) faults() []*Fault {
	var all []*Fault
	for _, one := range c.candidates {
		all = append(all, one.faults...)
	}
	return all
}

// reusable reports whether a gateway is in all that it was.
func (c *compilation) reusable(one *candidate) bool {
	if one.changed || one.port != one.prev.Port || one.sniffs != one.prev.Sniffs ||
		c.options.Seed != c.prev.options.Seed ||
		c.options.VirtualHostsDomain != c.prev.options.VirtualHostsDomain {
		return false
	}
	for i, r := range one.form.Routes {
		if r.external() {
			continue
		}
		if was := one.prev.Routes[i].Target; *was != *c.target(one, i) {
			return false
		}
	}
	return true
}

// compile makes the gateway of a candidate.
func (c *compilation) compile(one *candidate) *CompiledGateway {
	form := one.form
	g := &CompiledGateway{
		Slot:   one.slot,
		Name:   one.name,
		Port:   one.port,
		Type:   form.Port.Type,
		Hosts:  hostsOf(form, c.options.VirtualHostsDomain),
		Routes: make([]*CompiledRoute, len(form.Routes)),
		Entry:  form.entry(),
		Sniffs: one.sniffs,
		Asked:  form,

		Forwarded: form.Forwarded,
		HTTP2:     form.http2(),
	}
	g.Bounds = shared(form.bounds(nil))
	routes := make([]CompiledRoute, len(form.Routes))
	for i, asked := range form.Routes {
		r := &routes[i]
		*r = CompiledRoute{
			Index:     i,
			Path:      asked.Path,
			Weight:    asked.Weight,
			Condition: one.condition(i),
			Strength:  asked.Strength,
			Edits:     one.editsOf(i),
			Target:    c.target(one, i),
			Balance:   PartOf(form.balance(asked)),
			Watch:     PartOf(form.watch(asked)),
			Instances: asked.Instances,
			Bounds:    shared(form.bounds(asked)),
			Load:      form.load(asked),
			Retries:   asked.retries(),
			TLS:       asked.TLS,

			ProxyProtocol: asked.ProxyProtocol,
			Protocol:      asked.Protocol,
		}
		g.Routes[i] = r
		if r.Condition != nil {
			g.Conditions = append(g.Conditions, r)
		}
	}
	c.split(one, g)
	g.stick()
	return g
}

// split gives a gateway its splits: those it had where the weights stayed.
func (c *compilation) split(one *candidate, g *CompiledGateway) {
	weights := make([]Weight, len(g.Routes))
	for i, r := range g.Routes {
		weights[i] = r.Weight
	}
	if g.leastConn() {
		turns(weights)
	}
	var was CompiledGateway
	if one.prev != nil && c.options.Seed == c.prev.options.Seed {
		was = *one.prev
	}
	mode := g.Asked.Split
	g.Weights = c.follow(was.Weights, weights, mode, g.Name, "weights", "")

	var before map[string]*CompiledRoute
	for _, r := range g.Conditions {
		if r.Strength == 0 || r.Strength == FullWeight {
			continue
		}
		if before == nil {
			before = make(map[string]*CompiledRoute, len(was.Conditions))
			for _, r := range was.Conditions {
				before[r.Path] = r
			}
		}
		var same CompiledRoute
		if r := before[r.Path]; r != nil {
			same = *r
		}
		strength := []Weight{r.Strength, FullWeight - r.Strength}
		r.Taken = c.follow(same.Taken, strength, mode, g.Name, "taken", r.Path)
		r.Remainder = c.follow(same.Remainder, weights, mode, g.Name, "remainder", r.Path)
	}
}

// follow returns the split that comes after was, which may be nil: was itself
// if it spreads alike, else a new one, nil if all weights are 0. A new one is
// salted by the table's version: where splits that change often start anew,
// they start elsewhere each time.
func (c *compilation) follow(was *Split, weights []Weight, mode SplitMode, gateway, role, route string) *Split {
	if was.same(weights, mode) {
		return was
	}
	s := c.next.schedules.of(weights)
	if s == nil {
		return nil
	}
	salt := mix(mix(c.table.Version.Epoch) + c.table.Version.Revision)
	for _, text := range []string{gateway, role, route} {
		salt = mixText(salt, text)
	}
	return newSplit(s, mode, c.options.Seed, salt)
}

// condition returns the compiled condition of a route, nil if it has none.
func (c *candidate) condition(i int) *conditions.Condition {
	if c.changed {
		return c.conditions[i]
	}
	return c.prev.Routes[i].Condition
}

// hostsOf returns the virtual hosts of a gateway as they are compared, each
// once, the automatic one first.
func hostsOf(g *Gateway, domain string) []string {
	var hosts []string
	seen := make(map[string]bool, len(g.VirtualHosts)+1)
	add := func(host string) {
		if host = normalHost(host); host != "" && !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
		}
	}
	if domain != "" {
		add(automaticHost(g.Name, domain))
	}
	for _, host := range g.VirtualHosts {
		add(host)
	}
	return hosts
}

// automaticHost returns the name below domain that a gateway has by itself:
// its segments from last to first, so that a deployment is a domain of its
// ports. Gateways of four segments have none.
func automaticHost(name, domain string) string {
	segments := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	if len(segments) == 0 || len(segments) > 3 {
		return ""
	}
	slices.Reverse(segments)
	for i, s := range segments {
		segments[i] = hostLabel(s)
	}
	return strings.Join(segments, ".") + "." + strings.TrimPrefix(domain, ".")
}

// hostLabel makes a name segment fit for a host name: one that starts with a
// letter or digit has all other characters replaced by "-".
func hostLabel(segment string) string {
	plain := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	}
	if first, _ := utf8.DecodeRuneInString(segment); !plain(first) {
		return segment
	}
	return strings.Map(func(c rune) rune {
		if plain(c) {
			return c
		}
		return '-'
	}, segment)
}
