// SPDX-License-Identifier: Apache-2.0

package book

import (
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

const (
	// steady is the time in which the changes of one message of a connected
	// proxy happened, at most: it tells each second what changed, and nothing
	// if nothing did.
	steady = time.Second
	// catchUp is how long a proxy that was not heard may take to tell
	// everything. What it tells of a series for the first time since then
	// happened while nobody heard it.
	catchUp = time.Minute
	// remembered is how long a proxy that left is.
	remembered = time.Hour
)

// proxy is what is known of one.
type proxy struct {
	start     time.Time     // of counting, by its own clock
	present   bool          // it said something since it left
	connected bool          // it counts: it is present, and told counters
	heard     time.Duration // when the last message came; times are since the book began
	resumed   time.Duration // when it was heard again, or at first
	since     time.Duration // what it told then happened after that
	returned  bool          // it was forgotten: what it tells of first is no news
	left      time.Duration
	rows      map[key]*row
	ill       map[illKey]Ill
}

// proxy returns what is known of a proxy, nil if there is no room.
func (b *Book) proxy(name string) *proxy {
	p := b.proxies[name]
	if p != nil {
		return p
	}
	if len(b.proxies) >= b.o.MaxProxies && !b.forgetOne() {
		return nil
	}
	p = &proxy{rows: map[key]*row{}, ill: map[illKey]Ill{}}
	b.proxies[name] = p
	return p
}

// arrive notes that a message came.
func (p *proxy) arrive(c *controlpb.Counters, now time.Duration, departed time.Time) {
	start := c.GetStart().AsTime()
	if p.connected && start.Equal(p.start) {
		return
	}
	// Its clock may be any: only how long it says that it ran counts.
	ran := max(c.GetAt().AsTime().Sub(start), 0)
	known := !p.start.IsZero()
	p.since = now - ran
	switch {
	case known && start.Equal(p.start):
		p.since = p.heard
	case known:
		p.since = max(p.since, p.heard)
		p.restart()
	default:
		p.returned = !departed.IsZero() && departed.Equal(start)
	}
	if !p.connected {
		p.connected = true
		for _, w := range p.rows {
			w.series.tells++
		}
	}
	p.start, p.resumed = start, now
}

// restart makes a proxy count from 0.
func (p *proxy) restart() {
	p.returned = false
	for _, w := range p.rows {
		w.told.reset()
		w.stand(func(now *standing) { *now = standing{} })
	}
	clear(p.ill)
}

// leave notes that a proxy does not count any more.
func (p *proxy) leave() {
	p.connected = false
	for _, w := range p.rows {
		w.stand(func(now *standing) { *now = standing{} })
		w.series.tells--
	}
}

// drop forgets what a proxy told of a series.
func (b *Book) drop(p *proxy, w *row) {
	w.stand(func(now *standing) { *now = standing{} })
	delete(p.rows, w.series.key)
	w.series.rows--
	if p.connected {
		w.series.tells--
	}
	b.rows--
}

// sweep forgets, once in a while, what nobody has told of for long.
func (b *Book) sweep(now time.Duration) {
	if now-b.swept < time.Minute {
		return
	}
	b.swept = now
	for name, p := range b.proxies {
		if !p.present && now-p.left > remembered {
			b.forget(name, p)
		}
	}
	for k, g := range b.groups {
		b.sweepGroup(g, now)
		if len(g.members) == 0 {
			delete(b.groups, k)
		}
	}
}

// sweepGroup forgets of a gateway what is gone, all of it if no proxy is
// remembered that told of any of it.
func (b *Book) sweepGroup(g *group, now time.Duration) {
	rows := 0
	for _, s := range g.members {
		rows += s.rows
	}
	for _, s := range g.members {
		if now-s.heard <= Long+2*time.Minute {
			continue
		}
		s.rings = nil
		if s.rows == 0 && (s.gone || rows == 0) {
			delete(g.members, s.key)
			b.series--
		}
	}
}

// forgetOne forgets the proxy that left first, and reports whether there is
// one.
func (b *Book) forgetOne() bool {
	oldest := ""
	for name, p := range b.proxies {
		if !p.present && (oldest == "" || p.left < b.proxies[oldest].left) {
			oldest = name
		}
	}
	if oldest == "" {
		return false
	}
	b.forget(oldest, b.proxies[oldest])
	return true
}

// forget forgets a proxy, but when it started: if it comes back, what it tells
// was counted in already.
func (b *Book) forget(name string, p *proxy) {
	for _, w := range p.rows {
		b.drop(p, w)
	}
	delete(b.proxies, name)
	if p.start.IsZero() {
		return // it told nothing that was counted in
	}
	if len(b.departed) >= b.o.MaxProxies {
		for other := range b.departed { // any one
			delete(b.departed, other)
			break
		}
	}
	b.departed[name] = p.start
}
