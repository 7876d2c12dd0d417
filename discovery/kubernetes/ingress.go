// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-mesh/sluice/routing"
)

// IngressController is what an IngressClass names whose Ingresses are ours.
const IngressController = "sluice.dev/ingress-controller"

// anyHost is the virtual host of rules without one.
const anyHost = "*"

// The codes of faults of Ingresses.
const (
	codeAnnotation = "UnknownAnnotation"
	codeBackend    = "UnsupportedBackend"
	codeNoService  = "BackendNotFound"
	codePath       = "UnsupportedPath"
	codeTwice      = "PathTakenByAnother"
	codeCanary     = "InvalidCanary"
)

// ingressClasses says which Ingresses are ours.
type ingressClasses struct {
	ours      map[string]bool // names of classes of our controller
	byDefault bool            // Ingresses without class are ours, too
}

// has reports whether an Ingress is ours.
func (c ingressClasses) has(i *networkingv1.Ingress) bool {
	if i.Spec.IngressClassName != nil {
		return c.ours[*i.Spec.IngressClassName]
	}
	if class, written := i.Annotations["kubernetes.io/ingress.class"]; written {
		return c.ours[class]
	}
	return c.byDefault
}

// lookPorts returns the numbers of the ports to which a port of a Service
// leads; found is false if there is no such port.
type lookPorts func(service name, port networkingv1.ServiceBackendPort) (numbers []int, found bool)

// ingressReading is what Ingresses ask for.
type ingressReading struct {
	Gateways map[string][]byte           // by name, as artifacts
	Faults   map[string][]*routing.Fault // by key of the Ingress
}

// readIngresses returns what all Ingresses ask for together. A gateway is all
// that they say of one host. Of two that ask for the same path the older one
// has it.
func readIngresses(list []*networkingv1.Ingress, classes ingressClasses, look lookPorts) ingressReading {
	list = slices.DeleteFunc(slices.Clone(list), func(i *networkingv1.Ingress) bool { return !classes.has(i) })
	slices.SortFunc(list, func(a, b *networkingv1.Ingress) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), nameOf(&a.ObjectMeta).compare(nameOf(&b.ObjectMeta)))
	})
	m := &ingressMerger{look: look, hosts: make(map[string]*ingressHost), faults: make(map[string][]*routing.Fault)}
	for _, i := range list {
		m.faults[ingressKey(i)] = nil
		m.annotations(i)
		if !isCanary(i) {
			m.take(i)
		}
	}
	for _, i := range list {
		if isCanary(i) {
			m.takeCanary(i)
		}
	}
	return m.reading()
}

func ingressKey(i *networkingv1.Ingress) string { return "ingresses/" + nameOf(&i.ObjectMeta).String() }

// ingressMerger merges Ingresses by host.
type ingressMerger struct {
	look   lookPorts
	hosts  map[string]*ingressHost
	faults map[string][]*routing.Fault
}

// ingressHost is what Ingresses ask for of one host.
type ingressHost struct {
	rules    []*ingressRule
	fallback *ingressTarget
	secrets  []name
	plain    bool // serve what comes in plain text
}

// ingressRule is one path of a host.
type ingressRule struct {
	exact  bool
	path   string // without slash at its end, if it is a prefix
	target ingressTarget
	canary *ingressCanary // nil if there is none
}

// ingressTarget is where a rule leads.
type ingressTarget struct {
	route     string // name of the route
	namespace string
	selector  string
}

// ingressCanary is what takes a share of the requests of a rule.
type ingressCanary struct {
	target ingressTarget
	always string // condition of what it takes; may be empty
	never  string // condition of what it does not take; may be empty
	share  int    // percent of all others
}

func (m *ingressMerger) fault(i *networkingv1.Ingress, severity routing.Severity, code, path, problem, allowed string) {
	key := ingressKey(i)
	m.faults[key] = append(m.faults[key], &routing.Fault{
		Code: code, At: routing.Position{Source: key}, Path: path, Problem: problem, Allowed: allowed, Severity: severity,
	})
}

func (m *ingressMerger) host(called string) *ingressHost {
	called = cmp.Or(strings.ToLower(called), anyHost)
	if m.hosts[called] == nil {
		m.hosts[called] = &ingressHost{}
	}
	return m.hosts[called]
}

// take takes over what an Ingress says.
func (m *ingressMerger) take(i *networkingv1.Ingress) {
	fallback := m.fallback(i)
	for k := range i.Spec.Rules {
		rule := &i.Spec.Rules[k]
		h := m.host(rule.Host)
		if h.fallback == nil {
			h.fallback = fallback
		}
		m.paths(i, k, func(at string, r *ingressRule) {
			if h.find(r) != nil {
				m.fault(i, routing.Refused, codeTwice, at, "another rule of the host has the path", "the oldest Ingress has it")
				return
			}
			h.rules = append(h.rules, r)
		})
	}
	if h := m.hosts[anyHost]; fallback != nil && (h == nil || h.fallback == nil) {
		m.host(anyHost).fallback = fallback
	}
	m.tls(i)
}

func (m *ingressMerger) fallback(i *networkingv1.Ingress) *ingressTarget {
	if i.Spec.DefaultBackend == nil {
		return nil
	}
	t, ok := m.target(i, i.Spec.DefaultBackend, "default", "spec.defaultBackend")
	if !ok {
		return nil
	}
	return &t
}

// find returns the rule of the path of another one, or nil.
func (h *ingressHost) find(like *ingressRule) *ingressRule {
	for _, r := range h.rules {
		if r.exact == like.exact && r.path == like.path {
			return r
		}
	}
	return nil
}

// paths reads the paths of a rule.
func (m *ingressMerger) paths(i *networkingv1.Ingress, k int, f func(at string, r *ingressRule)) {
	if i.Spec.Rules[k].HTTP == nil {
		return // all of the host goes to the default backend
	}
	for j := range i.Spec.Rules[k].HTTP.Paths {
		p := &i.Spec.Rules[k].HTTP.Paths[j]
		at := fmt.Sprintf("spec.rules[%d].http.paths[%d]", k, j)
		r := &ingressRule{exact: value(p.PathType, "") == networkingv1.PathTypeExact, path: cmp.Or(p.Path, "/")}
		if !writable(r.path) {
			m.fault(i, routing.Refused, codePath, at+".path", "the path cannot be asked for", "printable ASCII without quotes that begins with / is allowed")
			continue
		}
		if !r.exact {
			r.path = strings.TrimRight(r.path, "/")
		}
		var ok bool
		if r.target, ok = m.target(i, &p.Backend, fmt.Sprintf("%d.%d", k, j), at+".backend"); ok {
			f(at, r)
		}
	}
}

// writable reports whether a path can stand in quotes in a condition.
func writable(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.ContainsFunc(path, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '"' || r == '\''
	})
}

// target reads where a rule leads. A Service that is missing is a place where
// nothing runs, so that others do not get its requests.
func (m *ingressMerger) target(i *networkingv1.Ingress, b *networkingv1.IngressBackend, part, at string) (ingressTarget, bool) {
	if b.Service == nil {
		m.fault(i, routing.Refused, codeBackend, at, "the backend is no Service", "a Service with a port is allowed")
		return ingressTarget{}, false
	}
	to := name{i.Namespace, b.Service.Name}
	numbers, found := m.look(to, b.Service.Port)
	if !found {
		m.fault(i, routing.Warning, codeNoService, at, "there is no Service "+to.name+" with this port", "requests are answered 503 until there is one")
	}
	ports := make([]string, len(numbers))
	for k, n := range numbers {
		ports[k] = "port(" + strconv.Itoa(n) + ")"
	}
	return ingressTarget{
		route:     i.Namespace + "." + i.Name + "." + part,
		namespace: i.Namespace,
		selector: fmt.Sprintf("namespace(%s) and label(%s)(%s) and (%s)",
			i.Namespace, labelService, to.name, cmp.Or(strings.Join(ports, " or "), "false")),
	}, true
}

// tls takes over the Secrets of an Ingress: for the hosts that they are named
// for, or all of its hosts.
func (m *ingressMerger) tls(i *networkingv1.Ingress) {
	for _, t := range i.Spec.TLS {
		hosts := t.Hosts
		if len(hosts) == 0 {
			for _, r := range i.Spec.Rules {
				hosts = append(hosts, r.Host)
			}
		}
		for _, called := range hosts {
			h := m.hosts[cmp.Or(strings.ToLower(called), anyHost)]
			secret := name{i.Namespace, t.SecretName}
			if h == nil || t.SecretName == "" || slices.Contains(h.secrets, secret) {
				continue
			}
			h.secrets = append(h.secrets, secret)
			h.plain = h.plain || i.Annotations[nginxPrefix+"ssl-redirect"] == "false"
		}
	}
}

// reading writes the gateways.
func (m *ingressMerger) reading() ingressReading {
	reading := ingressReading{Gateways: make(map[string][]byte), Faults: m.faults}
	var general *ingressTarget
	if h := m.hosts[anyHost]; h != nil {
		general = h.fallback
	}
	for _, called := range slices.Sorted(maps.Keys(m.hosts)) {
		h := m.hosts[called]
		h.fallback = cmp.Or(h.fallback, general)
		reading.Gateways["ingress/"+called] = h.gateway(called)
		for _, r := range h.rules {
			if r.canary != nil {
				reading.Gateways[r.split()] = r.splitGateway()
			}
		}
	}
	return reading
}

// gateway writes the gateway of a host: Exact paths first, then prefixes, the
// longest first; what none of them has goes to the default backend.
func (h *ingressHost) gateway(called string) []byte {
	slices.SortStableFunc(h.rules, func(a, b *ingressRule) int {
		if a.exact != b.exact {
			return map[bool]int{true: -1, false: 1}[a.exact]
		}
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), strings.Compare(a.path, b.path))
	})
	var routes []map[string]ingressRoute
	for _, r := range h.rules {
		one := ingressRoute{Selector: r.target.selector, Condition: all(oneLabel(called), r.condition()), Strength: "100%", Weight: "0%"}
		key := r.target.route
		if r.canary != nil {
			key, one.Selector = r.split(), ""
		}
		routes = append(routes, map[string]ingressRoute{key: one})
	}
	if h.fallback != nil {
		routes = append(routes, map[string]ingressRoute{h.fallback.route: {Selector: h.fallback.selector, Weight: "100%"}})
	}
	return written(map[string]any{
		"kind": "gateways", "name": "ingress/" + called, "virtual_hosts": []string{called},
		"routes": routes, "sluice": h.settings(),
	})
}

// split names the gateway that a rule with a canary leads to. Its three
// segments make it internal.
func (r *ingressRule) split() string { return "ingress/" + r.target.namespace + "/" + r.target.route }

// splitGateway writes the gateway of a rule with a canary.
func (r *ingressRule) splitGateway() []byte {
	c := r.canary
	share := func(t ingressTarget, condition string, weight int) map[string]ingressRoute {
		one := ingressRoute{Selector: t.selector, Condition: condition, Weight: strconv.Itoa(weight) + "%"}
		if condition != "" {
			one.Strength = "100%"
		}
		return map[string]ingressRoute{t.route: one}
	}
	return written(map[string]any{
		"kind": "gateways", "name": r.split(),
		"routes": []map[string]ingressRoute{share(c.target, c.always, c.share), share(r.target, c.never, 100-c.share)},
	})
}

// written writes a gateway as JSON.
func written(gateway map[string]any) []byte {
	text, err := json.MarshalIndent(gateway, "", "  ")
	if err != nil {
		panic(err) // it holds texts alone
	}
	return text
}

// ingressRoute is a route as it is written.
type ingressRoute struct {
	Selector  string `json:"selector,omitempty"`
	Condition string `json:"condition,omitempty"`
	Strength  string `json:"condition_strength,omitempty"`
	Weight    string `json:"weight"`
}

// settings are those of every gateway of Ingresses. Certificates are files
// named after their Secrets; whoever reads Secrets puts them there.
func (h *ingressHost) settings() map[string]any {
	settings := map[string]any{"no_route": 404}
	if len(h.secrets) == 0 {
		return settings
	}
	var pairs []map[string]string
	for _, s := range h.secrets {
		dir := "kubernetes/" + s.String()
		pairs = append(pairs, map[string]string{"certificate": dir + "/tls.crt", "key": dir + "/tls.key"})
	}
	plain := "redirect"
	if h.plain {
		plain = "serve"
	}
	settings["tls"] = map[string]any{"certificates": pairs, "plain": plain}
	return settings
}

// condition asks for the path of a rule: a prefix by whole segments.
func (r *ingressRule) condition() string {
	if r.exact {
		return fmt.Sprintf(`path == "%s"`, r.path)
	}
	if r.path == "" {
		return `path starts with "/"`
	}
	return fmt.Sprintf(`(path == "%s" or path starts with "%s/")`, r.path, r.path)
}

// oneLabel asks that a wildcard stands for exactly one label.
func oneLabel(host string) string {
	below, wild := strings.CutPrefix(host, "*.")
	if !wild {
		return ""
	}
	return fmt.Sprintf(`header Host matches "(?i)^[^.]+\.%s\.?(:[0-9]+)?$"`, regexp.QuoteMeta(below))
}

// all joins conditions by "and"; some may be empty.
func all(conditions ...string) string {
	return strings.Join(slices.DeleteFunc(conditions, func(c string) bool { return c == "" }), " and ")
}
