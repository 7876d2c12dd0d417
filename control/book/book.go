// SPDX-License-Identifier: Apache-2.0

package book

import (
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
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
	// Zero means 100,000.
	MaxSeries int
	// MaxRows is how many gateways, routes and conditions of single proxies
	// are remembered. Zero means 1,000,000.
	MaxRows int
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

// Book adds up what proxies tell. It is made by [New] and safe for concurrent
// use.
type Book struct{ o Options }

// New returns a book in which nothing stands.
func New(o Options) *Book { return &Book{o: o} }

// Counters takes in what a proxy counted since it started. The proxy is a
// name that it keeps when it connects again, and that no other one has.
// namespaceOf tells the namespace of a gateway that the proxy serves, and
// nothing for one that it does not: of that nothing is taken in.
func (b *Book) Counters(proxy string, namespaceOf func(gateway string) string, c *controlpb.Counters) {
}

// Health takes in how instances stand, as a proxy sees them. The arguments
// are as for Counters.
func (b *Book) Health(proxy string, namespaceOf func(gateway string) string, h *controlpb.Health) {}

// Left says that a proxy is no longer connected. What it counted stays; what
// stands at one moment is no longer that of this proxy.
func (b *Book) Left(proxy string) {}
