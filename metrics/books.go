// SPDX-License-Identifier: Apache-2.0

package metrics

// Books are a second count of the exchanges, kept by those who carry them: the
// connections. What gateways and routes count is held against it, so that an
// exchange which is lost between the two shows. They are made by
// [Registry.Books] and safe for concurrent use.
type Books struct{ over lines }

// Over counts that an exchange is over which went through so many gateways:
// each of them counts it too. It comes after what they count: whoever sees an
// exchange here sees its end there.
func (b *Books) Over(shard uint32, gateways int) { b.over.add(shard, int64(gateways)) }

// Total returns how many exchanges are over, once for each of their gateways.
func (b *Books) Total() int64 { return b.over.sum() }

// Books returns the books, always the same ones. From the first time on,
// Unaccounted is shown.
func (r *Registry) Books() *Books {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		r.books = new(Books)
		r.books.over.init(r.o.Shards)
		r.value(Unaccounted, nil).fn = func() float64 { return float64(r.Unaccounted()) }
	}
	return r.books
}

// Unaccounted returns how many exchanges are over of which no gateway counted
// the end; a number below 0 says how many more ends were counted than
// beginnings. Those of a chain count once for each gateway. It is 0 of a
// process without faults, however busy.
//
// The counts cannot be read in one instant, but each can only grow, and in a
// known order: an exchange begins in its series (B), then ends there (E), and
// is then over in the books (O). So O <= E <= B at any instant, unless one was
// lost or counted twice. What must be the smaller is therefore read before
// what must be the larger: whatever happens in between makes the larger one
// larger still. An excess of the smaller one is proof, however long the
// reading took; it is less than what is missing by what happened meanwhile,
// which is nothing once there is a moment of quiet, and soon too little to
// hide a fault that goes on.
func (r *Registry) Unaccounted() int64 {
	r.mu.Lock()
	b := r.books
	r.mu.Unlock()
	if b == nil {
		return 0
	}
	over := b.over.sum()
	ended, begun := r.tally()
	if lost := over - int64(ended); lost > 0 {
		return lost
	}
	return min(int64(begun-ended), 0)
}

// tally returns how many exchanges ended, and how many began, at all gateways
// that there ever were. Ends are read first.
func (r *Registry) tally() (ended, begun uint64) {
	final, list := r.every()
	var t Totals
	for _, s := range list {
		ended += s.addEnds(&t)
	}
	for _, s := range list {
		for by := range Ways {
			begun += s.begun(by)
		}
	}
	return ended + final, begun + final
}

// every returns how many exchanges ended in what is final, and what is not.
func (r *Registry) every() (final uint64, list []slots) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list = make([]slots, 0, len(r.gateways)+r.routes)
	final = r.past.ended
	for _, g := range r.gateways {
		list = append(list, g.slots)
		for _, t := range g.routes {
			list = append(list, t.slots)
		}
		if g.legacy != nil {
			final, list = g.legacy.every(final, list)
		}
	}
	for l := range r.past.open {
		final, list = l.every(final, list)
	}
	return final, list
}

// past holds what gateways counted that are gone: what is final as one number,
// and those that may still count.
type past struct {
	ended uint64
	open  map[*legacy]bool
}

// every adds what the legacy has of either. mu is held.
func (l *legacy) every(final uint64, list []slots) (uint64, []slots) {
	for _, s := range l.open {
		list = append(list, s)
	}
	return final + l.ended(), list
}

// ended returns how many exchanges ended in what is final. mu is held.
func (l *legacy) ended() (n uint64) {
	if l.final == nil {
		return 0
	}
	for _, requests := range l.final.Requests {
		n += requests
	}
	return n
}
