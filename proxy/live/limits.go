// SPDX-License-Identifier: Apache-2.0

package live

import (
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/limit"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// Limits are what bounds how much there is to do on a route. They stay while
// the route does, and take over what is asked for anew; only a rate or a
// breaker that is asked for otherwise begins from nothing.
type Limits struct {
	Rates   []*limit.Rate
	Slots   *limit.Slots   // nil unless the exchanges under way are bounded
	Crowd   *limit.Crowd   // in front of full instances; nil unless those are bounded
	Breaker *limit.Breaker // nil if there is none
}

// Denied says what else there is to say of an exchange that was refused.
type Denied struct {
	Wait   time.Duration // after which another one may do better; 0 if that is not known
	Policy string        // of the rate that was exceeded, as RateLimit-Policy says it
}

// entered is what an exchange has to give back.
type entered struct {
	limits *Limits
	pass   limit.Pass
}

// bindLimits binds what bounds a gateway, which was old before, and returns
// what bounds its routes.
func (b *Binder) bindLimits(bound, old *Gateway) []*Limits {
	asked := bound.Compiled.Asked.Load.Value()
	was := make(map[string]*Limits)
	var rates []*limit.Rate
	if old != nil && old.Limited {
		rates = old.Rates
		for i, r := range old.Compiled.Routes {
			was[r.Path] = old.Routes[i].Limits
		}
	}
	bound.Rates = b.rates(&asked.Rates, rates, "gateway")
	bound.Limited = len(bound.Rates) > 0
	limits := make([]*Limits, len(bound.Compiled.Routes))
	for i, r := range bound.Compiled.Routes {
		limits[i] = b.limits(r.Load, was[r.Path])
		bound.Limited = bound.Limited || limits[i] != nil
	}
	return limits
}

// room returns what the instances of a route may have in flight.
func (l *Limits) room(asked *routing.Load) balance.Room {
	if l == nil || l.Crowd == nil {
		return balance.Room{}
	}
	return balance.Room{Most: asked.InstanceRequests, Crowd: l.Crowd}
}

// limits binds what bounds a route; nil if nothing does. was is what bound it
// before, nil if nothing did.
func (b *Binder) limits(l *routing.Load, was *Limits) *Limits {
	if l == nil {
		return nil
	}
	if was == nil {
		was = &Limits{}
	}
	next := &Limits{Rates: b.rates(&l.Rates, was.Rates, "route")}
	waiting := limit.Waiting{Most: int(l.Queue), Time: l.QueueTime}
	if l.Requests > 0 {
		if next.Slots = was.Slots; next.Slots == nil {
			next.Slots = limit.NewSlots(int(l.Requests), waiting)
		} else {
			next.Slots.Set(int(l.Requests), waiting)
		}
	}
	if l.InstanceRequests > 0 {
		if next.Crowd = was.Crowd; next.Crowd == nil {
			next.Crowd = limit.NewCrowd(waiting)
		} else {
			next.Crowd.Set(waiting)
		}
	}
	if l.Breaker.Breaks() {
		if next.Breaker = was.Breaker; next.Breaker == nil || next.Breaker.Asked() != l.Breaker {
			next.Breaker = limit.NewBreaker(l.Breaker)
		}
	}
	if next.same(was) {
		return was
	}
	return next
}

func (l *Limits) same(o *Limits) bool {
	return slices.Equal(l.Rates, o.Rates) && l.Slots == o.Slots && l.Crowd == o.Crowd && l.Breaker == o.Breaker
}

// rates binds rates: those that are asked for as before stay.
func (b *Binder) rates(asked *[routing.MaxRates]routing.RequestRate, was []*limit.Rate, scope string) (rates []*limit.Rate) {
	for i, r := range asked {
		switch {
		case r == (routing.RequestRate{}):
		case i < len(was) && was[i].Asked() == r:
			rates = append(rates, was[i])
		default:
			forgotten := b.Registry.RateKeysForgotten()
			rates = append(rates, limit.NewRate(r, scope, func() { forgotten.Add(0, 1) }))
		}
	}
	return rates
}

// show has the series of a route tell how busy it is.
func (l *Limits) show(r *metrics.Route) {
	if l == nil {
		r.SetLoad(nil)
		return
	}
	r.SetLoad(func() (now metrics.Load) {
		if l.Slots != nil {
			now.Queues, now.Queued = true, l.Slots.Waiting()
		}
		if l.Crowd != nil {
			now.Queues, now.Queued = true, now.Queued+l.Crowd.Waiting()
		}
		if l.Breaker != nil {
			now.Breaks, now.Breaker, now.Opened = true, int(l.Breaker.Mode(socket.Now())), l.Breaker.Opened()
		}
		return now
	})
}

// Limited reports whether anything bounds how much there is to do at the
// gateways of the decision: then Admit must be asked.
func (x *Exchange) Limited() bool { return x.limited }

// Crowd returns where those wait who find all instances full; nil if these
// have no bound.
func (x *Exchange) Crowd() *limit.Crowd {
	if l := x.last(); l != nil {
		return l.Crowd
	}
	return nil
}

// last returns what bounds the route to the target.
func (x *Exchange) last() *Limits {
	h := x.Decision.Last()
	return x.Generation.Gateway(h.Gateway).Routes[h.Route.Index].Limits
}

// Admit asks, at each hop of the decision, whether one exchange more may begin
// at time now, which is socket.Now(); it may wait for that. What it takes is
// given back by End. If the reason is not None, Denied tells more.
func (x *Exchange) Admit(r conditions.Request, c limit.Client, now int64) Reason {
	x.Denied = Denied{}
	for i := range x.Decision.Depth {
		h := &x.Decision.Hops[i]
		g := x.Generation.Gateway(h.Gateway)
		if !x.counted(g.Rates, r, now) {
			return RateLimited
		}
		if h.Route == nil {
			continue
		}
		l := g.Routes[h.Route.Index].Limits
		if l == nil {
			continue
		}
		if !x.counted(l.Rates, r, now) {
			return RateLimited
		}
		if reason := x.enter(l, c, now); reason != None {
			return reason
		}
	}
	return None
}

// counted counts the exchange in rates, up to the first that refuses it.
func (x *Exchange) counted(rates []*limit.Rate, r conditions.Request, now int64) bool {
	for _, rate := range rates {
		if wait := rate.Take(r, now); wait > 0 {
			x.Denied = Denied{Wait: wait, Policy: rate.Policy()}
			return false
		}
	}
	return true
}

// enter takes a slot, and asks the breaker: before, so that nobody waits in
// vain, and after.
func (x *Exchange) enter(l *Limits, c limit.Client, now int64) Reason {
	if l.Slots != nil {
		if b := l.Breaker; b != nil && b.Mode(now) == limit.Open {
			_, x.Denied.Wait = b.Enter(now)
			return CircuitOpen
		}
		if !l.Slots.Enter() {
			if reason := Waited(l.Slots.Wait(now, c)); reason != None {
				return reason
			}
			now = socket.Now()
		}
	}
	var p limit.Pass
	if l.Breaker != nil {
		var wait time.Duration
		if p, wait = l.Breaker.Enter(now); wait > 0 {
			if l.Slots != nil {
				l.Slots.Leave(now)
			}
			x.Denied.Wait = wait
			return CircuitOpen
		}
	}
	x.entered[x.inside] = entered{l, p}
	x.inside++
	return None
}

// Waited maps how a wait for a slot, or for an instance, ended.
func Waited(o limit.Outcome) Reason {
	switch o {
	case limit.Granted:
		return None
	case limit.Gone:
		return RequestAborted
	default:
		return Overloaded
	}
}

// leave gives back, at time now, what Admit took.
func (x *Exchange) leave(now int64) {
	how := x.ending()
	for x.inside > 0 {
		x.inside--
		e := &x.entered[x.inside]
		if s := e.limits.Slots; s != nil {
			s.Leave(now)
		}
		if b := e.limits.Breaker; b != nil {
			b.Leave(e.pass, now, how, x.Seen.Upstream)
		}
		*e = entered{}
	}
}

// ending says what the exchange tells of the instances.
func (x *Exchange) ending() limit.Ending {
	switch Reason(x.Seen.Reason) {
	case None:
		switch {
		case x.Seen.Code == 0:
			return limit.Untold
		case x.Seen.Code >= 500:
			return limit.Badly
		}
		return limit.Well
	case ConnectRefused, ConnectTimeout, ConnectFailed, UpstreamReset, UpstreamProtocol, ResponseTimeout, ResponseAborted, ExchangeTimeout:
		return limit.Badly
	default:
		return limit.Untold
	}
}
