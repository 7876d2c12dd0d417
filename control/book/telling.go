// SPDX-License-Identifier: Apache-2.0

package book

import (
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// gatewayKey names a gateway.
type gatewayKey struct{ namespace, gateway string }

// group is a gateway with all that is counted of it.
type group struct {
	gatewayKey
	members map[key]*series
	since   time.Duration // when the first of anything of it was told
}

// telling is one message on its way into the book.
type telling struct {
	book        *Book
	proxy       *proxy
	namespaceOf func(gateway string) string
	now         time.Duration

	gateway, namespace string // the one that was asked for last

	// How the numbers of the row at hand are counted, and since when they came
	// to be.
	span     *span
	from     time.Duration
	baseline bool
	spans    [modes]*span
}

// mode is how what is told of a row is counted.
type mode uint8

const (
	modeSteady   mode = iota // it happened just now
	modeUnheard              // it happened while the proxy was not heard
	modeBaseline             // it was counted in before the proxy was forgotten
	modes
)

// take takes in one series.
func (t *telling) take(s *controlpb.Series) {
	word, ok := words[s.GetName()]
	if !ok {
		return
	}
	k, ok := keyOf(word.kind, s)
	if !ok {
		return
	}
	w := t.proxy.rows[k]
	if gone(s) {
		t.gone(w, k)
		return
	}
	namespace := t.namespaceFor(k.gateway)
	if namespace == "" && w != nil { // what is gone comes to its end
		namespace = w.series.namespace
	}
	if namespace == "" {
		return
	}
	if w == nil && s.GetName() == metrics.RouteWeight.Name {
		t.asked(k, namespace, s)
		return
	}
	if w = t.row(w, k, namespace); w != nil {
		w.series.heard, w.series.gone = t.now, false
		word.tell(t, w, s)
	}
}

// asked takes in what is asked of the weights. All proxies tell the same of
// all routes, most of which are idle, so nothing is remembered of each.
func (t *telling) asked(k key, namespace string, s *controlpb.Series) {
	t.use(modeSteady)
	if of := t.book.member(k, namespace, t); of != nil {
		of.heard, of.gone = t.now, false
		tellAsked(t, &row{series: of}, s)
	}
}

// gone takes in that something is gone at the proxy.
func (t *telling) gone(w *row, k key) {
	t.proxy.recover(k)
	if w != nil {
		t.book.drop(t.proxy, w)
	}
	namespace := t.namespaceFor(k.gateway)
	if w != nil {
		namespace = w.series.namespace
	}
	if s := t.book.find(namespace, k); s != nil && s.rows == 0 {
		s.gone, s.asked = true, 0
	}
}

// namespaceFor returns the namespace of a gateway. Series of one come one
// after another.
func (t *telling) namespaceFor(gateway string) string {
	if t.gateway != gateway || t.gateway == "" {
		t.gateway, t.namespace = gateway, t.namespaceOf(gateway)
	}
	return t.namespace
}

// row returns what the proxy told of a series so far, w if there is anything,
// and sets how what it tells now is counted; nil if there is no room.
func (t *telling) row(w *row, k key, namespace string) *row {
	b := t.book
	fresh := w == nil
	if fresh {
		if b.rows >= b.o.MaxRows {
			b.leftOut.Add(0, 1)
			return nil
		}
		w = &row{heard: never}
	}
	if w.heard != t.now {
		w.mode, w.heard = t.mode(w, fresh), t.now
	}
	t.use(w.mode)
	if fresh || w.series.namespace != namespace {
		s := b.member(k, namespace, t)
		if s == nil {
			return nil
		}
		t.attach(w, s, fresh)
	}
	return w
}

// attach makes a row tell of a series.
func (t *telling) attach(w *row, s *series, fresh bool) {
	if !fresh {
		t.book.drop(t.proxy, w) // the gateway is another namespace's now
		w.stands = standing{}
	}
	w.series = s
	s.rows++
	s.tells++
	s.since = min(s.since, t.from)
	s.group.since = min(s.group.since, t.from)
	t.proxy.rows[s.key] = w
	t.book.rows++
}

// mode returns how the numbers of a row are counted.
func (t *telling) mode(w *row, fresh bool) mode {
	p := t.proxy
	late := t.now-p.resumed <= catchUp && p.resumed-p.since > Short
	switch {
	case w.heard >= p.resumed || t.now != p.resumed && !late:
		return modeSteady
	case fresh && p.returned:
		return modeBaseline
	}
	return modeUnheard
}

// use counts as a mode has it.
func (t *telling) use(m mode) {
	t.from, t.baseline = max(t.proxy.heard, t.now-steady), m == modeBaseline
	if m != modeSteady {
		t.from = t.proxy.since
	}
	t.from = min(t.from, t.now)
	if t.spans[m] == nil {
		s := spread(t.from, t.now)
		t.spans[m] = &s
	}
	t.span = t.spans[m]
}

// member returns the series of a key, nil if there is no room.
func (b *Book) member(k key, namespace string, t *telling) *series {
	of := gatewayKey{namespace, k.gateway}
	g := b.groups[of]
	if g != nil && g.members[k] != nil {
		return g.members[k]
	}
	if b.series >= b.o.MaxSeries {
		b.leftOut.Add(0, 1)
		return nil
	}
	if g == nil {
		// Texts of messages are not held on to.
		g = &group{gatewayKey{namespace, strings.Clone(k.gateway)}, map[key]*series{}, t.from}
		b.groups[g.gatewayKey] = g
	}
	k.gateway, k.route, k.condition = g.gateway, strings.Clone(k.route), strings.Clone(k.condition)
	s := &series{place: place{namespace, k}, group: g, since: t.from, heard: t.now}
	g.members[k] = s
	b.series++
	return s
}
