// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"strings"
	"time"
)

// amounts are the keys of limits that bound what is under way.
var amounts = []quantity{
	{key: "requests", least: 1, most: 1e6, plain: true, none: "none"},
	{key: "instance_requests", least: 1, most: 1e6, plain: true, none: "none"},
	{key: "queue", least: 0, most: 1e5, plain: true},
	{key: "queue_time", least: int64(time.Millisecond), most: int64(time.Minute), time: true},
}

// rateKeys are the keys of a rate.
var rateKeys = []quantity{
	{key: "requests", least: 1, most: 1e6, plain: true},
	{key: "per", least: int64(100 * time.Millisecond), most: int64(24 * time.Hour), time: true},
	{key: "burst", least: 1, most: 1e8, plain: true},
}

// breakerKeys are the keys of a breaker.
var breakerKeys = []quantity{
	{key: "over", least: int64(time.Second), most: int64(10 * time.Minute), time: true},
	{key: "at_least", least: 1, most: 1e5, plain: true},
	{key: "open_for", least: int64(100 * time.Millisecond), most: int64(time.Hour), time: true},
	{key: "trials", least: 1, most: 1000, plain: true},
}

// maxBurst bounds a burst, in times of the requests.
const maxBurst = 100

// load reads one of the limits that bound how much there is to do, and reports
// whether it is one.
func (r *reader) load(l *Load, e entry, path string) bool {
	switch e.key {
	case "rate":
		r.rates(l, e.value, path)
	case "breaker":
		l.Breaker = r.breaker(e.value, path)
	case "requests":
		r.amount(amounts, e, path, &l.Requests)
	case "instance_requests":
		r.amount(amounts, e, path, &l.InstanceRequests)
	case "queue":
		if r.amount(amounts, e, path, &l.Queue); l.Queue == 0 {
			l.Queue = NoQueue
		}
	case "queue_time":
		r.span(amounts, e, path, &l.QueueTime)
	default:
		return false
	}
	return true
}

func (r *reader) amount(list []quantity, e entry, path string, to *int64) {
	if n, ok := r.size(quantityOf(list, e.key), e.value, path); ok {
		*to = n
	}
}

func (r *reader) span(list []quantity, e entry, path string, to *time.Duration) {
	if d, ok := r.duration(quantityOf(list, e.key), e.value, path); ok {
		*to = d
	}
}

// rates reads one rate, or a list of them.
func (r *reader) rates(l *Load, v *value, path string) {
	const allowed = "a map of requests, per, burst and key is allowed, or a list of up to four"
	items := []*value{v}
	if v.kind == listValue {
		items = v.items
	}
	if len(items) > MaxRates {
		r.refuse(codeBound, v.place, path, fmt.Sprintf("there are %d rates", len(items)), allowed)
		return
	}
	for i, item := range items {
		here := path
		if v.kind == listValue {
			here = fmt.Sprintf("%s[%d]", path, i)
		}
		if item.kind != mapValue {
			r.wrongType(codeUnexpectedType, item, here, allowed)
			continue
		}
		l.Rates[i] = r.requestRate(item, here)
	}
}

// looksAtRequests reports whether a rate counts by what only requests have.
func (l *Load) looksAtRequests() bool {
	for i := range l.Rates {
		if s := l.Rates[i].Key.Source; s != KeyNone && s != KeyIP {
			return true
		}
	}
	return false
}

func (r *reader) requestRate(v *value, path string) RequestRate {
	rate := RequestRate{Per: defaultPer}
	at := v.place
	r.fields(SectionRate, v, path, func(e entry, path string) {
		switch e.key {
		case "requests":
			r.amount(rateKeys, e, path, &rate.Requests)
		case "per":
			r.span(rateKeys, e, path, &rate.Per)
		case "burst":
			r.amount(rateKeys, e, path, &rate.Burst)
			at = e.value.place
		case "key":
			rate.Key = r.key(e.value, path)
		}
	})
	switch {
	case v.get("requests") == nil:
		r.refuse(codeMissing, v.place, under(path, "requests"), "the number of requests is missing", "such as requests: 100")
	case rate.Requests > 0 && rate.Burst > maxBurst*rate.Requests:
		r.refuse(codeBound, at, under(path, "burst"), fmt.Sprintf("a burst of %d is out of bounds", rate.Burst),
			fmt.Sprintf("at most %d times the requests are allowed", maxBurst))
	case rate.Burst == 0:
		rate.Burst = rate.Requests
	}
	return rate
}

// breaker reads when a route is left alone.
func (r *reader) breaker(v *value, path string) Breaker {
	if v.kind == textValue && v.text == "none" {
		return Breaker{Never: true}
	}
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of "+choices(SectionBreaker.names())+" is allowed, or none")
		return Breaker{}
	}
	b := Breaker{Over: defaultOver, AtLeast: defaultAtLeast, OpenFor: defaultOpenFor, Trials: defaultTrials}
	r.fields(SectionBreaker, v, path, func(e entry, path string) {
		switch e.key {
		case "errors":
			b.Errors = r.enough(e.value, path)
		case "latency":
			r.latency(&b, e.value, path)
		case "over":
			r.span(breakerKeys, e, path, &b.Over)
		case "at_least":
			r.amount(breakerKeys, e, path, &b.AtLeast)
		case "open_for":
			r.span(breakerKeys, e, path, &b.OpenFor)
		case "trials":
			r.amount(breakerKeys, e, path, &b.Trials)
		}
	})
	if v.get("errors") == nil && v.get("latency") == nil {
		r.refuse(codeMissing, v.place, path, "nothing says when the breaker opens", `add errors, such as "50%", or latency, such as "p99 > 500ms"`)
	}
	return b
}

const maxLatency = time.Hour

// latency reads "p99 > 500ms": a quantile, and what it must not exceed.
func (r *reader) latency(b *Breaker, v *value, path string) {
	const allowed = `a quantile from p0.01 to p99.99 and a time from 1ms to 1h are allowed, such as "p99 > 500ms"`
	text, ok := r.text(v, path, allowed)
	if !ok {
		return
	}
	quantile, bound, both := strings.Cut(text, ">")
	digits, isQuantile := strings.CutPrefix(strings.TrimSpace(quantile), "p")
	share, isShare := parseShare(digits+"%", 2)
	d, err := time.ParseDuration(strings.TrimSpace(bound))
	switch {
	case !both || !isQuantile || !isShare || err != nil:
		r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no latency", allowed)
	case share == 0 || share == FullWeight || d < time.Millisecond || d > maxLatency:
		r.refuse(codeBound, v.place, path, quote(v.text)+" is out of bounds", allowed)
	default:
		b.Slow, b.SlowerThan = FullWeight-share, d
	}
}
