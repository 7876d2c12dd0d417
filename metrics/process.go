// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Label is a name with a value.
type Label struct{ Name, Value string }

// Counter is a count that only grows. It is made by [Registry.Counter] and
// safe for concurrent use.
type Counter struct{ lines }

// Add counts n more; n is not negative.
func (c *Counter) Add(shard uint32, n int64) { c.add(shard, n) }

// Value returns the count.
func (c *Counter) Value() int64 { return c.sum() }

// Gauge is a number that rises and falls. It is made by [Registry.Gauge] and
// safe for concurrent use. A gauge is either set or added to.
type Gauge struct{ lines }

// Add adds n, which may be negative.
func (g *Gauge) Add(shard uint32, n int64) { g.add(shard, n) }

// Set makes n the value.
func (g *Gauge) Set(n int64) { g.cells[0].Store(n) }

// Value returns the present value.
func (g *Gauge) Value() int64 { return g.sum() }

// lines is a number spread over cache lines.
type lines struct {
	cells []line
	mask  uint32
}

// line is 128 bytes long: processors fetch lines of 64 bytes in pairs.
type line struct {
	atomic.Int64
	_ [15]int64
}

func (l *lines) init(shards int) {
	l.cells = make([]line, shards)
	l.mask = uint32(shards - 1)
}

func (l *lines) add(shard uint32, n int64) { l.cells[shard&l.mask].Add(n) }

func (l *lines) sum() (n int64) {
	for i := range l.cells {
		n += l.cells[i].Load()
	}
	return n
}

// valueKey names a value; labels holds name and value of each, in order of
// the names, each ended by a NUL byte.
type valueKey struct{ family, labels string }

// value is one process-wide number.
type value struct {
	family  string
	labels  []Label
	counter *Counter
	gauge   *Gauge
	fn      func() float64

	durations *Durations
}

// Counter returns the counter of a name and labels, always the same one. A
// name belongs to one kind, and keeps the help text that it had first, or has
// in Families. Another kind is a bug, and panics, as does the name of a
// family that is counted for gateways, routes or conditions.
func (r *Registry) Counter(name, help string, labels ...Label) *Counter {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.value(Family{Name: name, Help: help, Kind: KindCounter}, labels)
	if v.counter == nil {
		v.counter = new(Counter)
		v.counter.init(r.o.Shards)
	}
	return v.counter
}

// Gauge returns the gauge of a name and labels, always the same one. Names
// are as for Counter.
func (r *Registry) Gauge(name, help string, labels ...Label) *Gauge {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.value(Family{Name: name, Help: help, Kind: KindGauge}, labels)
	if v.gauge == nil {
		v.gauge = new(Gauge)
		v.gauge.init(r.o.Shards)
	}
	return v.gauge
}

// GaugeFunc makes fn the gauge of a name and labels, in place of an earlier
// function. It is called whenever the gauge is read, from any goroutine.
// Names are as for Counter.
func (r *Registry) GaugeFunc(name, help string, fn func() float64, labels ...Label) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value(Family{Name: name, Help: help, Kind: KindGauge}, labels).fn = fn
}

// GaugeEach makes each the gauges of a name whose labels come and go, in place
// of an earlier function. It is called whenever they are read, from any
// goroutine, and calls yield once for each gauge until that returns false. The
// labels of one name have the same names; of two gauges with equal labels the
// first counts. Names are as for Counter.
func (r *Registry) GaugeEach(name, help string, each func(yield func(value float64, labels ...Label) bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claim(Family{Name: name, Help: help, Kind: KindGauge})
	r.eaches[name] = each
}

// value returns the value of a family and labels, a new one at first. r is
// locked.
func (r *Registry) value(f Family, labels []Label) *value {
	r.claim(f)
	key, labels := keyOf(f.Name, labels)
	v, ok := r.values[key]
	if !ok {
		v = &value{family: f.Name, labels: labels}
		r.values[key] = v
	}
	return v
}

// keyOf returns the key of a value, and its labels by name.
func keyOf(family string, labels []Label) (valueKey, []Label) {
	labels = slices.Clone(labels)
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	for i := range labels {
		labels[i].Value = label(labels[i].Value)
		b.WriteString(labels[i].Name + "\x00" + labels[i].Value + "\x00")
	}
	return valueKey{family, b.String()}, labels
}

// claim holds a name to one kind. r is locked.
func (r *Registry) claim(f Family) {
	was, ok := r.helps[f.Name]
	if !ok {
		was = f
		for _, own := range Families() {
			if own.Name == f.Name {
				was = own
			}
		}
	}
	if was.Kind != f.Kind || was.perSeries {
		panic(fmt.Sprintf("metrics: %s cannot be a process-wide %v", f.Name, f.Kind))
	}
	r.helps[f.Name] = was
}

// Value is one process-wide number at one moment.
type Value struct {
	Family Family
	Labels []Label // by name; not to be changed
	Value  float64
	// Histogram is set, and Value is not, if the family is one of histograms.
	Histogram *Histogram
}

// Values returns the process-wide numbers by family name, then by labels.
func (r *Registry) Values() []Value {
	r.mu.Lock()
	keys := make([]valueKey, 0, len(r.values))
	live := make(map[valueKey]value, len(r.values))
	families := make(map[string]Family, len(r.helps))
	for key, v := range r.values {
		keys = append(keys, key)
		live[key] = *v
		families[key.family] = r.helps[key.family]
	}
	eaches := maps.Clone(r.eaches)
	for name := range eaches {
		families[name] = r.helps[name]
	}
	r.mu.Unlock() // the functions below are not ours
	for name, each := range eaches {
		each(func(v float64, labels ...Label) bool {
			key, labels := keyOf(name, labels)
			if _, ok := live[key]; !ok {
				keys = append(keys, key)
				live[key] = value{labels: labels, fn: func() float64 { return v }}
			}
			return true
		})
	}
	slices.SortFunc(keys, func(a, b valueKey) int {
		if c := strings.Compare(a.family, b.family); c != 0 {
			return c
		}
		return strings.Compare(a.labels, b.labels)
	})
	list := make([]Value, len(keys))
	for i, key := range keys {
		v := live[key]
		list[i] = Value{Family: families[key.family], Labels: v.labels}
		switch {
		case v.durations != nil:
			list[i].Histogram = new(Histogram)
			v.durations.Read(list[i].Histogram)
		case v.fn != nil:
			list[i].Value = v.fn()
		case v.counter != nil:
			list[i].Value = float64(v.counter.Value())
		default:
			list[i].Value = float64(v.gauge.Value())
		}
	}
	return list
}
