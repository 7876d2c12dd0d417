// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
)

// MaxRates bounds the rates of a gateway or route.
const MaxRates = 4

// Load bounds how much there may be to do at once, as written: a zero field is
// not written. Comparable.
type Load struct {
	Requests         int64 // of a route, under way at once; Unlimited lifts what else would hold
	InstanceRequests int64 // at each instance of a route; Unlimited as above
	Queue            int64 // those who wait for either; NoQueue if nobody may
	QueueTime        time.Duration
	// Rates are counted side by side, from the first one on; a zero Rate is
	// none. Those of a gateway and of its routes all hold.
	Rates   [MaxRates]RequestRate
	Breaker Breaker
}

// NoQueue is the Load.Queue of those who want none.
const NoQueue = -1

// RequestRate bounds how many requests come in a time. Comparable.
type RequestRate struct {
	Requests int64
	Per      time.Duration
	Burst    int64     // how many may come at once
	Key      ClientKey // each value of it has the rate for itself; KeyNone: all have it together
}

// Breaker says when a route is left alone for a while. Comparable.
type Breaker struct {
	Never bool // lifts what else would hold
	// Errors is the share of failures that opens it; 0: they do not.
	Errors Weight
	// Slow is the share of answers slower than SlowerThan above which it opens;
	// SlowerThan 0: they do not.
	Slow       Weight
	SlowerThan time.Duration
	Over       time.Duration // in which they are counted
	AtLeast    int64         // how many exchanges it takes to judge
	OpenFor    time.Duration
	Trials     int64 // exchanges that all must go well for it to close
}

// Breaks reports whether there is anything that opens it.
func (b *Breaker) Breaks() bool { return !b.Never && (b.Errors > 0 || b.SlowerThan > 0) }

// ClientKey is where something that tells clients apart stands in their requests.
// Comparable.
type ClientKey struct {
	Source KeySource
	Name   string // of the header (canonical) or cookie
}

// String returns the key as written: header(NAME), cookie(NAME), ip or none.
func (k ClientKey) String() string {
	if k.Name == "" {
		return k.Source.String()
	}
	return k.Source.String() + "(" + k.Name + ")"
}

// String returns none, header, cookie or ip.
func (s KeySource) String() string {
	return [...]string{KeyNone: "none", KeyHeader: "header", KeyCookie: "cookie", KeyIP: "ip"}[s]
}

// Of returns the first value of a header, or of a cookie, that is not empty,
// and whether there is one. It is a view of the request.
func (k ClientKey) Of(r conditions.Request) (string, bool) {
	switch k.Source {
	case KeyHeader:
		for value, next := r.Field(k.Name, 0); next >= 0; value, next = r.Field(k.Name, next) {
			if value != "" {
				return value, true
			}
		}
	case KeyCookie:
		for value := range cookies(r, k.Name) {
			if value != "" {
				return value, true
			}
		}
	case KeyNone, KeyIP:
	}
	return "", false
}

// The defaults of what is written in part.
const (
	defaultQueue     = 100
	defaultQueueTime = 100 * time.Millisecond
	defaultPer       = time.Second
	defaultOver      = 10 * time.Second
	defaultAtLeast   = 20
	defaultOpenFor   = 5 * time.Second
	defaultTrials    = 3
)

// load returns what holds for a route: what it says itself, then what its
// gateway says of all its routes; defaults applied, and 0 where there is no
// bound. It is nil if there are none. The rates are those of the route alone.
func (g *Gateway) load(r *Route) *Load {
	l, own := g.Load.Value(), r.Load.Value()
	l.Rates = own.Rates
	put(&l.Requests, own.Requests)
	put(&l.InstanceRequests, own.InstanceRequests)
	put(&l.Queue, own.Queue)
	put(&l.QueueTime, own.QueueTime)
	put(&l.Breaker, own.Breaker)
	for _, n := range []*int64{&l.Requests, &l.InstanceRequests} {
		if *n == Unlimited {
			*n = 0
		}
	}
	switch l.Queue {
	case 0:
		l.Queue = defaultQueue
	case NoQueue:
		l.Queue = 0
	}
	if l.QueueTime == 0 {
		l.QueueTime = defaultQueueTime
	}
	if !l.Breaker.Breaks() {
		l.Breaker = Breaker{}
	}
	if l.Requests == 0 && l.InstanceRequests == 0 && l.Rates[0] == (RequestRate{}) && l.Breaker == (Breaker{}) {
		return nil
	}
	return &l
}

// texts says the bounds for people.
func (l *Load) texts() (all []string) {
	if l == nil {
		return nil
	}
	all = rateTexts(&l.Rates, "the route")
	if l.Requests > 0 {
		all = append(all, fmt.Sprintf("at most %d requests at a time on the route%s", l.Requests, l.queueText()))
	}
	if l.InstanceRequests > 0 {
		all = append(all, fmt.Sprintf("at most %d requests at a time at each instance%s", l.InstanceRequests, l.queueText()))
	}
	if l.Breaker.Breaks() {
		all = append(all, l.Breaker.text())
	}
	return all
}

func (l *Load) queueText() string {
	if l.Queue == 0 {
		return "; the others are answered 503"
	}
	return fmt.Sprintf("; %d more wait for up to %v", l.Queue, l.QueueTime)
}

func rateTexts(rates *[MaxRates]RequestRate, of string) (all []string) {
	for _, r := range rates {
		if r == (RequestRate{}) {
			break
		}
		text := fmt.Sprintf("at most %d requests per %s to %s, %d at once", r.Requests, formatTime(int64(r.Per)), of, r.Burst)
		if r.Key.Source != KeyNone {
			text += ", for each " + r.Key.String()
		}
		all = append(all, text)
	}
	return all
}

func (b *Breaker) text() string {
	var when []string
	if b.Errors > 0 {
		when = append(when, b.Errors.String()+" of the requests fail")
	}
	if b.SlowerThan > 0 {
		when = append(when, b.latency()+" holds")
	}
	return fmt.Sprintf("left alone for %v when %s over %v", b.OpenFor, strings.Join(when, " or "), b.Over)
}

// latency returns the latency that opens the breaker as it is written.
func (b *Breaker) latency() string {
	return fmt.Sprintf("p%s > %v", strings.TrimSuffix((FullWeight-b.Slow).String(), "%"), b.SlowerThan)
}
