// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strings"
	"time"
)

// http2Keys are the keys of http2.
var http2Keys = []quantity{
	{key: "max_concurrent_streams", least: 1, most: 10_000, plain: true},
	{key: "max_connection_age", least: int64(time.Second), most: 7 * maxTimeout, time: true, none: "none"},
	{key: keyAgeGrace, least: int64(time.Second), most: maxTimeout, time: true},
	{key: "ping", least: int64(time.Second), most: int64(time.Hour), time: true, none: "none"},
}

const (
	keyHTTP2     = "http2"
	keyAgeGrace  = "max_connection_age_grace"
	http2Allowed = "a map or none is allowed"
)

// http2 reads how a gateway speaks HTTP/2 to its clients.
func (r *reader) http2(v *value, path string) (h HTTP2) {
	switch {
	case v.kind == textValue && v.text == "none":
		return HTTP2{Off: true}
	case v.kind != mapValue:
		allowed := http2Allowed
		if v.kind == booleanValue && v.text == "false" {
			allowed = "did you mean none? " + allowed
		}
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return HTTP2{}
	}
	var grace httpOnly
	r.fields(SectionHTTP2, v, path, func(e entry, path string) {
		switch e.key {
		case "max_concurrent_streams":
			r.count(http2Keys, e, path, &h.Streams)
		case "max_connection_age":
			r.span(http2Keys, e, path, &h.MaxAge)
		case keyAgeGrace:
			grace.note(e.place, path)
			r.span(http2Keys, e, path, &h.MaxAgeGrace)
		case "ping":
			r.span(http2Keys, e, path, &h.Ping)
		}
	})
	if grace.path != "" && (v.get("max_connection_age") == nil || h.MaxAge == Never) {
		r.warn(codeIgnoredKey, grace.place, grace.path, "the key has no effect without max_connection_age: connections become as old as they like",
			"write max_connection_age, or leave it out")
		h.MaxAgeGrace = 0
	}
	return h
}

const (
	keyProtocol     = "protocol"
	protocolAllowed = "http1, h2, h2c or grpc is allowed"

	h2Problem       = "the protocol is h2, which is spoken in TLS, and the route has no tls"
	h2Allowed       = "write tls: on, or a map, or protocol: h2c for HTTP/2 in plain text"
	h2cProblem      = "the protocol is h2c, which is spoken in plain text, and the route has tls"
	h2cAllowed      = "write protocol: h2, or leave tls out"
	sharedProblem   = "connections of HTTP/2 are shared by clients, and a header of the PROXY protocol names one"
	sharedAllowed   = "leave proxy_protocol out: X-Forwarded-For names the client of each request; or write protocol: http1"
	protocolProblem = "the setting is for requests, and the port of the gateway is tcp"
	protocolOnTCP   = "leave it out: on tcp ports the bytes of clients are forwarded, whatever they speak"
)

// protocol reads what is spoken to the instances of a route.
func (r *reader) protocol(v *value, path string) Protocol {
	if v.kind == textValue {
		switch strings.ToLower(v.text) {
		case "http2", "http/2", "http/2.0":
			r.wrongType(codeUnexpectedType, v, path, "did you mean h2, in TLS, or h2c, in plain text? "+protocolAllowed)
			return ProtocolHTTP1
		}
	}
	word := r.choice(v, path, protocolNames[:]...)
	for p, name := range protocolNames {
		if name == word {
			return Protocol(p)
		}
	}
	return ProtocolHTTP1
}

// checkProtocol sees that the settings of a route's connections go together:
// own is the map of what is its own.
func (r *reader) checkProtocol(route *Route, own *value, path string) {
	spoken := own.get(keyProtocol)
	if spoken == nil || !route.Protocol.HTTP2() {
		return
	}
	here := under(path, keyProtocol)
	switch secure := own.get(keyTLS); {
	case route.Protocol == ProtocolH2 && (secure == nil || secure.kind == booleanValue && secure.text == "false"):
		r.refuse(codeMissing, spoken.place, here, h2Problem, h2Allowed)
	case route.Protocol == ProtocolH2C && route.TLS != nil:
		r.refuse(codeUnexpectedElement, spoken.place, here, h2cProblem, h2cAllowed)
	}
	if route.ProxyProtocol != ProxyNone {
		r.refuse(codeUnexpectedElement, own.get(keyProxyProtocol).place, under(path, keyProxyProtocol), sharedProblem, sharedAllowed)
	}
}
