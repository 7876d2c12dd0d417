// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strconv"
	"strings"
	"time"
)

// InForce says what holds for the requests of a gateway or route beside the
// defaults, for people. The zero InForce says that only the defaults do.
type InForce struct {
	// Limits and Timeouts are by key, each value as it may be written.
	Limits   map[string]string `json:"limits,omitempty"`
	Timeouts map[string]string `json:"timeouts,omitempty"`
	// Load has a sentence for each bound of how much there is to do at once.
	Load []string `json:"load,omitempty"`
	// HTTP2 is how a gateway speaks HTTP/2 to clients, as it may be written: none,
	// or a map in one line.
	HTTP2 string `json:"http2,omitempty"`
	// Protocol is what is spoken to the instances of a route.
	Protocol string `json:"protocol,omitempty"`
}

// InForce returns what holds for all requests of the gateway, and for those of
// its routes that say nothing else.
func (g *CompiledGateway) InForce() InForce {
	l, t, load := g.Asked.Limits.Value(), g.Asked.Timeouts.Value(), g.Asked.Load.Value()
	e := &g.Entry // which fits a target into its head
	l.Head, l.Fields, l.Target = int64(e.Head), int64(e.Fields), int64(e.Target)
	in := inForce(&l, &t)
	in.Load = rateTexts(&load.Rates, "the gateway")
	if g.Type == HTTP {
		in.HTTP2 = g.HTTP2.text()
	}
	return in
}

// RouteInForce returns what holds for the exchanges of a route of the gateway,
// once they are decided: what the gateway says of them, too. Of a chain, what
// is written nearest to the target counts; see [Decision.Bounds].
func (g *CompiledGateway) RouteInForce(r *CompiledRoute) InForce {
	l, t := g.Asked.Limits.Value(), g.Asked.Timeouts.Value()
	own := g.Asked.Routes[r.Index]
	limits, timeouts := own.Limits.Value(), own.Timeouts.Value()
	for _, q := range sizes {
		put(q.limit(&l), *q.limit(&limits))
	}
	put(&l.MinRate, limits.MinRate)
	for _, q := range times {
		put(q.timeout(&t), *q.timeout(&timeouts))
	}
	// These hold before the route is known.
	l.Head, l.Fields, l.Target, l.Connections, t.Head, t.KeepAlive = 0, 0, 0, 0, 0, 0
	in := inForce(&l, &t)
	in.Load = r.Load.texts()
	in.Protocol = r.spoken()
	return in
}

// inForce returns what is written and not the default.
func inForce(l *Limits, t *Timeouts) (in InForce) {
	limits, timeouts := defaults()
	add := func(to *map[string]string, key, text string) {
		if *to == nil {
			*to = make(map[string]string)
		}
		(*to)[key] = text
	}
	for _, q := range sizes {
		if n := *q.limit(l); n != 0 && n != *q.limit(&limits) {
			add(&in.Limits, q.key, q.sizeText(n))
		}
	}
	if l.MinRate != (Rate{}) && l.MinRate != limits.MinRate {
		add(&in.Limits, "min_rate", l.MinRate.text())
	}
	for _, q := range times {
		if d := *q.timeout(t); d != 0 && d != *q.timeout(&timeouts) {
			add(&in.Timeouts, q.key, q.timeText(d))
		}
	}
	return in
}

// defaults returns the limits and timeouts of those who write none, as if they
// had written them.
func defaults() (Limits, Timeouts) {
	e, b := DefaultEntry(), DefaultBounds()
	l := Limits{
		Head: int64(e.Head), Fields: int64(e.Fields), Target: int64(e.Target),
		Body: b.Body, AnswerHead: int64(b.AnswerHead), MinRate: b.MinRate,
	}
	t := Timeouts{
		Head: e.HeadTimeout, Connect: b.Connect, FirstByte: b.FirstByte, Idle: b.Idle, KeepAlive: e.KeepAlive,
		UpstreamKeepAlive: b.UpstreamKeepAlive, Tunnel: b.Tunnel, Total: b.Total, HalfClosed: b.HalfClosed,
	}
	return l, t
}

// sizeText returns a limit as it is written.
func (q *quantity) sizeText(n int64) string {
	switch {
	case n == Unlimited:
		return q.none
	case q.plain:
		return strconv.FormatInt(n, 10)
	default:
		return formatSize(n)
	}
}

// timeText returns a timeout as it is written.
func (q *quantity) timeText(d time.Duration) string {
	if d == Never {
		return q.none
	}
	return formatTime(int64(max(d, 0))) // AtOnce
}

// text returns the rate as it is written.
func (r Rate) text() string {
	if !r.Judges() {
		return "none"
	}
	return formatSize(r.Bytes) + " over " + formatTime(int64(r.Window))
}

// text returns what is not the default, as it is written.
func (h HTTP2) text() string {
	if h.Off {
		return "none"
	}
	usual := DefaultHTTP2()
	var parts []string
	add := func(key string, n, usual int64) {
		if n == usual {
			return
		}
		q := quantityOf(http2Keys, key)
		text := q.sizeText(n)
		switch {
		case n == 0:
			text = q.none
		case q.time:
			text = q.timeText(time.Duration(n))
		}
		parts = append(parts, key+": "+text)
	}
	add("max_concurrent_streams", int64(h.Streams), int64(usual.Streams))
	add("max_connection_age", int64(h.MaxAge), int64(usual.MaxAge))
	add(keyAgeGrace, int64(h.MaxAgeGrace), int64(usual.MaxAgeGrace))
	add("ping", int64(h.Ping), int64(usual.Ping))
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
