// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"net/textproto"
	"strings"
)

// affinity reads the affinity of a gateway.
func (r *reader) affinity(g *Gateway, v *value, path string) {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of key, level and at_zero is allowed")
		return
	}
	r.fields(SectionAffinity, v, path, func(e entry, path string) {
		switch e.key {
		case "key":
			key := r.key(e.value, path)
			g.Affinity.Key, g.Affinity.Name = key.Source, key.Name
		case "level":
			g.Affinity.Instance = r.choice(e.value, path, "route", "instance") == "instance"
		case "at_zero":
			g.Affinity.Cut = r.choice(e.value, path, "drain", "cut") == "cut"
		}
	})
}

// key reads header(NAME), cookie(NAME) or ip.
func (r *reader) key(v *value, path string) ClientKey {
	const allowed = "header(NAME), cookie(NAME) or ip is allowed"
	text, ok := r.text(v, path, allowed)
	if !ok {
		return ClientKey{}
	}
	if text == "ip" {
		return ClientKey{Source: KeyIP}
	}
	kind, rest, _ := strings.Cut(text, "(")
	name, closed := strings.CutSuffix(rest, ")")
	name = strings.TrimSpace(name)
	switch {
	case !closed || !isToken(name):
	case kind == "header":
		return ClientKey{KeyHeader, textproto.CanonicalMIMEHeaderKey(name)}
	case kind == "cookie":
		return ClientKey{KeyCookie, name}
	}
	r.refuse(codeUnexpectedType, v.place, path, quote(text)+" is no key", allowed)
	return ClientKey{}
}

// checkAffinity applies the rules between affinity, sticky and the port.
func (r *reader) checkAffinity(g *Gateway, at place) {
	a := g.Affinity
	const path = "sluice.affinity"
	switch {
	case a.Key != KeyNone && g.Port.Type == TCP && a.Key != KeyIP:
		r.refuse(codeStickyPort, at, path, "the port is tcp, where requests have neither headers nor cookies", "key: ip is allowed")
	case a.Key != KeyNone && g.Sticky != "":
		r.refuse(codeSticky, at, path, "the gateway has both sticky and a key", "one of the two is allowed")
	case a.Key == KeyNone && a.Instance:
		r.refuse(codeMissing, at, path, "level says what a key keeps, and there is no key", "add key, or write sticky: instance")
	}
}
