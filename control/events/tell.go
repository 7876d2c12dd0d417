// SPDX-License-Identifier: Apache-2.0

package events

import (
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// The types of events.
const (
	TypeEvent   = "event"
	TypeArchive = "archive"
	TypeMetrics = "metrics"
	TypeHealth  = "health"
)

// Expand returns tags with a:b as a and a:b, each once, in their order.
func Expand(tags ...string) []string { return tags }

// Archive tells of a write by a user. Verb is create, update or delete; text
// is what was written, nothing on delete.
func Archive(k store.Key, verb, author, text string) store.Event { return store.Event{} }

// Deployed tells that a gateway entered the set of those that are served, and
// Undeployed that it left it.
func Deployed(namespace string, g *routing.Gateway) store.Event { return store.Event{} }

// Undeployed is described with Deployed.
func Undeployed(namespace string, g *routing.Gateway) store.Event { return store.Event{} }

// Differences tells what differs between the routes of two forms of a gateway,
// either of which may be nil.
func Differences(namespace string, before, after *routing.Gateway) []store.Event { return nil }

// ProxyJoined tells that a proxy connected.
func ProxyJoined(namespace, node string) store.Event { return store.Event{} }

// ProxyLeft tells that a proxy is gone, and why.
func ProxyLeft(namespace, node, reason string) store.Event { return store.Event{} }

// ProxyRefused tells that a proxy does not take a form of a gateway.
func ProxyRefused(namespace, node, gateway, reason string) store.Event { return store.Event{} }

// HeldBack tells that an absence is not believed yet, and why.
func HeldBack(namespace, what, reason string) store.Event { return store.Event{} }

// SlowConvergence tells that a change is not served everywhere yet, or took
// long to be.
func SlowConvergence(namespace string, change uint64, took time.Duration, laggards []string) store.Event {
	return store.Event{}
}
