// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/metrics/prom"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/admin"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Mesh.
type Options struct {
	// Source says which gateways there are.
	Source discovery.Source
	// Select says how selectors find instances.
	Select routing.SelectOptions
	// GatewayAddress is the IP address on which gateways listen.
	GatewayAddress string
	// VirtualHostsPort is the port of all virtual hosts.
	VirtualHostsPort int
	// VirtualHostsTLSPort is the port of those of them that speak TLS.
	VirtualHostsTLSPort int
	// VirtualHostsProxyFrom are the networks whose connections to these two
	// ports must begin with a PROXY header.
	VirtualHostsProxyFrom []netip.Prefix
	// TLSDir is the directory that relative names of certificates and keys are
	// below; empty means the working directory.
	TLSDir string
	// VirtualHostsDomain, if not empty, gives every gateway an automatic
	// virtual host below it.
	VirtualHostsDomain string
	// Admin is the address of metrics, health and status.
	Admin string
	// AdminTokenFile is the file with the token that requests to it must show;
	// empty if none must, which takes a loopback address.
	AdminTokenFile string
	// Pprof serves Go's profiles on the admin address.
	Pprof bool
	// Resolver is the address of the name server; empty means the system's.
	Resolver string
	// Connections bounds the client connections of all gateways together,
	// ConnectionsPerAddress those of one client address, Requests the requests
	// under way. Zero means what proxy.Options say.
	Connections, ConnectionsPerAddress, Requests int
	// Zone and Node say where the proxy runs, for gateways that prefer near
	// instances. Empty means unknown.
	Zone, Node string
	// Trust says which proxies in front are believed; nil if none is.
	Trust *http1.Trust
	// Explain is the header by which a request asks for an explanation of
	// itself; nil if none can.
	Explain *http1.Secret
	// Drain is how long exchanges in flight may take after the end was asked
	// for. A negative value cuts them at once.
	Drain time.Duration
	// Log takes what happens. Nil discards it.
	Log *slog.Logger
}

// Mesh is one process's gateways and all that serves them.
type Mesh struct {
	o        Options
	log      *slog.Logger
	build    boot.Build
	registry *metrics.Registry
	planner  *planner.Planner
	server   *proxy.Server
	admin    *admin.Server
	seed     uint64
	first    chan struct{} // closed when the first table was published

	mu       sync.Mutex // guards the fields below
	snapshot *routing.Snapshot
	changed  time.Time // when snapshot was published
	faults   []*routing.Fault
}

// Open makes a mesh and binds the admin address, so that a taken one is an
// error before anything serves. Run must be called to let go of it.
func Open(ctx context.Context, o Options) (*Mesh, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var token *admin.Token
	if o.AdminTokenFile != "" {
		var err error
		if token, err = admin.NewToken(o.AdminTokenFile); err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
	}
	m := &Mesh{
		o: o, log: log, build: boot.ReadBuild(),
		registry: metrics.New(metrics.Options{Reasons: live.Reasons()}),
		planner:  planner.New(planner.Options{Select: o.Select}),
		seed:     rand.Uint64(),
		first:    make(chan struct{}),
	}
	m.registry.BuildInfo(m.build.Version, m.build.Revision)
	m.registry.TableAge(m.tableAge)
	m.server = proxy.New(proxy.Options{
		GatewayAddress:   o.GatewayAddress,
		VirtualHostsPort: o.VirtualHostsPort,
		TLSDir:           o.TLSDir,
		Resolver:         o.Resolver,
		Connections:      o.Connections,
		Requests:         o.Requests,

		VirtualHostsTLSPort:   o.VirtualHostsTLSPort,
		VirtualHostsProxyFrom: o.VirtualHostsProxyFrom,
		ConnectionsPerAddress: o.ConnectionsPerAddress,
		Zone:                  o.Zone,
		Node:                  o.Node,
		Trust:                 o.Trust,
		Explain:               o.Explain,
		Metrics:               m.registry,
		Log:                   log,
		Drain:                 o.Drain,
	})
	m.admin = admin.New(admin.Options{
		Addr:    o.Admin,
		Token:   token,
		Metrics: prom.Handler(m.registry),
		Ready:   m.checks,
		Status:  func() any { return m.Status() },
		Confirm: m.Confirm,
		Explain: m.server.Explain,
		Pprof:   o.Pprof,
		Log:     log,
	})
	if err := m.admin.Listen(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// Run serves until ctx ends or a part fails, then drains. Nothing of it is
// left when it returns.
func (m *Mesh) Run(ctx context.Context) error {
	g, planning := errgroup.WithContext(ctx)
	// The parts end one after the other: the proxy drains when no further
	// table can come, and the drain can be seen on the admin server.
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	watching, endWatching := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer endServing()
		return m.planner.Run(planning, m.o.Source, m.publish)
	})
	g.Go(func() error {
		defer endWatching()
		return m.server.Run(serving)
	})
	g.Go(func() error { return m.admin.Run(watching) })
	return g.Wait()
}

// Cut ends a drain at once: requests in flight are cut.
func (m *Mesh) Cut() { m.server.Stop() }

// First is closed when the first table was handed to the proxy.
func (m *Mesh) First() <-chan struct{} { return m.first }

// Admin returns the address of metrics, health and status, host:port.
func (m *Mesh) Admin() string { return m.admin.Addr() }

// Gateways returns how each gateway stands, in table order.
func (m *Mesh) Gateways() []proxy.GatewayStatus { return m.server.Status() }

// Confirm believes every absence that is held back, has the source look
// again, and returns how many objects that concerns.
func (m *Mesh) Confirm() int {
	if c, ok := m.o.Source.(discovery.Confirmer); ok {
		return c.Confirm()
	}
	return 0
}

// publish compiles a table and hands it to the proxy. The planner calls it
// from one goroutine at a time.
func (m *Mesh) publish(table *routing.Table, faults []*routing.Fault) {
	before, old := m.last()
	snapshot, more := routing.Compile(before, table, routing.CompileOptions{
		Seed:               m.seed,
		VirtualHostsDomain: m.o.VirtualHostsDomain,
	})
	m.planner.Compiled(more, func(name string) bool { return snapshot.ByName(name) != nil })
	faults = append(slices.Clip(faults), more...)
	changed := before == nil || snapshot.Version() != before.Version()
	if changed {
		m.server.Publish(snapshot)
		m.registry.TableVersion().Set(int64(snapshot.Version().Revision)) // far below 2^63
	}
	m.mu.Lock()
	m.snapshot, m.faults = snapshot, faults
	if changed {
		m.changed = time.Now()
	}
	m.mu.Unlock()
	m.tell(snapshot, old, faults)
	if before == nil {
		close(m.first)
	}
}

func (m *Mesh) last() (*routing.Snapshot, []*routing.Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot, m.faults
}

// tell logs what a change brought, each fault when it appears and not again
// while it stays, and counts what was refused.
func (m *Mesh) tell(s *routing.Snapshot, old, faults []*routing.Fault) {
	known := make(map[string]bool, len(old))
	for _, f := range old {
		known[f.Error()] = true
	}
	for _, f := range faults {
		text := f.Error()
		if known[text] {
			continue
		}
		known[text] = true
		if f.Severity == routing.Warning {
			m.log.Warn("a file may not mean what its author thinks", "fault", text, "code", f.Code)
			continue
		}
		m.registry.TableRejected(f.Code).Add(0, 1)
		m.log.Error("refused; its last good form stays, if there was one", "fault", text, "code", f.Code)
	}
	m.log.Info("table published", "version", s.Version().String(), "gateways", len(s.Gateways()), "faults", len(faults))
}

func (m *Mesh) tableAge() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshot == nil {
		return 0
	}
	return time.Since(m.changed).Seconds()
}

func (m *Mesh) checks() []admin.Check {
	ok, why := m.server.Ready()
	return []admin.Check{{Name: "gateways", OK: ok, Detail: why}}
}
