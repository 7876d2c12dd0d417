// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const routesAllowed = "a map of routes by path, a list of paths and one-entry maps, or one path is allowed"

// routes reads the routes of a gateway in any of their three forms. partial
// reports that some could not be read.
func (r *reader) routes(v *value, path string) (forms []*routeForm, partial bool) {
	list := routeList{reader: r, path: path, seen: make(map[string]place)}
	switch v.kind {
	case mapValue:
		for _, e := range v.entries {
			list.add(e.key, e.place, e.value)
		}
	case listValue:
		for i, item := range v.items {
			list.addItem(item, path+"["+strconv.Itoa(i)+"]")
		}
	case textValue:
		list.add(v.text, v.place, nil)
	default:
		r.wrongType(codeUnexpectedType, v, path, routesAllowed)
	}
	return list.forms, list.partial
}

// routeList collects routes, each path once.
type routeList struct {
	*reader
	path    string
	forms   []*routeForm
	partial bool
	seen    map[string]place
}

func (l *routeList) addItem(item *value, path string) {
	switch {
	case item.kind == textValue:
		l.add(item.text, item.place, nil)
	case item.kind == mapValue && len(item.entries) == 1:
		l.add(item.entries[0].key, item.entries[0].place, item.entries[0].value)
	case item.kind == mapValue:
		l.refuse(codeUnexpectedType, item.place, path, fmt.Sprintf("a map with %d keys stands here", len(item.entries)),
			"a map in the list has one key, the path; its settings stand below it, indented further")
	default:
		l.wrongType(codeUnexpectedType, item, path, routesAllowed)
	}
}

// add reads one route; v is nil for a path without settings.
func (l *routeList) add(key string, at place, v *value) {
	here := under(l.path, key)
	f := &routeForm{}
	if !l.routePath(f, key, at, here) {
		l.partial = true
		if v != nil && v.kind == mapValue {
			l.routeBody(f, v, here) // for its faults
		}
		return
	}
	if first, twice := l.seen[f.route.Path]; twice {
		l.partial = true
		l.refuse(codeRoutePath, at, here, fmt.Sprintf("the route %s is written twice, before at %d:%d", quote(f.route.Path), first.line, first.column),
			"each path may stand once in a gateway")
		return
	}
	l.seen[f.route.Path] = at
	f.route.At, f.at = at.position(), at
	if v != nil && !l.routeValue(f, v, at, here) {
		l.partial = true
		return
	}
	l.forms = append(l.forms, f)
}

// routePath reads the key of a route: an address in brackets, or 1 to 4
// segments. Double slashes count as one.
func (r *reader) routePath(f *routeForm, key string, at place, path string) bool {
	if strings.HasPrefix(key, "[") {
		return r.externalPath(f, key, at, path)
	}
	var segments []string
	for s := range strings.SplitSeq(key, "/") {
		if s != "" {
			segments = append(segments, s)
		}
	}
	f.route.Path, f.segments = strings.Join(segments, "/"), len(segments)
	switch {
	case strings.ContainsAny(key, "[]"):
		r.refuse(codeRoutePath, at, path, quote(key)+" has brackets that do not enclose all of it", `an address stands in brackets: "[host:port]"`)
	case f.segments < 1 || f.segments > 4:
		r.refuse(codeRoutePath, at, path, fmt.Sprintf("the path %s has %d segments", quote(key), f.segments),
			`1 to 4 segments joined by / are allowed, or an address: "[host:port]"`)
	default:
		return true
	}
	return false
}

func (r *reader) externalPath(f *routeForm, key string, at place, path string) bool {
	const allowed = `an address is written "[host:port]", with a port from 1 to 65535; IPv6 addresses as "[[::1]:80]", in quotes`
	problem := "the bracket is not closed at the end"
	if inner, closed := strings.CutSuffix(key[1:], "]"); closed {
		_, _, problem = parseAddress(inner)
	}
	if problem != "" {
		r.refuse(codeRoutePath, at, path, quote(key)+" is no address: "+problem, allowed)
		return false
	}
	f.route.Path, f.external, f.segments = key, true, 1
	return true
}

// routeValue reads what stands behind the path of a route, and reports
// whether it is of a type that can.
func (r *reader) routeValue(f *routeForm, v *value, key place, path string) bool {
	switch v.kind {
	case nullValue:
		r.refuse(codeMissing, key, path, "nothing stands behind the path", "write {} for a route with defaults, or its settings")
	case textValue:
		f.ref = r.referenceTo(v, path)
	case mapValue:
		f.ref = r.reference(v, path)
		if f.ref != nil {
			r.ignored(SectionRoute, v, path)
		}
		r.routeBody(f, v, path)
	default:
		r.wrongType(codeUnexpectedType, v, path, "a map of settings or the name of a stored route is allowed")
	}
	return v.kind == mapValue || v.kind == textValue
}

// storedRoute reads an artifact of kind routes.
func (r *reader) storedRoute(v *value) *routeForm {
	f := &routeForm{}
	r.refuseReference(v)
	r.routeBody(f, v, "")
	return f
}

// refuseReference refuses a stored artifact that only refers to another one.
func (r *reader) refuseReference(v *value) {
	for _, e := range v.entries {
		if (e.key == "ref" || e.key == "reference") && e.value.kind != nullValue {
			r.refuse(codeReference, e.place, e.key, "a stored artifact refers to another one", "write the definition itself, or use import")
		}
	}
}

// routeBody reads the settings of a route.
func (r *reader) routeBody(f *routeForm, v *value, path string) {
	nested := path != ""
	var own *value
	r.fields(SectionRoute, v, path, func(e entry, path string) {
		switch e.key {
		case "weight":
			f.weightAt = e.place
			f.route.Weight, f.hasWeight = r.percent(e.value, path)
		case "condition":
			f.condition = r.condition(e.value, path)
		case "condition_strength":
			f.route.Strength, f.hasStrength = r.percent(e.value, path)
		case "rewrites":
			f.rewrites = r.rewrites(e.value, path)
		case "balance":
			f.route.Balance = r.balance(e.value, path)
		case "selector":
			f.route.Selector = r.routeSelector(f, e.value, path, nested)
		case "metadata":
			f.route.Metadata = r.metadata(e.value, path)
		case "sluice":
			own = e.value
		case "kind":
			if nested {
				r.checkKind(e.value, path, kindRoutes)
			}
		case "import":
			if nested {
				r.nestedImport(e, path)
			}
		}
	})
	if own != nil {
		r.routeOwn(f, own, under(path, "sluice"))
	}
}

func (r *reader) nestedImport(e entry, path string) {
	r.refuse(codeUnexpectedElement, e.place, path, "an import stands within an artifact", "import is a key of whole artifacts")
}

// routeOwn reads the settings of a route that go beyond Vamp.
func (r *reader) routeOwn(f *routeForm, v *value, path string) {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map is allowed")
		return
	}
	r.fields(SectionRouteOwn, v, path, func(e entry, path string) {
		switch e.key {
		case "headers":
			f.route.Headers = r.headers(e.value, path)
			return
		case "redirect":
			f.route.Redirect = r.redirect(e.value, path)
			return
		case "health":
			f.route.Health = PartOf(r.health(e.value, path))
			return
		case "ejection":
			f.route.Ejection = PartOf(r.ejection(e.value, path, &f.httpOnly))
			return
		case keyTLS:
			f.route.TLS = r.dialTLS(e.value, path)
			f.dials = append(f.dials, httpOnly{e.place, e.key})
			return
		case keyProxyProtocol:
			f.route.ProxyProtocol = r.proxyVersion(e.value, path)
			f.dials = append(f.dials, httpOnly{e.place, e.key})
			return
		case keyProtocol:
			f.route.Protocol = r.protocol(e.value, path)
			f.dials = append(f.dials, httpOnly{e.place, e.key})
			f.httpOnly.note(e.place, path)
			return
		case "slow_start":
			f.route.SlowStart = r.slowStart(e.value, path)
			return
		case "limits":
			f.route.Limits, f.route.Load = r.limits(SectionRouteLimits, e.value, path, &f.httpOnly)
			return
		case "timeouts":
			f.route.Timeouts = r.timeouts(SectionRouteTimeouts, e.value, path, &f.httpOnly)
			return
		case "retries":
			f.route.Retries = PartOf(r.retries(e.value, path, &f.httpOnly))
			return
		case "weight":
		default:
			return
		}
		if f.weightAt.src != nil {
			r.refuse(codeWeight, e.place, path, fmt.Sprintf("the route has a second weight, beside the one at %d:%d", f.weightAt.line, f.weightAt.column),
				"either weight or sluice.weight is allowed")
			f.hasWeight = false // none of them counts in the sum
			return
		}
		f.weightAt = e.place
		f.route.Weight, f.hasWeight = r.finePercent(e.value, path)
	})
	r.checkProtocol(&f.route, v, path)
}

// balance reads the name of an algorithm. It is compiled with the gateway.
func (r *reader) balance(v *value, path string) string {
	text, ok := r.text(v, path, "the name of an algorithm is allowed, such as roundrobin")
	if !ok {
		return ""
	}
	_, err := ParseBalance(text)
	if bad, is := errors.AsType[*BalanceError](err); is {
		r.refuse(codeBalance, v.place, path, bad.Problem, bad.Allowed)
	}
	return text
}

// routeSelector reads a selector of a route. The path of a stored route is
// not known yet.
func (r *reader) routeSelector(f *routeForm, v *value, path string, nested bool) string {
	text, ok := r.selectorText(v, path)
	switch {
	case !ok:
	case nested && f.external:
		r.refuse(codeSelectorExternal, v.place, path, "the route has a selector, and its path is an address", "leave one of the two out")
	case nested && f.segments > 1:
		r.refuse(codeSelectorPath, v.place, path, "the route has a selector, and its path has more than one segment",
			"a route with a selector has a path of one segment")
	}
	return text
}

const percentAllowed = `a whole number of percent is allowed, from "0%" to "100%"`

// percent reads a whole percentage, and whether it is one.
func (r *reader) percent(v *value, path string) (Weight, bool) {
	return r.share(v, path, 0, percentAllowed)
}

// finePercent reads a percentage with at most two decimals.
func (r *reader) finePercent(v *value, path string) (Weight, bool) {
	return r.share(v, path, 2, `a percentage with at most two decimals is allowed, from "0%" to "100%"`)
}

func (r *reader) share(v *value, path string, decimals int, allowed string) (Weight, bool) {
	if v.kind != textValue {
		if v.kind == integerValue || v.kind == decimalValue {
			if _, ok := parseShare(v.raw+"%", decimals); ok {
				allowed = "did you mean " + quote(v.raw+"%") + "? " + allowed
			}
		}
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return 0, false
	}
	w, ok := parseShare(v.text, decimals)
	if !ok {
		r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no such percentage", allowed)
	}
	return w, ok
}

// parseShare reads blanks, 1 to 3 digits, a fraction, blanks and a percent
// sign.
func parseShare(text string, decimals int) (Weight, bool) {
	text, ok := strings.CutSuffix(strings.TrimLeft(text, " \t"), "%")
	whole, fraction, hasFraction := strings.Cut(strings.TrimRight(text, " \t"), ".")
	if !ok || !isDigits(whole, 3) || hasFraction && !isDigits(fraction, decimals) {
		return 0, false
	}
	n, _ := strconv.Atoi(whole)
	hundredths, _ := strconv.Atoi((fraction + "00")[:2])
	w := Weight(100*n + hundredths)
	return w, w <= FullWeight
}

// isDigits reports whether s is 1 to limit digits.
func isDigits(s string, limit int) bool {
	return s != "" && len(s) <= limit && strings.Trim(s, "0123456789") == ""
}
