// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	gateways   = "gateways"
	conditions = "conditions"
)

// view is an artifact, read as far as that is possible.
type view struct {
	store.Artifact
	doc  *routing.Document   // nil if the text cannot be read
	docs []*routing.Document // doc and what it refers to
	tree *yaml.Node          // what it says with its imports; nil if one is missing
	// Of gateways:
	own      *routing.Gateway         // what the text says alone; nil if it is refused
	asked    *routing.Gateway         // own, or the last good form; nil if there is none
	compiled *routing.CompiledGateway // what the newest plan makes of it; nil if nothing
	current  bool                     // compiled is of this version
	deployed bool
	service  Service // the zero Service if nobody knows of one
}

// view reads an artifact.
func (a *API) view(ctx context.Context, l *library, artifact store.Artifact) (*view, error) {
	v := &view{Artifact: artifact, doc: documentOf(artifact.Key, artifact.Text)}
	if v.doc != nil {
		var err error
		if v.docs, err = l.with(ctx, v.doc); err != nil {
			return nil, err
		}
		v.tree = quoted(routing.Tree(v.docs, v.doc))
	}
	if v.Kind != gateways {
		return v, nil
	}
	if v.doc != nil {
		table, _ := routing.Resolve(v.docs)
		if len(table.Gateways) == 1 {
			v.own = table.Gateways[0]
		}
	}
	if plan, ok := a.o.Plans.Last(v.Namespace); ok {
		if plan.Snapshot != nil {
			v.compiled = plan.Snapshot.ByName(v.Name)
		}
		v.current = v.Revision > 0 && v.Revision <= a.reached.in(v.Namespace)
	}
	if v.asked = v.own; v.asked == nil && v.compiled != nil {
		v.asked = v.compiled.Asked
	}
	d := a.o.Proxies.Deployed(v.Namespace, v.Name)
	v.deployed = d.Known && d.Served > 0
	if a.o.Services != nil {
		v.service = a.o.Services(v.Namespace, v.Name)
	}
	return v, nil
}

// shape returns an artifact as it is answered. The caller owns it.
func (v *view) shape() *yaml.Node {
	if v.Kind == gateways {
		return v.gateway()
	}
	out := mapping("name", str(v.Name))
	set(out, "kind", str(v.Kind))
	set(out, "metadata", v.metadata(v.tree))
	if v.tree != nil {
		for i := 0; i+1 < len(v.tree.Content); i += 2 {
			switch key := v.tree.Content[i].Value; key {
			case "name", "kind", "metadata", "import", "lookup_name", "targets":
			default:
				set(out, key, v.tree.Content[i+1])
			}
		}
	}
	return out
}

// metadata returns that of a tree, {} if it has none.
func (v *view) metadata(tree *yaml.Node) *yaml.Node {
	if m := get(tree, "metadata"); m != nil && m.Kind == yaml.MappingNode {
		return m
	}
	return emptyMap()
}

// gateway returns a gateway in Vamp's form (docs/rest-api.md).
func (v *view) gateway() *yaml.Node {
	out := mapping("name", str(v.Name))
	set(out, "kind", str(gateways))
	set(out, "metadata", v.metadata(v.tree))
	set(out, "lookup_name", str(routing.GatewayID(v.Name)))
	set(out, "internal", boolean(internal(v.Name)))
	g := v.asked
	if g == nil {
		set(out, "deployed", boolean(v.deployed))
		return out
	}
	if s := v.serviceNow(); s != nil {
		service := mapping("host", str(s.Host))
		set(service, "port", str(s.Port.String()))
		set(out, "service", service)
	}
	set(out, "deployed", boolean(v.deployed))
	set(out, "port", v.port())
	set(out, "sticky", strOrNull(g.Sticky))
	hosts := list()
	for _, h := range g.VirtualHosts {
		hosts.Content = append(hosts.Content, str(h))
	}
	set(out, "virtual_hosts", hosts)
	set(out, "selector", strOrNull(g.Selector))
	routes := emptyMap()
	for _, r := range v.routes() {
		set(routes, r.asked.Path, v.route(r))
	}
	set(out, "routes", routes)
	if own := get(v.tree, "sluice"); own != nil && own.Kind == yaml.MappingNode {
		set(out, "sluice", own)
	}
	return out
}

// serviceNow returns where a gateway can be reached from outside the proxy: as
// it is seen, else as it is written; nil if nobody knows.
func (v *view) serviceNow() *routing.Service {
	if v.service.Host == "" {
		return v.asked.Service
	}
	return &routing.Service{Host: v.service.Host, Port: routing.Port{Number: v.service.Port, Type: v.asked.Port.Type}}
}

// internal reports whether the name is that of an internal gateway:
// deployment/cluster/port.
func internal(name string) bool {
	n := 0
	for s := range strings.SplitSeq(name, "/") {
		if s != "" {
			n++
		}
	}
	return n == 3
}

// port returns the port as it was written, or as it was assigned.
func (v *view) port() *yaml.Node {
	p := v.asked.Port
	if p.Number == 0 && v.compiled != nil && v.compiled.Asked.Port.Text == "" && v.compiled.Type == p.Type {
		p.Number = v.compiled.Port
	}
	if p.Number == 0 {
		return null()
	}
	return str(p.String())
}

// routeView is a route to be shown.
type routeView struct {
	asked    *routing.Route
	compiled *routing.CompiledRoute // nil if the plan has none of its path
	found    []*routing.Instance
	written  *yaml.Node // what stands in the text for it, references followed; nil if nothing does
}

// routes returns the routes of a gateway in their order: those that are
// written, and those that its selector has found.
func (v *view) routes() []routeView {
	written := v.written()
	planned := make(map[string]*routing.CompiledRoute)
	instances := make(map[string][]*routing.Instance)
	var fromPlan []*routing.Route
	if v.compiled != nil {
		fromPlan = v.compiled.Asked.Routes
		for i, r := range fromPlan {
			instances[r.Path] = r.Instances
			if i < len(v.compiled.Routes) {
				planned[r.Path] = v.compiled.Routes[i]
			}
		}
	}
	list := v.asked.Routes
	selects := v.asked.Selector != "" && v.compiled != nil && v.compiled.Asked.Selector == v.asked.Selector
	if selects {
		if v.current || len(list) == 0 {
			list = fromPlan
		}
	}
	out := make([]routeView, 0, len(list))
	for _, r := range list {
		out = append(out, routeView{asked: r, compiled: planned[r.Path], found: instances[r.Path], written: written[r.Path]})
	}
	return out
}

// written returns what the text says of each route, by path.
func (v *view) written() map[string]*yaml.Node {
	entries := routeEntries(get(v.tree, "routes"))
	by := make(map[string]*yaml.Node, len(entries))
	if v.own == nil || len(entries) != len(v.own.Routes) {
		return by
	}
	for i, e := range entries { // in the order of the text, whatever the keys look like
		by[v.own.Routes[i].Path] = v.follow(e.value)
	}
	return by
}

// follow returns the map of settings that a route's value stands for.
func (v *view) follow(n *yaml.Node) *yaml.Node {
	name := ""
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.ScalarNode:
		name = n.Value
	default:
		for _, key := range []string{"ref", "reference"} {
			if ref := get(n, key); ref != nil && ref.Kind == yaml.ScalarNode {
				name = ref.Value
				break
			}
		}
	}
	if name == "" {
		return n
	}
	for _, d := range v.docs {
		if d.Kind == "routes" && d.Name == name {
			return quoted(routing.Tree(v.docs, d))
		}
	}
	return nil
}

// routeEntry is a route of a text: its key and what stands behind it, nil for
// nothing.
type routeEntry struct {
	key   string
	value *yaml.Node
}

// routeEntries reads the forms in which routes are written.
func routeEntries(n *yaml.Node) []routeEntry {
	if n == nil {
		return nil
	}
	var out []routeEntry
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			out = append(out, routeEntry{n.Content[i].Value, n.Content[i+1]})
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind == yaml.MappingNode && len(item.Content) == 2 {
				out = append(out, routeEntry{item.Content[0].Value, item.Content[1]})
				continue
			}
			out = append(out, routeEntry{item.Value, nil})
		}
	case yaml.ScalarNode:
		if n.Tag != "!!null" {
			out = append(out, routeEntry{n.Value, nil})
		}
	default: // trees have no others
	}
	return out
}

// route returns a route in Vamp's form.
func (v *view) route(r routeView) *yaml.Node {
	asked := r.asked
	out := mapping("metadata", v.metadata(r.written))
	set(out, "lookup_name", str(routing.RouteID(v.Name, asked.Path)))
	set(out, "selector", strOrNull(asked.Selector))
	fine := asked.Weight%100 != 0
	if !fine {
		set(out, "weight", str(asked.Weight.String()))
	}
	balance := asked.Balance
	if balance == "" {
		balance = "default"
	}
	set(out, "balance", str(balance))
	set(out, "condition", condition(asked, r.written))
	set(out, "condition_strength", str(asked.Strength.String()))
	rewrites := list()
	for _, rw := range asked.Rewrites {
		rewrites.Content = append(rewrites.Content, mapping("path", str(rw.Path)))
	}
	set(out, "rewrites", rewrites)
	if targets := targetsOf(r); len(targets) > 0 {
		set(out, "targets", list(targets...))
	}
	if own := ownOf(r.written, asked, fine); len(own.Content) > 0 {
		set(out, "sluice", own)
	}
	return out
}

// condition returns that of a route, with the notes that stand beside it.
func condition(r *routing.Route, written *yaml.Node) *yaml.Node {
	if r.Condition == "" {
		return null()
	}
	out := mapping("condition", str(r.Condition))
	if m := get(get(written, "condition"), "metadata"); m != nil && m.Kind == yaml.MappingNode {
		set(out, "metadata", m)
	}
	return out
}

// ownOf returns the settings beyond Vamp. The weight is among them if it is
// finer than 1 %, so that it always stands in one place.
func ownOf(written *yaml.Node, r *routing.Route, fine bool) *yaml.Node {
	own := emptyMap()
	if fine {
		set(own, "weight", str(r.Weight.String()))
	}
	from := get(written, "sluice")
	if from == nil || from.Kind != yaml.MappingNode {
		return own
	}
	for i := 0; i+1 < len(from.Content); i += 2 {
		if key := from.Content[i].Value; key != "weight" {
			set(own, key, from.Content[i+1])
		}
	}
	return own
}

// targetsOf returns what a route leads to, as far as that is known.
func targetsOf(r routeView) []*yaml.Node {
	if address, ok := strings.CutPrefix(r.asked.Path, "["); ok {
		return []*yaml.Node{mapping("url", str(strings.TrimSuffix(address, "]")))}
	}
	if r.compiled != nil && r.compiled.Target.Kind == routing.TargetGateway {
		return []*yaml.Node{mapping("name", str(r.asked.Path))}
	}
	out := make([]*yaml.Node, 0, len(r.found))
	for _, i := range r.found {
		name := i.Name
		if name == "" {
			name = i.AddrPort().String()
		}
		t := mapping("name", str(name))
		set(t, "host", str(i.Address.Unmap().String()))
		set(t, "port", integer(uint64(i.Port)))
		set(t, "metadata", emptyMap())
		out = append(out, t)
	}
	return out
}

// describe names an artifact in messages.
func describe(k store.Key) string { return fmt.Sprintf("%s/%s", k.Kind, shown(k.Name)) }
