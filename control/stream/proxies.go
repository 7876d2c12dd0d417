// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// Proxy is a proxy that is connected, or was within the last 10 minutes. It is
// ready to be shown as JSON.
type Proxy struct {
	Node       string            `json:"node"`
	Zone       string            `json:"zone,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Namespaces []string          `json:"namespaces"` // in the order claimed
	Build      string            `json:"build,omitempty"`
	Address    string            `json:"address"`
	// Identity says what proved who it is: "certificate", "token ID", or
	// "claim" for plain text.
	Identity  string    `json:"identity"`
	Expires   time.Time `json:"expires,omitzero"` // when that ends; zero for a claim
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`         // when the session began
	Gone      time.Time `json:"gone,omitzero"` // when it ended
	// Reason is why it ended, for people; empty while it lasts.
	Reason  string          `json:"reason,omitempty"`
	Version routing.Version `json:"version"` // served; zero if none was acknowledged
	// Behind is since when it does not serve the newest table; zero if it does.
	Behind time.Time `json:"behind_since,omitzero"`
	// Gateways is how many of those that it is to serve it takes.
	Gateways int `json:"gateways"`
	// Refusals are the gateways that it does not take, by name, the first 200.
	Refusals []Refusal `json:"refusals,omitempty"`
}

// Refusal is a gateway that a proxy does not take in its present form.
type Refusal struct {
	Gateway string `json:"gateway"` // empty for the whole table
	// Namespace is that of the gateway, empty for the whole table.
	Namespace string    `json:"-"`
	Node      string    `json:"node"`
	Since     time.Time `json:"since"`
	Reasons   []Reason  `json:"reasons"`        // the first ten
	More      int       `json:"more,omitempty"` // how many there are beside them
}

// Reason is one thing that is wrong with a gateway, in the words of a proxy.
type Reason struct {
	At      string `json:"at,omitempty"` // where its author wrote it
	Path    string `json:"path,omitempty"`
	Problem string `json:"problem"`
	Allowed string `json:"allowed,omitempty"`
	Code    string `json:"code,omitempty"`
}

// String returns the reason on one line.
func (r Reason) String() string {
	text := r.Problem
	if r.Path != "" {
		text = r.Path + ": " + text
	}
	if r.At != "" {
		text = r.At + ": " + text
	}
	if r.Allowed != "" {
		text += "; allowed: " + r.Allowed
	}
	return text
}

// Deployment says where the present form of a gateway is served.
type Deployment struct {
	Namespace string `json:"namespace"`
	Gateway   string `json:"gateway"`
	Known     bool   `json:"known"`   // the newest table has it
	Proxies   int    `json:"proxies"` // that are connected and are to serve it
	Served    int    `json:"served"`  // that do
	// Refused are those that do not take it, and Pending the nodes of those
	// that were not heard of yet; the first 200 of each.
	Refused []Refusal `json:"refused,omitempty"`
	Pending []string  `json:"pending,omitempty"`
	// Hidden names the namespaces that proxies take another gateway of this
	// name from.
	Hidden []string `json:"hidden,omitempty"`
	// Fault says why it cannot be sent to anybody; empty if it can.
	Fault string `json:"fault,omitempty"`
}

// keepGone is how long proxies that have gone are told of.
const keepGone = 10 * time.Minute

// Proxies returns the proxies that are connected, and those that went within
// the last 10 minutes, by node. The caller owns the list.
func (s *Server) Proxies() []Proxy {
	s.mu.Lock()
	s.forgetGone(s.o.Clock())
	list := make([]Proxy, 0, len(s.sessions)+len(s.gone))
	for _, c := range s.sessions {
		list = append(list, c.show())
	}
	for _, p := range s.gone {
		list = append(list, p)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Proxy) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), slices.Compare(a.Namespaces, b.Namespaces))
	})
	return list
}

// forgetGone lets go of those that went long ago, and of the oldest if there
// are too many. The server is locked.
func (s *Server) forgetGone(now time.Time) {
	for key, p := range s.gone {
		if now.Sub(p.Gone) >= keepGone {
			delete(s.gone, key)
		}
	}
	for len(s.gone) > 2*s.o.MaxProxies {
		oldest := ""
		for key, p := range s.gone {
			if oldest == "" || p.Gone.Before(s.gone[oldest].Gone) {
				oldest = key
			}
		}
		delete(s.gone, oldest)
	}
}

// Deployed tells where a gateway is served.
func (s *Server) Deployed(namespace, gateway string) Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := Deployment{Namespace: namespace, Gateway: gateway}
	n := s.namespaces[namespace]
	if n == nil {
		return d
	}
	d.Proxies, d.Fault = len(n.sessions), n.faults[gateway]
	if n.table == nil {
		return d
	}
	hash, known := n.table.Hash(gateway)
	if d.Known = known; !known {
		return d
	}
	for c := range n.sessions {
		d.add(c, n, hash)
	}
	slices.Sort(d.Pending)
	slices.SortFunc(d.Refused, func(a, b Refusal) int { return strings.Compare(a.Node, b.Node) })
	slices.Sort(d.Hidden)
	d.Pending, d.Refused = d.Pending[:min(len(d.Pending), maxRefusals)], d.Refused[:min(len(d.Refused), maxRefusals)]
	d.Hidden = slices.Compact(d.Hidden)
	return d
}

// add takes in how a session fares. The server is locked.
func (d *Deployment) add(c *session, n *namespace, hash wire.Hash) {
	if by := c.view.hides(n, d.Gateway); by != "" {
		d.Proxies--
		d.Hidden = append(d.Hidden, by)
		return
	}
	r := c.refusals[d.Gateway]
	if r == nil && c.tableRefusal != nil {
		r = &refusal{Refusal: c.tableRefusal.Refusal, hash: hash}
	}
	if c.acked != nil && c.acked.table != nil {
		if serves, ok := c.acked.table.Hash(d.Gateway); ok && serves == hash && c.refusals[d.Gateway] == nil {
			d.Served++
			return
		}
	}
	if r != nil && r.hash == hash {
		d.Refused = append(d.Refused, r.Refusal)
		return
	}
	d.Pending = append(d.Pending, c.hello.GetNode())
}

// hides returns the namespace before n that has a gateway of that name, empty
// if none does. The server is locked.
func (v *view) hides(n *namespace, gateway string) string {
	for _, before := range v.namespaces {
		if before == n {
			return ""
		}
		if before.table != nil {
			if _, ok := before.table.Hash(gateway); ok {
				return before.name
			}
		}
	}
	return ""
}

// Leave asks the proxies of a node to end their sessions, and to connect to
// one of the servers, best first, after a while; without servers to one of
// those that they know. It returns how many sessions that concerns.
func (s *Server) Leave(node, reason string, after time.Duration, servers ...string) (asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sessions {
		if c.identity.Node == node {
			c.depart(&controlpb.Leave{Reason: reason, Servers: servers, AfterNs: int64(after)}, endf(endAsked, codes.OK, "asked to leave: %s", reason))
			asked++
		}
	}
	return asked
}
