// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// The windows.
const (
	Short  = 10 * time.Second
	Middle = time.Minute
	Long   = 5 * time.Minute
)

// Options shape a Book. The zero Options are ready to use.
type Options struct {
	// MaxProxies is how many proxies are remembered, connected or not. Zero
	// means 10,000.
	MaxProxies int
	// MaxSeries is how many gateways, routes and conditions have figures.
	// Zero means 200,000.
	MaxSeries int
	// MaxRows is how many gateways, routes and conditions with traffic or
	// watched instances of single proxies are remembered. Zero means 1,000,000.
	MaxRows int
	// Registry is told how full the book is. nil means nobody is.
	Registry *metrics.Registry
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.MaxProxies = cmp.Or(o.MaxProxies, 10_000)
	o.MaxSeries = cmp.Or(o.MaxSeries, 200_000)
	o.MaxRows = cmp.Or(o.MaxRows, 1_000_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Registry == nil {
		o.Registry = metrics.New(metrics.Options{Shards: 1})
	}
	return o
}

// Book adds up what proxies tell. It is made by [New] and safe for concurrent
// use.
type Book struct {
	o       Options
	began   time.Time
	leftOut *metrics.Counter

	// mu guards the fields below, and what they lead to.
	mu       sync.Mutex
	proxies  map[string]*proxy
	departed map[string]time.Time // start of proxies that were forgotten
	groups   map[gatewayKey]*group
	series   int
	rows     int
	reasons  map[string]int // their position
	names    []string       // the reason at a position
	swept    time.Duration
}

// New returns a book in which nothing stands.
func New(o Options) *Book {
	o = o.withDefaults()
	b := &Book{
		o:        o,
		began:    o.Now(),
		leftOut:  o.Registry.ControlSeriesLeftOut(),
		proxies:  map[string]*proxy{},
		departed: map[string]time.Time{},
		groups:   map[gatewayKey]*group{},
		reasons:  map[string]int{metrics.Other: 0},
		names:    []string{metrics.Other},
	}
	o.Registry.ControlSeries(func() float64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return float64(b.series)
	})
	return b
}

// now returns the time since the book began, by a clock that does not jump.
func (b *Book) now() time.Duration { return b.o.Now().Sub(b.began) }

// Counters takes in what a proxy counted since it started. The proxy is a
// name that it keeps when it connects again, and that no other one has.
// namespaceOf tells the namespace of a gateway that the proxy serves, and
// nothing for one that it does not: of that nothing is taken in.
func (b *Book) Counters(proxy string, namespaceOf func(gateway string) string, c *controlpb.Counters) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.sweep(now)
	p := b.proxy(proxy)
	if p == nil {
		b.leftOut.Add(0, int64(len(c.GetSeries())))
		return
	}
	p.present = true
	p.arrive(c, now, b.departed[proxy])
	delete(b.departed, proxy)
	t := &telling{book: b, proxy: p, namespaceOf: namespaceOf, now: now}
	for _, s := range c.GetSeries() {
		t.take(s)
	}
	p.heard = now
}

// Left says that a proxy is no longer connected. What it counted stays; what
// stands at one moment is no longer that of this proxy.
func (b *Book) Left(proxy string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.proxies[proxy]
	if p == nil {
		return
	}
	clear(p.ill)
	if p.present {
		p.present, p.left = false, b.now()
	}
	if p.connected {
		p.leave()
	}
}

// maxReasons bounds the reasons that are told apart.
const maxReasons = 256

// reason returns the position of a reason.
func (b *Book) reason(name string) int {
	i, ok := b.reasons[name]
	if !ok && name != "" && len(name) <= maxLabel && len(b.names) < maxReasons {
		i = len(b.names)
		b.reasons[name] = i
		b.names = append(b.names, name)
	}
	return i
}
