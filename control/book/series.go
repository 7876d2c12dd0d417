// SPDX-License-Identifier: Apache-2.0

package book

import (
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// kind says what a series is of.
type kind uint8

const (
	kindGateway kind = iota
	kindRoute
	kindCondition
)

// key names what is counted.
type key struct {
	kind                      kind
	gateway, route, condition string
}

// place is a key in its namespace.
type place struct {
	namespace string
	key
}

// series is what all proxies counted of a gateway, a route or a condition.
type series struct {
	place
	group  *group
	total  vector
	rings  *rings        // nil before something was counted
	since  time.Duration // when the first of it was counted, since the book began
	stands standing      // the sum over connected proxies
	asked  float64       // share, as it was told last
	gone   bool          // a proxy said so, and none told of it since
	rows   int           // how many proxies are remembered that told of it
	tells  int           // those of them that are connected
	heard  time.Duration // when one told of it last
}

// standing is what is so at one moment, at one proxy or at all.
type standing struct {
	inFlight  int64
	instances [len(metrics.InstanceStates)]int64
}

func (s *standing) add(o *standing) {
	s.inFlight += o.inFlight
	for i, n := range o.instances {
		s.instances[i] += n
	}
}

func (s *standing) subtract(o *standing) {
	s.inFlight -= o.inFlight
	for i, n := range o.instances {
		s.instances[i] -= n
	}
}

// row is what one proxy told of a series.
type row struct {
	series *series
	told   vector
	stands standing
	heard  time.Duration // when it was told of last
	mode   mode          // how what was told then is counted
}

// never is before every time.
const never = time.Duration(-1 << 62)

// grow takes in the present value of a number that only grows, and returns by
// how much it grew: by all of it if it is less than before, for then it began
// anew.
func (w *row) grow(f field, value uint64) uint64 {
	if value == 0 && w.told.at(f) == 0 {
		return 0
	}
	at := w.told.ref(f)
	grown := value
	if value >= *at {
		grown = value - *at
	}
	*at = value
	return grown
}

// stand changes what stands at one proxy, and so in all.
func (w *row) stand(change func(*standing)) {
	w.series.stands.subtract(&w.stands)
	change(&w.stands)
	w.series.stands.add(&w.stands)
}
