// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-mesh/sluice/routing"
)

// IngressController is what an IngressClass names whose Ingresses are ours.
const IngressController = "sluice.dev/ingress"

// classAnnotation named the class before there were IngressClasses.
const classAnnotation = "kubernetes.io/ingress.class"

// anyHost is the virtual host of rules without one.
const anyHost = "*"

// The codes of faults of Ingresses.
const (
	codeAnnotation = "UnknownAnnotation"
	codeBackend    = "UnsupportedBackend"
	codeNoService  = "BackendNotFound"
	codeExternal   = "ExternalNameBackend"
	codePath       = "UnsupportedPath"
	codeTwice      = "PathTakenByAnother"
	codeCanary     = "InvalidCanary"
	codeSecret     = "InvalidSecret"
	codeTLSHost    = "TLSHostWithoutRule"
	codeDefault    = "DefaultBackendTakenByAnother"
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
	if class, written := i.Annotations[classAnnotation]; written {
		return c.ours[class]
	}
	return c.byDefault
}

// surroundings are what Ingresses name.
type surroundings interface {
	// ports returns the numbers of the ports to which a port of a Service
	// leads; found is false if there is no such port.
	ports(service name, port networkingv1.ServiceBackendPort) (numbers []int, found bool)
	// external reports whether a Service stands for a name outside.
	external(service name) bool
	// secret returns what is known of a Secret with a certificate; nil if there
	// is none.
	secret(n name) *tlsSecret
}

// ingressReading is what Ingresses ask for.
type ingressReading struct {
	Hosts  map[string]ingressText      // by host
	Faults map[string][]*routing.Fault // by key of the Ingress, of each that is ours
}

// ingressText is what is asked for of a host, as artifacts.
type ingressText struct {
	Text string
	Of   []name // the Ingresses that say something of it, sorted
}

// readIngresses returns what all Ingresses ask for together. A gateway is all
// that they say of one host. Of two that ask for the same path the older one
// has it.
func readIngresses(list []*networkingv1.Ingress, classes ingressClasses, around surroundings) ingressReading {
	list = slices.DeleteFunc(slices.Clone(list), func(i *networkingv1.Ingress) bool { return !classes.has(i) })
	slices.SortFunc(list, func(a, b *networkingv1.Ingress) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), nameOf(&a.ObjectMeta).compare(nameOf(&b.ObjectMeta)))
	})
	m := &ingressMerger{around: around, hosts: make(map[string]*ingressHost), faults: make(map[string][]*routing.Fault)}
	fallbacks := make(map[*networkingv1.Ingress]*ingressTarget)
	for _, i := range list {
		m.faults[ingressKey(nameOf(&i.ObjectMeta))] = nil
		m.annotations(i)
		if !isCanary(i) {
			fallbacks[i] = m.take(i)
		}
	}
	for _, i := range list { // which hosts have rules is known
		if !isCanary(i) {
			m.tls(i, fallbacks[i])
		}
	}
	for _, i := range list {
		if isCanary(i) {
			m.takeCanary(i)
		}
	}
	return m.reading()
}

func ingressKey(n name) string { return "ingresses/" + n.String() }

// ingressMerger merges Ingresses by host.
type ingressMerger struct {
	around surroundings
	hosts  map[string]*ingressHost
	faults map[string][]*routing.Fault
}

// ingressHost is what Ingresses ask for of one host.
type ingressHost struct {
	rules    []*ingressRule
	fallback *ingressTarget
	secrets  []name
	secure   map[name]bool // Ingresses that ask for TLS
	plain    bool          // serve what comes in plain text
	of       map[name]bool // all Ingresses that say something of it
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
	of        name // the Ingress that says so
}

// ingressCanary is what takes a share of the requests of a rule.
type ingressCanary struct {
	target ingressTarget
	always string // condition of what it takes; may be empty
	never  string // condition of what it does not take; may be empty
	share  int    // of all others, in hundredths of a percent
}

func (m *ingressMerger) fault(i *networkingv1.Ingress, severity routing.Severity, code, path, problem, allowed string) {
	key := ingressKey(nameOf(&i.ObjectMeta))
	m.faults[key] = append(m.faults[key], &routing.Fault{
		Code: code, At: routing.Position{Source: key}, Path: path, Problem: problem, Allowed: allowed, Severity: severity,
	})
}

// host returns what is asked for of a host, of which an Ingress says something.
func (m *ingressMerger) host(called string, by *networkingv1.Ingress) *ingressHost {
	called = hostOf(called)
	h := m.hosts[called]
	if h == nil {
		h = &ingressHost{secure: make(map[name]bool), of: make(map[name]bool)}
		m.hosts[called] = h
	}
	h.of[nameOf(&by.ObjectMeta)] = true
	return h
}

// hostOf returns the virtual host of the host of a rule.
func hostOf(called string) string { return cmp.Or(strings.ToLower(called), anyHost) }

// take takes over what an Ingress says, but for its Secrets, and returns its
// default backend; nil if it has none.
func (m *ingressMerger) take(i *networkingv1.Ingress) *ingressTarget {
	fallback := m.fallback(i)
	conflict := false
	for k := range i.Spec.Rules {
		h := m.host(i.Spec.Rules[k].Host, i)
		conflict = !h.fall(fallback) || conflict
		m.paths(i, k, func(at string, r *ingressRule) {
			if h.find(r) != nil {
				m.fault(i, routing.Refused, codeTwice, at, "another rule of the host has the path", "the oldest Ingress has it")
				return
			}
			h.rules = append(h.rules, r)
		})
	}
	if fallback != nil && len(i.Spec.Rules) == 0 {
		// Who has hosts of its own does not get what no host has.
		conflict = !m.host(anyHost, i).fall(fallback)
	}
	if conflict {
		m.fault(i, routing.Refused, codeDefault, "spec.defaultBackend", "another Ingress of the host has a default backend", "the oldest Ingress has it")
	}
	return fallback
}

// fall makes a target the default backend of the host, and reports whether it
// is, or there is none.
func (h *ingressHost) fall(t *ingressTarget) bool {
	if h.fallback == nil {
		h.fallback = t
	}
	return t == nil || h.fallback.of == t.of
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
		if !writable(r.path) || len(r.path) > maxPath {
			m.fault(i, routing.Refused, codePath, at+".path", "the path cannot be asked for", "up to 1024 bytes of printable ASCII without quotes, with / at their beginning, are allowed")
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

// maxPath is how long a path may be, in bytes, so that no condition of a host
// is refused for its length.
const maxPath = 1024

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
	numbers, found := m.around.ports(to, b.Service.Port)
	switch {
	case m.around.external(to):
		m.fault(i, routing.Refused, codeExternal, at, "the Service "+to.name+" stands for a name outside the cluster",
			"a Service with pods is allowed, or a gateway with a route to [NAME:PORT]; requests are answered 503")
	case !found:
		m.fault(i, routing.Warning, codeNoService, at, "there is no Service "+to.name+" with this port", "requests are answered 503 until there is one")
	}
	ports := make([]string, len(numbers))
	for k, n := range numbers {
		ports[k] = "port(" + strconv.Itoa(n) + ")"
	}
	return ingressTarget{
		route:     i.Namespace + "." + i.Name + "." + part,
		namespace: i.Namespace,
		of:        nameOf(&i.ObjectMeta),
		selector: fmt.Sprintf("namespace(%s) and label(%s)(%s) and (%s)",
			i.Namespace, labelService, to.name, cmp.Or(strings.Join(ports, " or "), "false")),
	}, true
}
