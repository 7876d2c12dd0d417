// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape an Agent. Servers, Node, Namespaces, Metrics and Apply are
// required.
type Options struct {
	// Servers are the addresses of the control plane, host:port, in any order:
	// one is drawn to begin with, the next follows when it fails.
	Servers []string
	// Credentials are what the proxy shows, and whom it trusts. Nil means
	// sessions in clear, which loopback addresses alone may have.
	Credentials *auth.Credentials
	// Token returns the join token, at each connect; nil if a certificate says
	// who the proxy is. It is not sent in clear.
	Token func() (string, error)
	// Node is the name of the proxy, Zone where it runs, Build its version.
	Node, Zone, Build string
	// Labels are for people.
	Labels []routing.Label
	// Namespaces are those whose gateways it serves, organisation/environment,
	// at least one. Where two have a gateway of one name, the first counts.
	Namespaces []string
	// Keeper keeps the last good tables, with payloads of Schema. Nil means
	// that a proxy which starts without a control plane serves nothing. Run
	// runs it; whoever opened it closes it after Run.
	Keeper *lastgood.Keeper
	// HoldBack is how long a gateway is kept that only seems to be gone. Zero
	// means DefaultHoldBack.
	HoldBack time.Duration
	// Metrics holds what the agent counts.
	Metrics *metrics.Registry
	// Log takes what happens. Nil discards it.
	Log *slog.Logger

	// The functions below are called by one goroutine, that of Start and then
	// that of Run.

	// Apply has a table served in the place of the one before.
	Apply func(*routing.Table) Outcome
	// Secrets takes all Secrets that gateways name, before the table whose
	// gateways do; they take the place of those before. Those that did not change
	// are the same pointers. Nil means that gateways can name none.
	Secrets func([]*routing.Secret)
	// Unserved returns the gateways of the table that are asked for and cannot
	// take traffic, with the reason, such as a port that is taken. It is asked
	// each second. Nil means that there never is one.
	Unserved func() map[string]error
	// Counters and Health return what changed since the call before; nil is
	// nothing. They are asked each second. Fresh is called when a session
	// begins, after which they return everything. Each may be nil.
	Counters func() *controlpb.Counters
	Health   func() *controlpb.Health
	Fresh    func()

	// Dial connects to a server; nil is TCP.
	Dial func(ctx context.Context, server string) (net.Conn, error)
	// Draw returns a number of [0, 1) for the times between attempts; nil is
	// a random one.
	Draw func() float64
}

// DefaultHoldBack is how long a gateway is kept that only seems to be gone.
const DefaultHoldBack = time.Minute

// Outcome is what became of a table.
type Outcome struct {
	// Faults are those of all gateways, warnings among them. A gateway that is
	// refused goes on in its last good form, if it has one.
	Faults []*routing.Fault
}

func (o Options) withDefaults() Options {
	o.HoldBack = cmp.Or(o.HoldBack, DefaultHoldBack)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Draw == nil {
		o.Draw = rand.Float64
	}
	if o.Dial == nil {
		o.Dial = dialer{loopback: o.Credentials == nil}.dial
	}
	o.Servers = slices.Clone(o.Servers)
	return o
}

// check returns what is wrong with the options, joined.
func (o Options) check() error {
	var errs []error
	if len(o.Servers) == 0 {
		errs = append(errs, errors.New("no address of a control plane"))
	}
	for i, server := range o.Servers {
		host, port, err := net.SplitHostPort(server)
		n, bad := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || host == "" || bad != nil || n == 0:
			errs = append(errs, fmt.Errorf("control plane %q: not an address of the form host:port, such as 127.0.0.1:8091", server))
		case slices.Contains(o.Servers[:i], server):
			errs = append(errs, fmt.Errorf("control plane %s: is named twice", server))
		case o.Credentials == nil && !loopback(host):
			errs = append(errs, fmt.Errorf("control plane %s: in clear, where others can read and change it; give the proxy credentials (sluice pki issue --role proxy), or use an address of this machine", server))
		}
	}
	if o.Token != nil && o.Credentials == nil {
		errs = append(errs, errors.New("a join token without credentials: it is not sent in clear; the folder of credentials needs ca.crt of the control plane's authority"))
	}
	who := auth.Identity{Role: auth.RoleProxy, Node: o.Node, Namespaces: slices.Sorted(slices.Values(o.Namespaces))}
	return errors.Join(append(errs, who.Check())...)
}

// loopback reports whether a host is this machine to itself.
func loopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
