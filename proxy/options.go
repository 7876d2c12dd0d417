// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/http1"
)

// Options shape a Server. Metrics is required; other zero values are ready to
// use.
type Options struct {
	// GatewayAddress is the address that gateways listen on, without port.
	// Empty means 0.0.0.0.
	GatewayAddress string
	// VirtualHostsPort is where gateways with virtual hosts are reached by
	// name. Zero means 80.
	VirtualHostsPort int
	// VirtualHostsTLSPort is where those of them are reached that speak TLS.
	// Zero means 443.
	VirtualHostsTLSPort int
	// VirtualHostsProxyFrom are the networks whose connections to these two
	// ports must begin with a PROXY header. Empty means that none must.
	VirtualHostsProxyFrom []netip.Prefix
	// TLSDir is the directory that the relative names of certificates and keys
	// are below. Empty means the working directory.
	TLSDir string
	// SecretsDir is the folder of the Secrets that gateways name, as
	// tlsconf.Secrets keeps it. Empty means that there are none.
	SecretsDir string
	// Resolver is the DNS server, host:port, that is asked for the names of
	// targets. Empty means the system's.
	Resolver string
	// Zone and Node say where the proxy runs: instances there may be preferred.
	// Empty means unknown.
	Zone, Node string
	// Trust says which proxies in front are believed. Nil means none.
	Trust *http1.Trust
	// Explain is the field by which a request asks for an explanation of
	// itself. Nil means that none can.
	Explain *http1.Secret
	// Metrics holds the series.
	Metrics *metrics.Registry
	// Log is told of listeners and look-ups. Nil means no log.
	Log *slog.Logger
	// Drain is how long connections may still carry requests after Run was
	// told to end; each answer then is the last of its connection, and tunnels
	// are cut afterwards, as are those of a gateway that is gone. Zero means
	// 30 s; a negative value means that nothing is waited for.
	Drain time.Duration
	// HardStop is how long exchanges under way may take to finish after Run
	// was told to end, or at an instance that is gone. Zero means 5 min.
	HardStop time.Duration
	// RetryBind is the period at which a port that could not be bound is
	// tried again. Zero means 1 s.
	RetryBind time.Duration
	// Connections bounds the client connections of all gateways together. Zero
	// means three quarters of what the limit of file descriptors leaves.
	Connections int
	// ConnectionsPerAddress bounds those of one client address. Zero means no
	// bound.
	ConnectionsPerAddress int
	// Requests bounds the requests that are under way in all HTTP gateways
	// together. Zero means no bound.
	Requests int
	// Memory returns how many bytes are in use, and how many may be, 0 for no
	// limit. Nil means what Go's runtime counts.
	Memory func() (used, limit uint64)
}

func (o Options) withDefaults() Options {
	o.GatewayAddress = cmp.Or(o.GatewayAddress, "0.0.0.0")
	o.VirtualHostsPort = cmp.Or(o.VirtualHostsPort, 80)
	o.VirtualHostsTLSPort = cmp.Or(o.VirtualHostsTLSPort, 443)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Drain = cmp.Or(o.Drain, 30*time.Second)
	o.HardStop = cmp.Or(o.HardStop, 5*time.Minute)
	o.RetryBind = cmp.Or(o.RetryBind, time.Second)
	return o
}
