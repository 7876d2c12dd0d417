// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/client"
)

// columnsOf returns the columns of a kind, and those that -o wide adds.
func columnsOf(kind string) (columns, wide []string) {
	switch kind {
	case "gateways":
		return []string{"NAME", "PORT", "TYPE", "STICKY", "ROUTES", "DEPLOYED", "STATUS"}, []string{"VIRTUAL HOSTS", "CONDITIONS", "SELECTOR", "WRITTEN AT"}
	case "conditions":
		return []string{"NAME", "CONDITION"}, nil
	case "rewrites":
		return []string{"NAME", "PATH"}, nil
	case "routes":
		return []string{"NAME", "WEIGHT", "STRENGTH", "CONDITION"}, nil
	case kindProxies:
		return []string{"NODE", "STATE", "SINCE", "VERSION", "GATEWAYS", "REFUSED"}, []string{"ZONE", "ADDRESS", "IDENTITY", "NAMESPACES", "BUILD"}
	case kindChanges:
		return []string{"ID", "STATE", "SERVED", "TOOK", "LAGGARDS"}, []string{"VERSION"}
	case kindCommits:
		return []string{"ID", "TIME", "AUTHOR", "STATE", "WRITTEN", "DELETED"}, nil
	}
	return []string{"NAME"}, nil
}

// gatewayItems makes rows of gateways, with how they stand on proxies.
func gatewayItems(ctx context.Context, c *client.Client, artifacts []client.Artifact, all bool) ([]item, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	by := make(map[string]client.GatewayStatus, len(status.Gateways))
	for _, s := range status.Gateways {
		by[s.Name] = s
	}
	items := make([]item, 0, len(artifacts))
	for _, a := range artifacts {
		g, err := a.Gateway()
		if err != nil {
			return nil, err
		}
		items = append(items, item{g.Name, g.Body, gatewayCells(g, by[g.Name])})
		delete(by, g.Name)
	}
	if !all {
		return items, nil
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		items = append(items, item{name, nil, gatewayCells(ofStatus(by[name]), by[name])})
	}
	slices.SortStableFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	return items, nil
}

// ofStatus makes a gateway of what is known of one that is not stored, such as
// one of a file.
func ofStatus(s client.GatewayStatus) client.Gateway {
	g := client.Gateway{Name: s.Name, Port: s.Port, Sticky: s.Sticky}
	for _, r := range s.Routes {
		g.Routes = append(g.Routes, client.Route{Path: r.Path, Weight: r.Weight, Condition: r.Condition, Strength: r.Strength})
	}
	return g
}

func gatewayCells(g client.Gateway, s client.GatewayStatus) []string {
	port, kind, _ := strings.Cut(g.Port, "/")
	if port != "" {
		kind = strings.ToLower(cmp.Or(kind, "http"))
	}
	now := make(map[string]string, len(s.Routes))
	for _, r := range s.Routes {
		now[r.Path] = r.Weight
	}
	var routes, conditions []string
	for _, r := range g.Routes {
		weight := r.Weight
		if n := now[r.Path]; n != "" && n != weight {
			weight += "/" + n
		}
		routes = append(routes, r.Path+" "+weight)
		if r.Condition != "" {
			conditions = append(conditions, r.Path+" "+r.Strength+" if "+r.Condition)
		}
	}
	deployed := ""
	if s.Proxies > 0 {
		deployed = fmt.Sprintf("%d/%d", s.Served, s.Proxies)
	}
	return []string{
		g.Name, port, kind, g.Sticky, strings.Join(routes, ", "), deployed, gatewayWord(s),
		strings.Join(g.VirtualHosts, ", "), strings.Join(conditions, "; "), g.Selector, s.At,
	}
}

// gatewayWord says in few words how a gateway stands.
func gatewayWord(s client.GatewayStatus) string {
	switch {
	case s.Fault != "":
		return "cannot be sent: " + s.Fault
	case s.State != "" && s.State != "good":
		return s.State
	case s.Proxies == 0:
		return "no proxies"
	case len(s.Refused) > 0:
		return "refused by " + proxies(len(s.Refused))
	case s.Served < s.Proxies:
		return "on its way"
	}
	return "serving"
}

// artifactItems makes rows of other artifacts.
func artifactItems(kind string, artifacts []client.Artifact) []item {
	items := make([]item, 0, len(artifacts))
	for _, a := range artifacts {
		var body struct {
			Condition json.RawMessage `json:"condition"`
			Path      string          `json:"path"`
			Weight    string          `json:"weight"`
			Strength  string          `json:"condition_strength"`
		}
		_ = json.Unmarshal(a.Body, &body) // what is not there stays empty
		cells := []string{a.Name}
		switch kind {
		case "conditions":
			cells = append(cells, conditionText(body.Condition))
		case "rewrites":
			cells = append(cells, body.Path)
		case "routes":
			cells = append(cells, body.Weight, body.Strength, conditionText(body.Condition))
		}
		items = append(items, item{a.Name, a.Body, cells})
	}
	return items
}

// conditionText returns the text of a condition, which is a text or has one.
func conditionText(body json.RawMessage) string {
	var text string
	if json.Unmarshal(body, &text) == nil {
		return text
	}
	var inner struct {
		Condition string `json:"condition"`
	}
	_ = json.Unmarshal(body, &inner)
	return inner.Condition
}

func proxyItems(ctx context.Context, c *client.Client, names []string) ([]item, error) {
	all, err := c.Proxies(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(p client.Proxy) bool { return p.Node == name }) {
			return nil, &client.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("no proxy %.80q is connected or was in the last minutes", name)}
		}
	}
	var items []item
	for _, p := range all {
		if len(names) > 0 && !slices.Contains(names, p.Node) {
			continue
		}
		items = append(items, item{p.Node, p.Body, proxyCells(p)})
	}
	return items, nil
}

func proxyCells(p client.Proxy) []string {
	state, since := "current", p.Since
	switch {
	case !p.Connected:
		state, since = "gone", p.Gone
	case !p.BehindSince.IsZero():
		state, since = "behind", p.BehindSince
	}
	var refused []string
	for _, r := range p.Refusals {
		refused = append(refused, r.String())
	}
	return []string{
		p.Node, state, when(since), string(p.Version), strconv.Itoa(p.Gateways), strings.Join(refused, "; "),
		p.Zone, p.Address, p.Identity, strings.Join(p.Namespaces, ", "), p.Build,
	}
}

// when writes a time for people; empty if it is not known.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// commitItems makes rows of the newest changes.
func commitItems(ctx context.Context, c *client.Client) ([]item, error) {
	all, err := c.Changes(ctx)
	items := make([]item, 0, len(all))
	for _, m := range all {
		id := strconv.FormatUint(m.ID, 10)
		items = append(items, item{id, m.Body, []string{
			id, when(m.Time), m.Author, m.State, strings.Join(m.Artifacts, ", "), strings.Join(m.Deleted, ", "),
		}})
	}
	return items, err
}

func changeItems(ctx context.Context, c *client.Client, names []string) ([]item, error) {
	var items []item
	for _, name := range names {
		id, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return nil, usagef("%.40q is not the number of a change", name)
		}
		change, err := c.Change(ctx, id, 0)
		if err != nil {
			return nil, err
		}
		items = append(items, item{name, change.Body, changeCells(change)})
	}
	return items, nil
}

func changeCells(c client.Change) []string {
	took := ""
	if c.TookSeconds > 0 {
		took = rounded(c.TookSeconds).String()
	}
	var laggards []string
	for _, l := range c.Laggards {
		laggards = append(laggards, strings.TrimSuffix(l.Node+": "+l.Reason, ": "))
	}
	return []string{
		strconv.FormatUint(c.ID, 10), c.State, fmt.Sprintf("%d/%d", c.Served, c.Proxies), took,
		strings.Join(laggards, "; "), string(c.Version),
	}
}
