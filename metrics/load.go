// SPDX-License-Identifier: Apache-2.0

package metrics

// Load is how busy a route is at one moment, of which limits it has.
type Load struct {
	Queues  bool // exchanges may wait
	Queued  int  // how many do
	Breaks  bool // there is a breaker
	Breaker int  // 0 it is closed, 1 open, 2 half open
	Opened  uint64
}

// SetLoad says who tells how busy the route is; nil if nobody does. The last
// one counts.
func (t *Route) SetLoad(read func() Load) {
	if read == nil {
		t.load.Store(nil)
		return
	}
	t.load.Store(&read)
}

// ReadLoad returns how busy the route is, nothing if nobody tells.
func (t *Route) ReadLoad() Load {
	if read := t.load.Load(); read != nil {
		return (*read)()
	}
	return Load{}
}

// RateKeysForgotten returns the counter of keys that a rate forgot before
// their time.
func (r *Registry) RateKeysForgotten() *Counter {
	return r.Counter(RateKeysForgotten.Name, RateKeysForgotten.Help)
}
