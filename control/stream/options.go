// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// Options shape a Server. The zero Options are ready to use on loopback.
type Options struct {
	// Node names this control plane to proxies.
	Node string
	// Namespaces are those that are served; nil means all.
	Namespaces []string
	// Planned tells whether a namespace has, or may have, a plan that was not
	// published yet; it is asked after the first plan of any namespace was.
	// Proxies of a namespace that has none get an empty table. Nil means that
	// each namespace gets one: its proxies wait for it.
	Planned func(namespace string) bool
	// Credentials are shown to proxies. Nil means plain text, which is served
	// on loopback alone, where proxies are believed what they say.
	Credentials *auth.Credentials
	// Tokens know the join tokens of proxies without certificates; nil means
	// that there are none.
	Tokens *auth.Tokens
	// Keepalive is how long a connection may be silent before it is asked
	// for a sign of life, and how long that may take. Zero means 10 s. A proxy
	// that neither says nor takes anything for 6 times as long is taken for
	// dead, though its connection may live.
	Keepalive time.Duration
	// Patience is how long an update may be under way before the next one is
	// sent all the same. Zero means 10 s.
	Patience time.Duration
	// MaxProxies bounds the sessions. Zero means 10,000.
	MaxProxies int
	// Heard takes in what proxies count and see; nil means nobody does.
	Heard Heard
	// Hooks are told what happens.
	Hooks Hooks
	// Registry counts; nil means a registry of its own.
	Registry *metrics.Registry
	// Log is told what operators should know. Nil means no log.
	Log *slog.Logger
	// Clock tells the time of what is shown; nil means time.Now.
	Clock func() time.Time
}

// Heard takes in what proxies count and see. It is called by many goroutines
// at once, but for one proxy by one after the other, and returns soon. A proxy is named the same whenever it comes back,
// and no other is. namespaceOf, which holds for the call alone, tells the
// namespace of a gateway that the proxy serves, empty for one that it does not.
type Heard interface {
	// Counters takes in what a proxy counted.
	Counters(proxy string, namespaceOf func(gateway string) string, c *controlpb.Counters)
	// Health takes in how instances stand, as a proxy sees them.
	Health(proxy string, namespaceOf func(gateway string) string, h *controlpb.Health)
	// Left says that the session of a proxy ended, also if the next one takes
	// its place at once. Nothing of the session comes after it, and nothing of
	// the next one before it.
	Left(proxy string)
}

// Hooks are called when something happened, each if it is not nil. They are
// called by many goroutines at once, and return soon: what the proxy says next
// waits for them. Joined and Left of one proxy come in their order.
type Hooks struct {
	// Joined tells of a proxy that connected, and not of one that takes the
	// place of its own earlier session.
	Joined func(Proxy)
	// Left tells of a proxy whose session ended; its Reason says why.
	Left func(Proxy)
	// Refused tells of a gateway that a proxy does not take, once in a session
	// for as long as the gateway has that form, and of a table, once for each.
	// The Proxy has no Refusals: it may have very many.
	Refused func(Proxy, Refusal)
	// Settled tells of a table that all proxies of its namespace serve.
	Settled func(Settled)
}

func (o Options) withDefaults() Options {
	o.Node = cmp.Or(o.Node, "control")
	o.Keepalive = cmp.Or(o.Keepalive, 10*time.Second)
	o.Patience = cmp.Or(o.Patience, 10*time.Second)
	o.MaxProxies = cmp.Or(o.MaxProxies, 10_000)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Registry == nil {
		o.Registry = metrics.New(metrics.Options{})
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}
