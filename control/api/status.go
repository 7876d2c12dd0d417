// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// proxyView is a proxy as it is answered.
type proxyView struct {
	Node       string            `json:"node"`
	Zone       string            `json:"zone,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Namespaces []string          `json:"namespaces"`
	Build      string            `json:"build,omitempty"`
	Address    string            `json:"address"`
	Identity   string            `json:"identity"`
	Expires    time.Time         `json:"expires,omitzero"`
	Connected  bool              `json:"connected"`
	Since      time.Time         `json:"since"`
	Gone       time.Time         `json:"gone,omitzero"`
	Reason     string            `json:"reason,omitempty"`
	Version    string            `json:"version"`
	Behind     time.Time         `json:"behind_since,omitzero"`
	Gateways   int               `json:"gateways"`
	Refusals   []refusalView     `json:"refusals,omitempty"`
}

// refusalView is a gateway that a proxy does not take.
type refusalView struct {
	Gateway string          `json:"gateway"`
	Node    string          `json:"node,omitempty"`
	Since   time.Time       `json:"since,omitzero"`
	Reason  string          `json:"reason"` // the first, on one line
	Reasons []stream.Reason `json:"reasons,omitempty"`
}

func refusalsOf(list []stream.Refusal) []refusalView {
	out := make([]refusalView, 0, len(list))
	for _, r := range list {
		v := refusalView{Gateway: r.Gateway, Node: r.Node, Since: r.Since, Reasons: r.Reasons}
		if len(r.Reasons) > 0 {
			v.Reason = r.Reasons[0].String()
		}
		if n := len(r.Reasons) + r.More - 1; n > 0 {
			v.Reason += fmt.Sprintf(" (and %d more)", n)
		}
		out = append(out, v)
	}
	return out
}

// proxies answers the proxies of the namespace.
func (c *call) proxies() error {
	out := []proxyView{}
	for _, p := range c.api.o.Proxies.Proxies() {
		if !serves(p.Namespaces, c.ns) {
			continue
		}
		v := proxyView{
			Node: p.Node, Zone: p.Zone, Labels: p.Labels, Namespaces: c.visible(p.Namespaces), Build: p.Build, Address: p.Address,
			Identity: p.Identity, Expires: p.Expires, Connected: p.Connected, Since: p.Since, Gone: p.Gone, Reason: p.Reason,
			Behind: p.Behind, Gateways: p.Gateways, Refusals: refusalsOf(c.known(p)),
		}
		if p.Version != (routing.Version{}) {
			v.Version = p.Version.String()
		}
		out = append(out, v)
	}
	return c.answer(http.StatusOK, out)
}

// visible returns the namespaces that whoever asks may know of.
func (c *call) visible(namespaces []string) []string {
	out := []string{}
	for _, ns := range namespaces {
		if c.person.Rank(ns) > 0 {
			out = append(out, ns)
		}
	}
	return out
}

// known returns the refusals of a proxy that whoever asks may know of. One of a
// whole table tells of all that the proxy serves.
func (c *call) known(p stream.Proxy) []stream.Refusal {
	all := len(c.visible(p.Namespaces)) == len(p.Namespaces)
	var out []stream.Refusal
	for _, r := range p.Refusals {
		if all || r.Namespace != "" && c.person.Rank(r.Namespace) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// statusView is how a namespace stands.
type statusView struct {
	Namespace string           `json:"namespace"`
	Version   string           `json:"version"`
	Listed    bool             `json:"listed"` // all sources have told what they have
	Held      *planner.Held    `json:"held,omitempty"`
	Unsaved   string           `json:"unsaved,omitempty"` // why what is to outlast a restart could not be kept
	Failed    string           `json:"failed,omitempty"`  // why there is no new table though one is due
	Proxies   int              `json:"proxies"`           // that are connected
	Gateways  []gatewayStatus  `json:"gateways"`
	Objects   []planner.Object `json:"objects"` // as sources tell of them
	Faults    []fault          `json:"faults"`
}

// gatewayStatus is how one gateway stands.
type gatewayStatus struct {
	planner.Gateway
	Served  int           `json:"served"`  // proxies that serve its present form
	Proxies int           `json:"proxies"` // that are to
	Port    string        `json:"port,omitempty"`
	Service *serviceView  `json:"service,omitempty"`
	Sticky  string        `json:"sticky,omitempty"`
	Routes  []routeStatus `json:"routes,omitempty"`
	Refused []refusalView `json:"refused,omitempty"`
	Pending []string      `json:"pending,omitempty"` // nodes that were not heard of yet
	Hidden  []string      `json:"hidden,omitempty"`  // namespaces whose gateway of this name is served instead
	Fault   string        `json:"fault,omitempty"`   // why it cannot be sent to anybody
	Faults  []fault       `json:"faults,omitempty"`
}

// serviceView is the Service that Kubernetes has for a gateway.
type serviceView struct {
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	NodePort int    `json:"node_port,omitempty"`
	Fault    string `json:"fault,omitempty"` // why it is not there as it should
}

// service tells of the Service of a gateway; nil if there is nothing to tell.
func (a *API) service(namespace, gateway string) *serviceView {
	if a.o.Services == nil {
		return nil
	}
	s := a.o.Services(namespace, gateway)
	if s == (Service{}) {
		return nil
	}
	return &serviceView{s.Host, s.Port, s.NodePort, s.Fault}
}

// routeStatus is a route as it is served now.
type routeStatus struct {
	Path      string `json:"path"`
	Weight    string `json:"weight"`
	Condition string `json:"condition,omitempty"`
	Strength  string `json:"condition_strength,omitempty"`
	Instances int    `json:"instances,omitempty"` // that a selector has found
}

// status answers how everything in the namespace stands.
func (c *call) status() error {
	s := c.api.o.Plans.Status(c.ns)
	out := statusView{Namespace: c.ns, Version: s.Version, Listed: s.Listed, Held: s.Held, Unsaved: s.Unsaved, Failed: s.Failed, Gateways: []gatewayStatus{}, Objects: s.Objects, Faults: []fault{}}
	if out.Objects == nil {
		out.Objects = []planner.Object{}
	}
	plan, _ := c.api.o.Plans.Last(c.ns)
	by := make(map[string][]fault)
	for _, f := range plan.Faults {
		shown := faultsOf([]*routing.Fault{f}, "")[0]
		out.Faults = append(out.Faults, shown)
		if f.Kind == gateways {
			by[f.Name] = append(by[f.Name], shown)
		}
	}
	for _, p := range c.api.o.Proxies.Proxies() {
		if p.Connected && serves(p.Namespaces, c.ns) {
			out.Proxies++
		}
	}
	for _, g := range s.Gateways {
		v := gatewayStatus{Gateway: g, Faults: by[g.Name]}
		d := c.api.o.Proxies.Deployed(c.ns, g.Name)
		v.Served, v.Proxies, v.Pending, v.Hidden, v.Fault = d.Served, d.Proxies, d.Pending, c.visible(d.Hidden), d.Fault
		v.Refused = refusalsOf(d.Refused)
		v.Service = c.api.service(c.ns, g.Name)
		if plan.Snapshot != nil {
			v.serve(plan.Snapshot.ByName(g.Name))
		}
		out.Gateways = append(out.Gateways, v)
	}
	return c.answer(http.StatusOK, out)
}

// serve adds what the plan makes of a gateway.
func (v *gatewayStatus) serve(g *routing.CompiledGateway) {
	if g == nil {
		return
	}
	v.Port = fmt.Sprintf("%d/%s", g.Port, g.Type)
	if g.Port == 0 {
		v.Port = ""
	}
	v.Sticky = g.Asked.Sticky
	for _, r := range g.Asked.Routes {
		s := routeStatus{Path: r.Path, Weight: r.Weight.String(), Condition: r.Condition, Instances: len(r.Instances)}
		if r.Condition != "" {
			s.Strength = r.Strength.String()
		}
		v.Routes = append(v.Routes, s)
	}
}

// maxExplain bounds the description of a request.
const maxExplain = 64 << 10

// explain answers what would become of a request that is described as JSON.
func (c *call) explain() error {
	body, err := c.body(maxExplain)
	if err != nil {
		return err
	}
	var asked routing.ExplainRequest
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err = d.Decode(&asked)
	if err == nil {
		if _, rest := d.Token(); !errors.Is(rest, io.EOF) {
			err = errors.New("something follows behind the object")
		}
	}
	if err != nil {
		return explainError(&routing.ExplainError{Field: "body", Problem: err.Error() + `; an object such as {"method": "GET", "url": "http://shop.example/"}`})
	}
	plan, ok := c.api.o.Plans.Last(c.ns)
	if !ok || plan.Snapshot == nil {
		return refuse(http.StatusNotFound, "the namespace "+c.ns+" has no gateways")
	}
	explanation, err := plan.Snapshot.Explain(asked, routing.ExplainOptions{})
	if err != nil {
		wrong, ok := errors.AsType[*routing.ExplainError](err)
		if !ok {
			wrong = &routing.ExplainError{Field: "body", Problem: err.Error()}
		}
		return explainError(wrong)
	}
	if strings.HasPrefix(c.r.Header.Get("Accept"), "text/plain") {
		text(c.w, http.StatusOK, explanation.Format())
		return nil
	}
	return c.answer(http.StatusOK, explanation)
}

func explainError(wrong *routing.ExplainError) *Error {
	e := refuse(http.StatusBadRequest, wrong.Error())
	e.explain = wrong
	return e
}
