// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// Archive tells of a write by a user. Verb is create, update or delete; text
// is what was written, nothing on delete. What does not fit into an event is
// cut: the store has the whole text.
func Archive(k store.Key, verb, author, text string) store.Event {
	var value any
	if text != "" {
		value = text
	}
	return event(k.Namespace, TypeArchive, value, k.Kind+":"+k.Name, "archive:"+verb, "author:"+author)
}

// Deployed tells that a gateway is served that was not before, and Undeployed
// that one is served no more.
func Deployed(namespace string, g *routing.Gateway) store.Event {
	return event(namespace, TypeEvent, shown(g), "gateways:"+g.Name, "deployed")
}

// Undeployed is described with Deployed. Of the gateway its name will do.
func Undeployed(namespace string, g *routing.Gateway) store.Event {
	return event(namespace, TypeEvent, shown(g), "gateways:"+g.Name, "undeployed")
}

// Differences tells what differs between the routes of two forms of a gateway;
// nothing if either is nil, for then the whole gateway came or went. Routes
// come in the order of the form after, those that are gone at the end.
func Differences(namespace string, before, after *routing.Gateway) []store.Event {
	if before == nil || after == nil || before == after {
		return nil
	}
	var list []store.Event
	tell := func(r *routing.Route, what string) {
		list = append(list, event(namespace, TypeEvent, shown(after), "gateways:"+after.Name, "route:"+what, "routes:"+r.Path))
	}
	former := make(map[string]*routing.Route, len(before.Routes))
	for _, r := range before.Routes {
		former[r.Path] = r
	}
	for _, r := range after.Routes {
		was := former[r.Path]
		delete(former, r.Path)
		if was == nil {
			tell(r, "added")
			continue
		}
		for _, what := range differences(was, r) {
			tell(r, what)
		}
		if after.Selector == "" && !sameTargets(was, r) {
			tell(r, "targetschanged")
		}
	}
	for _, r := range before.Routes {
		if former[r.Path] != nil {
			tell(r, "removed")
		}
	}
	return list
}

// differences names what differs between two forms of a route.
func differences(was, is *routing.Route) (list []string) {
	switch {
	case was.Condition == is.Condition:
		if is.Condition != "" && was.Strength != is.Strength {
			list = append(list, "conditionstrengthupdated")
		}
	case was.Condition == "":
		list = append(list, "conditionadded", "conditionstrengthadded")
	case is.Condition == "":
		list = append(list, "conditionremoved", "conditionstrengthremoved")
	default:
		list = append(list, "conditionupdated")
		if was.Strength != is.Strength {
			list = append(list, "conditionstrengthupdated")
		}
	}
	if was.Weight != is.Weight {
		list = append(list, "weightupdated")
	}
	return list
}

func sameTargets(was, is *routing.Route) bool {
	return slices.EqualFunc(was.Instances, is.Instances, func(a, b *routing.Instance) bool {
		return a.Address == b.Address && a.Port == b.Port
	})
}

// shown is what an event shows of a gateway.
func shown(g *routing.Gateway) any {
	type route struct {
		Name      string `json:"name"`
		Weight    string `json:"weight"`
		Condition string `json:"condition,omitempty"`
		Strength  string `json:"condition_strength,omitempty"`
		Instances int    `json:"instances,omitempty"`
	}
	show := struct {
		Name     string  `json:"name"`
		Port     string  `json:"port,omitempty"`
		Selector string  `json:"selector,omitempty"`
		Routes   []route `json:"routes,omitempty"`
		More     int     `json:"more_routes,omitempty"`
	}{Name: g.Name, Selector: g.Selector}
	if g.Port != (routing.Port{}) {
		show.Port = g.Port.String()
	}
	for i, r := range g.Routes {
		if i == 20 {
			show.More = len(g.Routes) - i
			break
		}
		one := route{Name: r.Path, Weight: r.Weight.String(), Condition: fit(r.Condition, 100), Instances: len(r.Instances)}
		if r.Condition != "" {
			one.Strength = r.Strength.String()
		}
		show.Routes = append(show.Routes, one)
	}
	return show
}

// ProxyJoined tells that a proxy connected.
func ProxyJoined(namespace, node string) store.Event {
	return event(namespace, TypeEvent, nil, "proxies:"+node, "proxy:joined")
}

// ProxyLeft tells that a proxy is no longer connected, and why.
func ProxyLeft(namespace, node, reason string) store.Event {
	return event(namespace, TypeEvent, reason, "proxies:"+node, "proxy:left")
}

// ProxyRefused tells that a proxy does not take a form of a gateway, and why.
// The gateway is empty if it is the whole table.
func ProxyRefused(namespace, node, gateway, reason string) store.Event {
	tags := []string{"proxies:" + node, "proxy:refused"}
	if gateway != "" {
		tags = append(tags, "gateways:"+gateway)
	}
	return event(namespace, TypeEvent, reason, tags...)
}

// HeldBack tells that an absence is not believed yet: of what, and why.
func HeldBack(namespace, what, reason string) store.Event {
	return event(namespace, TypeEvent, struct {
		What   string `json:"what"`
		Reason string `json:"reason"`
	}{fit(what, 1000), fit(reason, 1000)}, "absence:heldback")
}

// SlowConvergence tells that a change was not served everywhere for long, and
// by which proxy it was last; empty if nobody knows.
func SlowConvergence(namespace string, change uint64, took time.Duration, last string) store.Event {
	return event(namespace, TypeEvent, struct {
		Change uint64  `json:"change"`
		Took   float64 `json:"took_seconds"`
		Last   string  `json:"last_proxy,omitempty"`
	}{change, took.Seconds(), fit(last, 1000)}, "convergence:slow", "change:"+strconv.FormatUint(change, 10))
}

// Health tells that the health of a gateway, or of one of its routes, changed:
// 0 if something of it ended in 5xx lately, else 1.
func Health(namespace, gateway, route string, value float64) store.Event {
	tags := []string{"gateways:" + gateway, "gateway", "health"}
	if route != "" {
		tags = []string{"gateways:" + gateway, "route", "routes:" + route, "health"}
	}
	return event(namespace, TypeHealth, json.Number(strconv.FormatFloat(value, 'f', 1, 64)), tags...)
}

// Metric tells a number of a gateway, or of one of its routes, by its name,
// such as rate.
func Metric(namespace, gateway, route, name string, value float64) store.Event {
	tags := []string{"gateways:" + gateway, "gateway", "metrics:" + name}
	if route != "" {
		tags = []string{"gateways:" + gateway, "routes:" + route, "route", "metrics:" + name}
	}
	return event(namespace, TypeMetrics, value, tags...)
}
