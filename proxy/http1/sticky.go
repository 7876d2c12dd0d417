// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"strings"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// keeper keeps a client with the route and instance that it was given. It is
// used at sticky gateways only.
type keeper struct {
	request []byte // fields of the request in place of its Cookie lines
	answer  []byte // fields of the answer that set cookies
	// preferred is the instance on which the client is, nil if it is on none;
	// kept reports that the client's cookie says so.
	preferred *upstream.Instance
	kept      bool
	route     string // the name of the instance's cookie; empty: instances are not kept
	used      bool   // some hop is sticky by cookies
	secure    bool   // the client came by TLS
}

func (k *keeper) reset() {
	*k = keeper{request: k.request[:0], answer: k.answer[:0]}
}

// keep looks at what the client brought along and at what was drawn for it.
func (c *conn) keep() {
	w := c.w
	k := &w.keeper
	k.reset()
	k.secure = c.facts.TLS != nil
	d := &w.exchange.Decision
	for i := range d.Depth {
		h := &d.Hops[i]
		s := h.Gateway.Sticky
		if s == nil {
			continue
		}
		if !s.Keyed() {
			k.used = true
			k.setDrawn(h)
		}
	}
	if h := d.Last(); h.Gateway.Sticky != nil && h.Gateway.Sticky.Instance && h.Route != nil {
		k.prefer(h, &w.view, w.exchange.Target())
	}
	if k.used {
		k.strip(&w.head, d)
	}
}

// setDrawn sets the cookies of what was drawn at a hop.
func (k *keeper) setDrawn(h *routing.Hop) {
	if h.Pins&routing.StrengthDrawn != 0 {
		held := h.Gateway.Conditions[h.Held]
		value := h.Gateway.Sticky.Cookie
		if h.Taken {
			value = held.ID
		}
		k.set(held.StrengthCookie(), value)
	}
	if h.Pins&routing.WeightsDrawn != 0 {
		k.set(h.Gateway.Sticky.Cookie, h.Route.ID)
	}
}

// set appends a field that sets a cookie for the session.
func (k *keeper) set(name, value string) {
	k.answer = append(k.answer, "Set-Cookie: "...)
	k.answer = append(k.answer, name...)
	k.answer = append(k.answer, '=')
	k.answer = append(k.answer, value...)
	k.answer = append(k.answer, "; Path=/; HttpOnly; SameSite=Lax"...)
	if k.secure {
		k.answer = append(k.answer, "; Secure"...)
	}
	k.answer = append(k.answer, "\r\n"...)
}

// prefer finds the instance on which the client is.
func (k *keeper) prefer(h *routing.Hop, r *request, t *upstream.Target) {
	if h.Gateway.Sticky.Keyed() {
		if h.Keyed {
			k.preferred = t.ForKey(h.Key)
		}
		return
	}
	k.route = h.Route.ID
	for line, next := r.Field("Cookie", 0); next >= 0; line, next = r.Field("Cookie", next) {
		for rest := line; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			name, value, ok := strings.Cut(pair, "=")
			if !ok || strings.Trim(name, " \t") != k.route {
				continue
			}
			if i := t.ByID(strings.Trim(value, " \t")); i != nil {
				k.preferred, k.kept = i, true
				return
			}
		}
	}
}

// strip takes the cookies of the gateways that were passed out of the request:
// they are between the client and us.
func (k *keeper) strip(h *head, d *routing.Decision) {
	for i := range h.fields {
		f := &h.fields[i]
		if f.kind != kindOther || !fold(h.bytes(f.name), "cookie") || !k.anyOurs(h.bytes(f.value), d) {
			continue
		}
		start := len(k.request)
		k.request = append(k.request, "Cookie: "...)
		first := true
		for rest := h.bytes(f.value); len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, semicolon)
			pair = bytes.Trim(pair, " \t")
			if len(pair) == 0 || ours(pair, d) {
				continue
			}
			if !first {
				k.request = append(k.request, "; "...)
			}
			first = false
			k.request = append(k.request, pair...)
		}
		k.request = append(k.request, "\r\n"...)
		if first {
			k.request = k.request[:start]
		}
		f.kind = kindOwn // what is left of it is in k.request
	}
}

func (k *keeper) anyOurs(value []byte, d *routing.Decision) bool {
	for len(value) > 0 {
		var pair []byte
		pair, value, _ = bytes.Cut(value, semicolon)
		if ours(bytes.Trim(pair, " \t"), d) {
			return true
		}
	}
	return false
}

// ours reports whether a cookie is one that a gateway of the decision set.
func ours(pair []byte, d *routing.Decision) bool {
	name, _, _ := bytes.Cut(pair, equals)
	for i := range d.Depth {
		if s := d.Hops[i].Gateway.Sticky; s != nil && s.Owns(view(bytes.Trim(name, " \t"))) {
			return true
		}
	}
	return false
}

var semicolon, equals = []byte{';'}, []byte{'='}

// pick returns the instance for an attempt: the one on which the client is
// first, then those that the walk chooses.
func (k *keeper) pick(w *upstream.Walk, attempt int) *upstream.Instance {
	if attempt == 0 && k.preferred != nil && w.Take(k.preferred) {
		return k.preferred
	}
	return w.Next()
}

// served notes the instance that answers: a client that was not on it gets
// its cookie.
func (k *keeper) served(i *upstream.Instance) {
	if k.route != "" && (!k.kept || i != k.preferred) {
		k.set(k.route, i.ID())
	}
}

// fields returns the fields that the answer gets: with those that set cookies,
// one that keeps it out of shared caches unless it says itself who may keep it
// (RFC 9111 section 5.2.2.7).
func (k *keeper) fields(answer *head) string {
	if len(k.answer) == 0 {
		return ""
	}
	for i := range answer.fields {
		if fold(answer.bytes(answer.fields[i].name), "cache-control") {
			return view(k.answer)
		}
	}
	k.answer = append(k.answer, "Cache-Control: private\r\n"...)
	return view(k.answer)
}
