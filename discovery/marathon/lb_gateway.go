// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// gatewayOf names the gateway of a host or a port.
func gatewayOf(name string) string { return "marathon-lb/" + name }

// lbGateway is a gateway as it is written.
type lbGateway struct {
	Kind         string               `json:"kind,omitempty"`
	Name         string               `json:"name"`
	Port         string               `json:"port,omitempty"`
	VirtualHosts []string             `json:"virtual_hosts,omitempty"`
	Sticky       string               `json:"sticky,omitempty"`
	Routes       []map[string]lbRoute `json:"routes"`
	Sluice       *lbGatewayOwn        `json:"sluice,omitempty"`
}

type lbGatewayOwn struct {
	Port string `json:"port,omitempty"`
	TLS  *lbTLS `json:"tls,omitempty"`
}

type lbTLS struct {
	Certificates []lbCertificate `json:"certificates"`
	Plain        string          `json:"plain,omitempty"`
}

type lbCertificate struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// lbRoute is a route as it is written.
type lbRoute struct {
	Selector  string              `json:"selector,omitempty"`
	Condition string              `json:"condition,omitempty"`
	Strength  string              `json:"condition_strength,omitempty"`
	Weight    string              `json:"weight"`
	Balance   string              `json:"balance,omitempty"`
	Rewrites  []map[string]string `json:"rewrites,omitempty"`
	Sluice    *lbRouteOwn         `json:"sluice,omitempty"`
}

type lbRouteOwn struct {
	Redirect *lbRedirect  `json:"redirect,omitempty"`
	Headers  *headerEdits `json:"headers,omitempty"`
}

type lbRedirect struct {
	To   string `json:"to"`
	Code int    `json:"code"`
}

// compare sorts offers as marathon-lb looks at them: those of a higher order
// first, then by app and service port.
func (o *offer) compare(p *offer) int {
	return cmp.Or(cmp.Compare(p.order, o.order), strings.Compare(o.app, p.app), cmp.Compare(o.listening(), p.listening()), cmp.Compare(o.index, p.index))
}

// called names the route of an offer as marathon-lb names its backend.
func (o *offer) called() string {
	return strings.ReplaceAll(o.app[1:], "/", "_") + "_" + strconv.Itoa(cmp.Or(o.listening(), o.index))
}

// where names a port of an app in messages.
func (o *offer) where() string { return fmt.Sprintf("%d of %s", o.index, o.app) }

// pathLabel names the label that says what an offer asks for of its hosts.
func (o *offer) pathLabel() string {
	if o.pathed {
		return labelPath
	}
	return labelVhost
}

// selectorOf asks for a port of apps, but for tasks that rest.
func selectorOf(ids []string, index int) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = "id(" + regexp.QuoteMeta(id) + ")"
	}
	port := " and index(" + strconv.Itoa(index) + ")"
	if len(parts) == 1 {
		return parts[0] + port
	}
	return "(" + strings.Join(parts, " or ") + ")" + port
}

// selector asks for what an offer leads to.
func (o *offer) selector() string {
	if o.closed {
		return "false"
	}
	if o.coloured() {
		return selectorOf(o.ids, o.index) + " and not label(" + labelRests + ")(.*)"
	}
	return selectorOf(o.ids, o.index)
}

// coloured reports whether the offer is that of a deployment group.
func (o *offer) coloured() bool { return len(o.ids) > 1 }

// gatewayWriter writes the gateway of a host or a port, and what else it needs.
type gatewayWriter struct {
	key, name string
	gateway   lbGateway
	inner     []lbGateway
	names     map[string]bool // of routes
	lost      []lostOffer
}

// lostOffer is a port of an app that does not have what its labels ask for, as
// another one has it.
type lostOffer struct {
	*offer
	code, label string
	problem     string
}

// warn says what a port of an app does not have.
func (w *gatewayWriter) warn(o *offer, code, label, problem string) {
	w.lost = append(w.lost, lostOffer{o, code, lbPrefix + strconv.Itoa(o.index) + "_" + label, problem})
}

// faults returns what ports of apps do not have.
func (w *gatewayWriter) faults() []*routing.Fault {
	var faults []*routing.Fault
	for _, lost := range w.lost {
		faults = append(faults, &routing.Fault{
			Code: lost.code, At: routing.Position{Source: w.key}, Kind: "gateways", Name: w.name,
			Problem: lost.app + ": " + lost.label + ": " + lost.problem, Severity: routing.Warning,
		})
	}
	return faults
}

// gateways returns what was written.
func (w *gatewayWriter) gateways() []lbGateway { return append([]lbGateway{w.gateway}, w.inner...) }

// text returns what was written as documents.
func (w *gatewayWriter) text() string {
	var texts [][]byte
	for _, g := range w.gateways() {
		texts = append(texts, g.asJSON())
	}
	return string(bytes.Join(texts, []byte("\n---\n")))
}

// asJSON returns the gateway as JSON.
func (g lbGateway) asJSON() []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(g); err != nil {
		panic(err) // it holds texts and numbers alone
	}
	return bytes.TrimSpace(text.Bytes())
}

// add adds a route.
func (w *gatewayWriter) add(name string, r lbRoute) {
	name = w.unused(name)
	r.Weight = "0%"
	if r.Condition == "" {
		r.Weight = "100%"
	} else {
		r.Strength = "100%"
	}
	w.gateway.Routes = append(w.gateway.Routes, map[string]lbRoute{name: r})
}

// unused returns a name that no route has, such as the one asked for.
func (w *gatewayWriter) unused(name string) string {
	if w.names == nil {
		w.names = make(map[string]bool)
	}
	for k := 2; w.names[name]; k++ {
		name = strings.TrimSuffix(name, "."+strconv.Itoa(k-1)) + "." + strconv.Itoa(k)
	}
	w.names[name] = true
	return name
}

// host writes the gateway of a host, of sorted offers. Those without tasks are
// left out as long as others have some, as marathon-lb does.
func (w *gatewayWriter) host(called string, offers []*offer, certificates []string) {
	if slices.ContainsFunc(offers, func(o *offer) bool { return o.serving }) {
		offers = slices.DeleteFunc(slices.Clone(offers), func(o *offer) bool { return !o.serving })
	}
	w.gateway = lbGateway{
		Kind: "gateways", Name: w.name, VirtualHosts: []string{called}, Routes: []map[string]lbRoute{},
		Sluice: &lbGatewayOwn{Port: "none", TLS: tlsOf(offers, certificates)},
	}
	if w.gateway.Sluice.TLS != nil {
		w.gateway.Sluice.TLS.Plain = "serve"
	}
	sticky := !slices.ContainsFunc(offers, func(o *offer) bool { return !o.sticky })
	if sticky {
		w.gateway.Sticky = "instance"
	}
	for _, o := range offers {
		if o.secure && !o.rule.never { // whatever has the path of a plain request
			w.add(o.called()+".https", lbRoute{
				Condition: both("not < ssl_fc >", o.rule.condition()),
				Sluice:    &lbRouteOwn{Redirect: &lbRedirect{"https://%[hdr(host),field(1,:)]%[pathq]", 301}},
			})
		}
	}
	for i, o := range offers {
		if o.rule.never {
			continue
		}
		if by := shadow(offers[:i], o.rule); by != nil {
			w.warn(o, codeShadowed, o.pathLabel(), "port "+by.where()+" has all requests for "+called+" that it asks for; of two the one with the higher "+labelOrder+" comes first")
			continue
		}
		w.rule(o, !sticky)
	}
}

// shadow returns which of the offers before has all paths of a rule; nil if none
// alone does.
func shadow(before []*offer, rule pathRule) *offer {
	for _, o := range before {
		if !o.rule.never && o.rule.covers(rule) {
			return o
		}
	}
	return nil
}

// rule writes the routes of an offer in the gateway of a host. apart says that
// others in it are not sticky.
func (w *gatewayWriter) rule(o *offer, apart bool) {
	condition := o.rule.condition()
	if o.root != "" && o.rule.has("/") {
		w.add(o.called()+".root", lbRoute{
			Condition: both(`path == "/"`, o.lets()),
			Sluice:    &lbRouteOwn{Redirect: &lbRedirect{strings.ReplaceAll(o.root, "%", "%%"), 301}},
		})
	}
	r := o.route(true, w.gateway.VirtualHosts[0])
	r.Condition = both(condition, o.lets())
	name := o.called()
	if o.sticky && apart && !o.closed {
		name = w.unused(name)
		inner := w.name + "/" + name
		w.inner = append(w.inner, lbGateway{
			Kind: "gateways", Name: inner, Sticky: "instance", Sluice: &lbGatewayOwn{Port: "none"},
			Routes: []map[string]lbRoute{{name: {Selector: r.Selector, Weight: "100%", Balance: r.Balance}}},
		})
		name, r.Selector, r.Balance = inner, "", ""
	}
	w.add(name, r)
	if len(o.networks) > 0 && condition != "" { // others do not get it either
		w.add(o.called()+".denied", lbRoute{Selector: "false", Condition: condition})
	}
}

// port writes the gateway of a port, of sorted offers, the first of which has
// it.
func (w *gatewayWriter) port(offers []*offer) {
	o := offers[0]
	kind := "tcp"
	if o.http {
		kind = "http"
	}
	w.gateway = lbGateway{Kind: "gateways", Name: w.name, Port: strconv.Itoa(o.listening()) + "/" + kind, Routes: []map[string]lbRoute{}}
	if t := tlsOf(offers[:1], nil); t != nil && len(o.certificates) > 0 {
		w.gateway.Sluice = &lbGatewayOwn{TLS: t}
	}
	if o.sticky && o.http {
		w.gateway.Sticky = "instance"
	}
	host := ""
	if len(o.hosts) > 0 {
		host = o.hosts[0]
	}
	r := o.route(o.http, host)
	r.Condition = o.lets()
	w.add(o.called(), r)
	for _, other := range offers[1:] {
		w.warn(other, codePortTaken, labelPort, fmt.Sprintf("port %d is that of port %s; write another one", o.listening(), o.where()))
	}
}

// route returns the route to what an offer leads to, in a gateway of http or
// tcp; host is what it is asked for as, where paths are stripped.
func (o *offer) route(http bool, host string) lbRoute {
	r := lbRoute{Selector: o.selector()}
	if o.balance != inTurn || !http {
		r.Balance = o.balance
	}
	if o.closed || !http {
		return r
	}
	edits := o.edits.clone()
	if o.hsts {
		edits.Response = edits.Response.set("Strict-Transport-Security", "max-age=15768000")
	}
	if o.strip != "" {
		quoted := regexp.QuoteMeta(o.strip)
		r.Rewrites = []map[string]string{{"path": "%[path,regsub(^" + quoted + "/?,/,i)] if { path_beg -i " + o.strip + " }"}}
		if host != "" {
			edits.Request = edits.Request.set("Host", host)
		}
	}
	if edits.Request != nil || edits.Response != nil {
		r.Sluice = &lbRouteOwn{Headers: &edits}
	}
	return r
}

// tlsOf returns how clients are spoken to in TLS; nil without certificates.
func tlsOf(offers []*offer, certificates []string) *lbTLS {
	files := slices.Clone(certificates)
	for _, o := range offers {
		for _, f := range o.certificates {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	if len(files) == 0 {
		return nil
	}
	t := &lbTLS{}
	for _, f := range files[:min(len(files), 100)] {
		t.Certificates = append(t.Certificates, lbCertificate{f, f})
	}
	return t
}

// lets returns the condition of clients that are let in; empty for all.
func (o *offer) lets() string {
	if len(o.networks) == 0 || o.closed {
		return ""
	}
	networks := make([]string, len(o.networks))
	for i, n := range o.networks {
		if !strings.Contains(n, "/") {
			n += map[bool]string{true: "/128", false: "/32"}[strings.Contains(n, ":")]
		}
		networks[i] = n
	}
	return "ip in (" + strings.Join(networks, ", ") + ")"
}

// both joins conditions, some of which may be empty.
func both(conditions ...string) string {
	var parts []string
	for _, c := range conditions {
		if c != "" {
			parts = append(parts, c)
		}
	}
	return strings.Join(parts, " and ")
}

// all reports whether the rule has every path.
func (p *pathRule) all() bool { return len(p.prefixes) == 0 || slices.Contains(p.prefixes, "/") }

// condition returns that of the paths of a rule; empty for all.
func (p *pathRule) condition() string {
	switch {
	case p.all():
		return ""
	case p.fold:
		return "< path_beg -i " + strings.Join(p.prefixes, " ") + " >"
	}
	parts := make([]string, len(p.prefixes))
	for i, prefix := range p.prefixes {
		parts[i] = `path starts with "` + prefix + `"`
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

// has reports whether a path is one of the rule.
func (p *pathRule) has(path string) bool {
	return p.all() || slices.ContainsFunc(p.prefixes, func(prefix string) bool {
		return strings.HasPrefix(path, prefix) || p.fold && len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix)
	})
}

// covers reports whether the rule has every path of another one.
func (p *pathRule) covers(o pathRule) bool {
	if p.all() {
		return true
	}
	return !o.all() && (p.fold || !o.fold) && !slices.ContainsFunc(o.prefixes, func(prefix string) bool { return !p.has(prefix) })
}
