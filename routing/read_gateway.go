// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// gateway decodes the body of a gateway and checks all that needs no other
// artifact.
func (r *reader) gateway(v *value) *gatewayForm {
	f := &gatewayForm{gateway: Gateway{Name: r.name, NoRoute: 503, At: v.place.position()}, routesAt: v.place}
	g := &f.gateway
	var sticky *value
	var own place
	portRead := true
	r.fields(SectionGateway, v, "", func(e entry, path string) {
		switch e.key {
		case "metadata":
			g.Metadata = r.metadata(e.value, path)
		case "port":
			g.Port, portRead = r.port(e.value, path)
		case "sticky":
			g.Sticky = r.sticky(e.value, path)
			sticky = e.value
		case "virtual_hosts":
			g.VirtualHosts = r.virtualHosts(e.value, path)
		case "selector":
			g.Selector, _ = r.selectorText(e.value, path)
		case "routes":
			f.routesAt = e.place
			f.routes, f.partial = r.routes(e.value, path)
		case "service":
			g.Service = r.service(e.value, path)
		case "deployed":
			g.Deployed = r.flag(e.value, path)
		case "sluice":
			r.gatewayOwn(f, e.value, path)
			own = e.place
		}
	})
	r.checkAffinity(g, own)
	if g.Sticky != "" {
		r.checkSticky(g, sticky)
	}
	if port := v.get("port"); g.Portless && port != nil {
		r.refuse(codeIgnoredKey, port.place, "port", "the gateway has a port, and sluice.port says that it has none", "either is allowed")
	}
	if portRead {
		r.checkConditionPorts(f, false)
		r.checkEditPorts(f, false)
		r.checkBoundPorts(f, false)
		r.checkTLSPorts(f)
	}
	r.checkDials(f, false)
	if !f.hasReferences() {
		r.checkWeights(f)
	}
	return f
}

func (f *gatewayForm) hasReferences() bool {
	for _, route := range f.routes {
		if route.ref != nil {
			return true
		}
	}
	return false
}

// checkGatewayName applies the rule for names of gateways.
func (r *reader) checkGatewayName(v *value) {
	segments := 0
	for s := range strings.SplitSeq(v.text, "/") {
		if s != "" {
			segments++
		}
	}
	if segments < 1 || segments > 4 || strings.ContainsFunc(v.text, notInNames) {
		r.refuse(codeGatewayName, v.place, "name", quote(v.text)+" is no name of a gateway",
			"1 to 4 segments joined by / are allowed, without white space, [ and ]")
	}
}

// sticky reads the form of sticky; "" means none.
func (r *reader) sticky(v *value, path string) string {
	text := ""
	if v.kind == textValue {
		text = strings.ToLower(v.text)
	}
	switch {
	case text == "route" || text == "instance":
		return text
	case v.kind == textValue && v.text == "none":
	default:
		r.wrongType(codeSticky, v, path, "route, instance or none is allowed")
	}
	return ""
}

func (r *reader) checkSticky(g *Gateway, v *value) {
	if g.Port.Type == TCP {
		r.refuse(codeStickyPort, v.place, "sticky", "the gateway is sticky, and its port is tcp", "only http ports can be sticky")
	}
}

func (r *reader) virtualHosts(v *value, path string) []string {
	const allowed = "a host name or a list of host names is allowed"
	items := []*value{v}
	if v.kind == listValue {
		items = v.items
	}
	var hosts []string
	seen := make(map[string]bool)
	for i, item := range items {
		here := path
		if v.kind == listValue {
			here += "[" + strconv.Itoa(i) + "]"
		}
		if item.kind != textValue {
			r.wrongType(codeVirtualHosts, item, here, allowed)
			continue
		}
		if host := item.text; !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
			r.checkVirtualHost(item, here)
		}
	}
	return hosts
}

// checkVirtualHost refuses names that are not written as requests send them,
// and warns of those that no request can bear.
func (r *reader) checkVirtualHost(v *value, path string) {
	const code = codeVirtualHosts
	host, prefix := splitPrefix(v.text)
	name := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	switch {
	case len(prefix) > maxPrefix:
		r.refuse(code, v.place, path, fmt.Sprintf("its path has %d bytes", len(prefix)), fmt.Sprintf("at most %d are allowed", maxPrefix))
	case strings.ContainsAny(prefix, "?#*") || strings.Contains(prefix, "//") || strings.ContainsFunc(prefix, notInPaths):
		r.warn(code, v.place, path, quote(v.text)+" never matches", "a path prefix is made of whole segments as requests send them: shop.example/cart")
	case isIPv6(name), host == string(anyHost):
	case !isASCII(host):
		r.refuse(code, v.place, path, quote(v.text)+" has letters beyond ASCII, which no request for it has",
			"write the name as browsers send it, in Punycode: xn--...")
	case strings.Contains(strings.TrimPrefix(host, wildcard), "*") || host == wildcard:
		r.warn(code, v.place, path, quote(v.text)+" never matches", "a star stands for whole labels at the beginning of a name: *.shop.example")
	case strings.Contains(host, ":"):
		r.warn(code, v.place, path, quote(v.text)+" never matches", "virtual hosts are names without port")
	case host == "" || strings.ContainsFunc(host, unicode.IsSpace):
		r.warn(code, v.place, path, quote(v.text)+" never matches", "a host name is allowed, such as shop.example")
	}
}

// notInPaths reports whether a byte cannot stand in the path of a request.
func notInPaths(c rune) bool { return c <= ' ' || c >= unicode.MaxASCII }

// selectorText reads a selector, and whether it is one.
func (r *reader) selectorText(v *value, path string) (string, bool) {
	text, ok := r.text(v, path, "a selector is a text, such as label(app)(shop)")
	if ok && strings.TrimSpace(text) == "" {
		r.refuse(codeSelector, v.place, path, "the selector is empty", "leave the key out, or write ~, for none")
		return "", false
	}
	if ok {
		ok = r.checkSelector(v, path)
	}
	return text, ok
}

func (r *reader) service(v *value, path string) *Service {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map with host and port is allowed")
		return nil
	}
	s := &Service{}
	r.fields(SectionService, v, path, func(e entry, path string) {
		switch e.key {
		case "host":
			s.Host, _ = r.text(e.value, path, "a name or address is allowed")
		case "port":
			s.Port, _ = r.port(e.value, path)
		}
	})
	for _, key := range []string{"host", "port"} {
		if v.get(key) == nil {
			r.refuse(codeMissing, v.place, under(path, key), "the "+key+" is missing", "a service has host and port")
		}
	}
	return s
}

func (r *reader) flag(v *value, path string) bool {
	if v.kind != booleanValue {
		r.wrongType(codeUnexpectedType, v, path, "true or false is allowed")
		return false
	}
	return v.text == "true"
}

// gatewayOwn reads the settings that go beyond Vamp.
func (r *reader) gatewayOwn(f *gatewayForm, v *value, path string) {
	g := &f.gateway
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map is allowed")
		return
	}
	r.fields(SectionGatewayOwn, v, path, func(e entry, path string) {
		switch e.key {
		case "split":
			if r.choice(e.value, path, "exact", "random") == "random" {
				g.Split = SplitRandom
			}
		case "unavailable":
			if r.choice(e.value, path, "error", "redistribute") == "redistribute" {
				g.Unavailable = UnavailableRedistribute
			}
		case "balance":
			g.Balance = r.balance(e.value, path)
		case "locality":
			g.Locality = r.locality(e.value, path)
		case "port":
			g.Portless = r.choice(e.value, path, "none") == "none"
			f.httpOnly.note(e.place, path)
		case "no_route":
			if r.choice(e.value, path, "503", "404") == "404" {
				g.NoRoute = 404
			}
		case "forwarded":
			g.Forwarded = r.forwarded(e.value, path)
			f.httpOnly.note(e.value.place, path)
		case keyTLS:
			g.TLS = r.listenTLS(e.value, path, &f.tlsOnly)
		case keyProxyProtocol:
			g.ProxyFrom = r.proxyFrom(e.value, path)
		case keyHTTP2:
			g.HTTP2 = r.http2(e.value, path)
			f.httpOnly.note(e.place, path)
		case keyExplain:
			g.Unexplained = r.choice(e.value, path, "header", "none") == "none"
			f.httpOnly.note(e.place, path)
		case "between_routes":
			g.BetweenRoutes = r.betweenRoutes(e.value, path)
			f.tcpOnly.note(e.place, path)
		case "affinity":
			r.affinity(g, e.value, path)
		case "limits":
			g.Limits, g.Load = r.limits(SectionLimits, e.value, path, &f.httpOnly)
		case "health":
			g.Health = PartOf(r.health(e.value, path))
		case "ejection":
			g.Ejection = PartOf(r.ejection(e.value, path, &f.httpOnly))
		case "slow_start":
			g.SlowStart = r.slowStart(e.value, path)
		case "timeouts":
			g.Timeouts = r.timeouts(SectionTimeouts, e.value, path, &f.httpOnly)
		}
	})
}

// choice reads one of a few words, "" if it is none of them.
func (r *reader) choice(v *value, path string, words ...string) string {
	for _, w := range words {
		if v.scalar() && v.text == w {
			return w
		}
	}
	allowed := choices(words) + " is allowed"
	if v.kind == textValue {
		if s := suggest(v.text, words); s != "" {
			allowed = "did you mean " + s + "? " + allowed
		}
	}
	r.wrongType(codeUnexpectedType, v, path, allowed)
	return ""
}
