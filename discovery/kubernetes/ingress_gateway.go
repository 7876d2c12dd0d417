// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// gatewayOf names the gateway of a host.
func gatewayOf(host string) string { return "ingress/" + host }

// reading writes the gateways.
func (m *ingressMerger) reading() ingressReading {
	reading := ingressReading{Hosts: make(map[string]ingressText, len(m.hosts)), Faults: m.faults}
	general := m.hosts[anyHost]
	for _, called := range slices.Sorted(maps.Keys(m.hosts)) {
		h := m.hosts[called]
		texts := [][]byte{h.gateway(called, general != nil)}
		for _, r := range h.rules {
			if r.canary != nil {
				texts = append(texts, r.splitGateway())
			}
		}
		reading.Hosts[called] = ingressText{
			Text: string(bytes.Join(texts, []byte("\n---\n"))),
			Of:   slices.SortedFunc(maps.Keys(h.of), name.compare),
		}
	}
	return reading
}

// gateway writes the gateway of a host: Exact paths first, then prefixes, the
// longest first; what none of them has goes to the default backend. general says
// that there is a gateway for hosts that no other has.
func (h *ingressHost) gateway(called string, general bool) []byte {
	slices.SortStableFunc(h.rules, func(a, b *ingressRule) int {
		if a.exact != b.exact {
			return map[bool]int{true: -1, false: 1}[a.exact]
		}
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), strings.Compare(a.path, b.path))
	})
	var routes []map[string]ingressRoute
	label := oneLabel(called)
	if label != "" && general {
		// A host that the wildcard does not stand for is one that nobody names.
		routes = append(routes, map[string]ingressRoute{gatewayOf(anyHost): {Condition: "not " + label, Strength: "100%", Weight: "0%"}})
	}
	for _, r := range h.rules {
		one := ingressRoute{Selector: h.selector(&r.target), Condition: all(label, r.condition()), Strength: "100%", Weight: "0%"}
		key := r.target.route
		if r.canary != nil && !h.closed(&r.target) {
			key, one.Selector = r.split(), ""
		}
		routes = append(routes, map[string]ingressRoute{key: one})
	}
	switch {
	case h.fallback == nil:
	case label == "":
		routes = append(routes, map[string]ingressRoute{h.fallback.route: {Selector: h.selector(h.fallback), Weight: "100%"}})
	default:
		routes = append(routes, map[string]ingressRoute{h.fallback.route: {Selector: h.selector(h.fallback), Condition: label, Strength: "100%", Weight: "0%"}})
	}
	return written(map[string]any{
		"kind": "gateways", "name": gatewayOf(called), "virtual_hosts": []string{called},
		"routes": routes, "sluice": h.settings(),
	})
}

// selector returns that of a target, or one that finds nothing.
func (h *ingressHost) selector(t *ingressTarget) string {
	if h.closed(t) {
		return "false"
	}
	return t.selector
}

// split names the gateway that a rule with a canary leads to. Its three
// segments make it internal.
func (r *ingressRule) split() string { return "ingress/" + r.target.namespace + "/" + r.target.route }

// splitGateway writes the gateway of a rule with a canary.
func (r *ingressRule) splitGateway() []byte {
	c := r.canary
	share := func(t ingressTarget, condition string, weight int) map[string]ingressRoute {
		one := ingressRoute{Selector: t.selector, Condition: condition}
		if condition != "" {
			one.Strength = "100%"
		}
		if weight%100 == 0 {
			one.Weight = strconv.Itoa(weight/100) + "%"
		} else {
			one.Sluice = map[string]string{"weight": percent(weight)}
		}
		return map[string]ingressRoute{t.route: one}
	}
	return written(map[string]any{
		"kind": "gateways", "name": r.split(),
		"sluice": map[string]any{"port": "none"},
		"routes": []map[string]ingressRoute{share(c.target, c.always, c.share), share(r.target, c.never, full-c.share)},
	})
}

// full is all requests, in hundredths of a percent.
const full = 100_00

// percent writes hundredths of a percent.
func percent(share int) string {
	text := fmt.Sprintf("%d.%02d", share/100, share%100)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "%"
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
	Selector  string            `json:"selector,omitempty"`
	Condition string            `json:"condition,omitempty"`
	Strength  string            `json:"condition_strength,omitempty"`
	Weight    string            `json:"weight,omitempty"`
	Sluice    map[string]string `json:"sluice,omitempty"`
}

// settings are those of every gateway of Ingresses.
func (h *ingressHost) settings() map[string]any {
	settings := map[string]any{"no_route": 404, "port": "none"}
	if len(h.secrets) == 0 {
		return settings
	}
	secrets := make([]string, len(h.secrets))
	for k, s := range h.secrets {
		secrets[k] = "secret:" + s.String()
	}
	plain := "redirect"
	if h.plain || len(h.secure) == 0 { // nobody who has rules asks for TLS
		plain = "serve"
	}
	settings["tls"] = map[string]any{"certificates": secrets, "plain": plain}
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
