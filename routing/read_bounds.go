// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strconv"
	"strings"
	"time"
)

// quantity is one key of limits or timeouts: how it is read, and between what.
type quantity struct {
	key     string
	least   int64
	most    int64
	plain   bool   // a number without unit
	none    string // the word for no bound; empty if there must be one
	time    bool   // in nanoseconds
	forTCP  bool   // tcp ports have it, too
	limit   func(*Limits) *int64
	timeout func(*Timeouts) *time.Duration
}

const (
	minTimeout = int64(10 * time.Millisecond)
	maxTimeout = int64(24 * time.Hour)
)

// sizes are the keys of limits that are numbers of bytes, of fields or of
// connections.
var sizes = []quantity{
	{key: "head", least: 1 << 10, most: 256 << 10, limit: func(l *Limits) *int64 { return &l.Head }},
	{key: "fields", least: 10, most: 1000, plain: true, limit: func(l *Limits) *int64 { return &l.Fields }},
	{key: "target", least: 64, most: 128 << 10, limit: func(l *Limits) *int64 { return &l.Target }},
	{key: "body", least: 1, most: 1 << 50, none: "unlimited", limit: func(l *Limits) *int64 { return &l.Body }},
	{key: "answer_head", least: 1 << 10, most: 1 << 20, limit: func(l *Limits) *int64 { return &l.AnswerHead }},
	{key: "connections", least: 1, most: 1e6, plain: true, forTCP: true, limit: func(l *Limits) *int64 { return &l.Connections }},
}

// times are the keys of timeouts.
var times = []quantity{
	{key: "head", least: minTimeout, most: int64(time.Hour), forTCP: true, timeout: func(t *Timeouts) *time.Duration { return &t.Head }},
	{key: "connect", least: minTimeout, most: int64(5 * time.Minute), forTCP: true, timeout: func(t *Timeouts) *time.Duration { return &t.Connect }},
	{key: "first_byte", least: minTimeout, most: maxTimeout, timeout: func(t *Timeouts) *time.Duration { return &t.FirstByte }},
	{key: "idle", least: minTimeout, most: maxTimeout, timeout: func(t *Timeouts) *time.Duration { return &t.Idle }},
	{key: "keep_alive", least: minTimeout, most: maxTimeout, timeout: func(t *Timeouts) *time.Duration { return &t.KeepAlive }},
	{key: "upstream_keep_alive", least: minTimeout, most: maxTimeout, timeout: func(t *Timeouts) *time.Duration { return &t.UpstreamKeepAlive }},
	{key: "tunnel", least: minTimeout, most: 30 * maxTimeout, forTCP: true, timeout: func(t *Timeouts) *time.Duration { return &t.Tunnel }},
	{key: "total", least: minTimeout, most: maxTimeout, none: "none", timeout: func(t *Timeouts) *time.Duration { return &t.Total }},
	{key: "half_closed", most: int64(time.Hour), none: "none", timeout: func(t *Timeouts) *time.Duration { return &t.HalfClosed }},
}

func quantityOf(list []quantity, key string) *quantity {
	for i := range list {
		if list[i].key == key {
			return &list[i]
		}
	}
	return nil
}

// httpOnly is the first setting that tcp ports do not have.
type httpOnly struct {
	place place
	path  string // empty if there is none
}

func (o *httpOnly) note(at place, path string) {
	if o.path == "" {
		o.place, o.path = at, path
	}
}

// limits reads the limits of a gateway or route.
func (r *reader) limits(s Section, v *value, path string, only *httpOnly) (Part[Limits], Part[Load]) {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of "+choices(s.names())+" is allowed")
		return Part[Limits]{}, Part[Load]{}
	}
	var l Limits
	var load Load
	r.fields(s, v, path, func(e entry, path string) {
		q := quantityOf(sizes, e.key)
		if e.key != "rate" && (q == nil || !q.forTCP) {
			only.note(e.place, path)
		}
		if r.load(&load, e, path) {
			if e.key == "rate" && load.looksAtRequests() {
				only.note(e.place, path)
			}
			return
		}
		if e.key == "min_rate" {
			l.MinRate = r.rate(e.value, path)
			return
		}
		if n, ok := r.size(q, e.value, path); ok {
			*q.limit(&l) = n
		}
	})
	return PartOf(l), PartOf(load)
}

// timeouts reads the timeouts of a gateway or route.
func (r *reader) timeouts(s Section, v *value, path string, only *httpOnly) Part[Timeouts] {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of "+choices(s.names())+" is allowed")
		return Part[Timeouts]{}
	}
	var t Timeouts
	r.fields(s, v, path, func(e entry, path string) {
		q := quantityOf(times, e.key)
		if !q.forTCP {
			only.note(e.place, path)
		}
		if d, ok := r.duration(q, e.value, path); ok {
			if d == 0 {
				d = AtOnce
			}
			*q.timeout(&t) = d
		}
	})
	return PartOf(t)
}

// size reads a number of bytes, or of what has no unit.
func (r *reader) size(q *quantity, v *value, path string) (int64, bool) {
	allowed := q.allowed()
	if v.kind != textValue && v.kind != integerValue {
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return 0, false
	}
	if q.none != "" && v.text == q.none {
		return Unlimited, true
	}
	n, ok := parseSize(v.text)
	if q.plain {
		var err error
		n, err = strconv.ParseInt(v.text, 10, 64)
		ok = err == nil
	}
	switch {
	case !ok && q.plain:
		r.wrongType(codeUnexpectedType, v, path, allowed)
	case !ok:
		r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no size", allowed)
	case n < q.least || n > q.most:
		ok = false
		r.refuse(codeBound, v.place, path, shorten(v.text)+" is out of bounds", allowed)
	}
	return n, ok
}

// duration reads a time.
func (r *reader) duration(q *quantity, v *value, path string) (time.Duration, bool) {
	allowed := q.allowed()
	if v.kind != textValue {
		if v.kind == integerValue && isDigits(v.raw, 9) {
			allowed = "did you mean " + v.raw + "s? " + allowed
		}
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return 0, false
	}
	if q.none != "" && v.text == q.none {
		return Never, true
	}
	d, err := time.ParseDuration(v.text)
	switch {
	case err != nil:
		r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no time", allowed)
	case int64(d) < q.least || int64(d) > q.most:
		r.refuse(codeBound, v.place, path, shorten(v.text)+" is out of bounds", allowed)
	default:
		return d, true
	}
	return 0, false
}

// allowed says what a key may be.
func (q *quantity) allowed() string {
	what, example := "a size", ", such as 32KB"
	switch {
	case q.timeout != nil || q.time:
		what, example = "a time", ", such as 10s, 1m30s or 500ms"
	case q.plain:
		what, example = "a number", ""
	}
	if q.none != "" {
		example += ", or " + q.none
	}
	return what + " from " + q.bound() + " is allowed" + example
}

// bound says between what it is allowed.
func (q *quantity) bound() string {
	format := formatSize
	switch {
	case q.timeout != nil || q.time:
		format = formatTime
	case q.plain:
		format = func(n int64) string { return strconv.FormatInt(n, 10) }
	}
	return format(q.least) + " to " + format(q.most)
}

// units of sizes: all are powers of 1,024, however they are written.
var units = []struct {
	name  string
	bytes int64
}{
	{"B", 1},
	{"KB", 1 << 10},
	{"MB", 1 << 20},
	{"GB", 1 << 30},
	{"TB", 1 << 40},
}

// parseSize reads digits and a unit: B, KB, MB, GB or TB, also KiB and so on;
// none means bytes. 1KB is 1,024 bytes.
func parseSize(text string) (int64, bool) {
	digits := strings.TrimRight(text, "BKMGTi")
	if !isDigits(digits, 16) {
		return 0, false
	}
	n, _ := strconv.ParseInt(digits, 10, 64)
	unit := text[len(digits):]
	if unit == "" {
		return n, true
	}
	if len(unit) == 3 && unit[1] == 'i' {
		unit = unit[:1] + unit[2:]
	}
	for _, u := range units {
		if unit == u.name {
			return n * u.bytes, n <= Unlimited/u.bytes
		}
	}
	return 0, false
}

// formatSize writes a size in the largest unit of which it is a multiple.
func formatSize(n int64) string {
	for i := len(units) - 1; i > 0; i-- {
		if u := units[i]; n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// formatTime writes a time without parts that are 0, such as 24h.
func formatTime(n int64) string {
	text := time.Duration(n).String()
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
}

const (
	rateAllowed = "a size a second from 1B to 1MB is allowed, such as 1KB or 1KB over 30s, with a time from 1s to 10m, or none"
	maxRate     = 1 << 20
	minWindow   = time.Second
	maxWindow   = 10 * time.Minute
)

// rate reads a Rate: "1KB", "1KB over 30s" or "none".
func (r *reader) rate(v *value, path string) Rate {
	if v.kind != textValue && v.kind != integerValue {
		r.wrongType(codeUnexpectedType, v, path, rateAllowed)
		return Rate{}
	}
	if v.text == "none" {
		return Any
	}
	rate := Rate{Window: DefaultBounds().MinRate.Window}
	size, window, over := strings.Cut(v.text, " over ")
	n, ok := parseSize(strings.TrimSpace(size))
	rate.Bytes = n
	if over && ok {
		d, err := time.ParseDuration(strings.TrimSpace(window))
		rate.Window, ok = d, err == nil
	}
	switch {
	case !ok:
		r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no rate", rateAllowed)
	case n < 1 || n > maxRate || rate.Window < minWindow || rate.Window > maxWindow:
		r.refuse(codeBound, v.place, path, shorten(v.text)+" is out of bounds", rateAllowed)
	default:
		return rate
	}
	return Rate{}
}

// checkBoundPorts refuses, on tcp gateways, limits and timeouts of requests:
// those of stored routes if stored is set, the others if not.
func (r *reader) checkBoundPorts(f *gatewayForm, stored bool) {
	if f.gateway.Port.Type != TCP {
		return
	}
	const problem, allowed = "the setting is for requests, and the port of the gateway is tcp", "connect, head and tunnel under timeouts, connections and rate (in all or by ip) under limits, and attempts, budget and budget_min under retries are allowed"
	if o := f.httpOnly; o.path != "" && !stored {
		r.refuse(codeBoundPort, o.place, o.path, problem, allowed)
	}
	for _, route := range f.routes {
		o := route.httpOnly
		switch {
		case o.path == "" || (route.ref != nil) != stored:
		case stored:
			r.refuse(codeBoundPort, route.ref.place, under("routes", route.route.Path), problem, allowed)
		default:
			r.refuse(codeBoundPort, o.place, o.path, problem, allowed)
		}
	}
}
