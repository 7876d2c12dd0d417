// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/metrics/prom"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/admin"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Node.
type Options struct {
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
	// Secrets says that Secrets may come, by PutSecrets. SecretsDir is the
	// folder in which they are kept as files; empty means one that goes with
	// the process.
	Secrets    bool
	SecretsDir string
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

	// The functions below say what whoever hands out tables knows beside the
	// node. They are called from any goroutine, from Run on.

	// Ready returns further checks of readiness. Nil means none.
	Ready func() []admin.Check
	// Status returns what /status shows, given what the node knows. Nil means
	// that alone.
	Status func(Status) any
	// Confirm believes what is held back, and returns how many things that
	// were. Nil means that nothing ever is.
	Confirm func() int
}

// Node serves the gateways of the table that it was handed last. Its methods
// may be called from any goroutine.
type Node struct {
	o        Options
	log      *slog.Logger
	build    boot.Build
	registry *metrics.Registry
	server   *proxy.Server
	admin    *admin.Server
	compile  routing.CompileOptions
	secrets  *secretFiles  // nil if none may come
	passing  string        // their folder, if it goes with the process
	first    chan struct{} // closed when the first table was published

	publishing sync.Mutex // held while a table is compiled and handed over

	mu       sync.Mutex // guards the fields below
	snapshot *routing.Snapshot
	changed  time.Time // when snapshot was published
	faults   []*routing.Fault
}

// Open makes a node and binds the admin address, so that a taken one is an
// error before anything serves. Run must be called to let go of it.
func Open(ctx context.Context, o Options) (*Node, error) {
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
	n := &Node{
		o: o, log: log, build: boot.ReadBuild(),
		registry: metrics.New(metrics.Options{Reasons: live.Reasons()}),
		// Proxies must not walk their splits in step.
		compile: routing.CompileOptions{Seed: rand.Uint64(), VirtualHostsDomain: o.VirtualHostsDomain},
		first:   make(chan struct{}),
	}
	n.registry.BuildInfo(n.build.Version, n.build.Revision)
	n.registry.TableAge(n.tableAge)
	n.openSecrets()
	n.server = proxy.New(proxy.Options{
		GatewayAddress:   o.GatewayAddress,
		VirtualHostsPort: o.VirtualHostsPort,
		TLSDir:           o.TLSDir,
		SecretsDir:       n.secretsDir(),
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
		Metrics:               n.registry,
		Log:                   log,
		Drain:                 o.Drain,
	})
	n.admin = admin.New(admin.Options{
		Addr:    o.Admin,
		Token:   token,
		Metrics: prom.Handler(n.registry),
		Ready:   n.checks,
		Status:  n.status,
		Confirm: n.confirm,
		Explain: n.server.Explain,
		Pprof:   o.Pprof,
		Log:     log,
	})
	if err := n.admin.Listen(ctx); err != nil {
		return nil, errors.Join(err, n.closeSecrets())
	}
	return n, nil
}

// Run serves until ctx ends or a part fails, then drains. feed hands out
// tables until its context ends; nil if others do. Nothing of it is left when
// Run returns.
func (n *Node) Run(ctx context.Context, feed func(context.Context) error) error {
	g, feeding := errgroup.WithContext(ctx)
	// The parts end one after the other: the proxy drains when no further
	// table can come, and the drain can be seen on the admin server.
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	watching, endWatching := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer endServing()
		if feed == nil {
			<-feeding.Done()
			return nil
		}
		return feed(feeding)
	})
	g.Go(func() error {
		defer endWatching()
		return n.server.Run(serving)
	})
	g.Go(func() error { return n.admin.Run(watching) })
	return errors.Join(g.Wait(), n.closeSecrets())
}

// Cut ends a drain at once: requests in flight are cut.
func (n *Node) Cut() { n.server.Stop() }

// Close lets go of the admin address if Run is not to be called.
func (n *Node) Close() error { return errors.Join(n.admin.Close(), n.closeSecrets()) }

// First is closed when the first table was handed to the proxy.
func (n *Node) First() <-chan struct{} { return n.first }

// Admin returns the address of metrics, health and status, host:port.
func (n *Node) Admin() string { return n.admin.Addr() }

// Registry returns the metrics of the node.
func (n *Node) Registry() *metrics.Registry { return n.registry }

// Compile returns how the node compiles tables, for whoever compiles them for
// it.
func (n *Node) Compile() routing.CompileOptions { return n.compile }

// Gateways returns how each gateway stands, in table order.
func (n *Node) Gateways() []proxy.GatewayStatus { return n.server.Status() }

// Outline returns the same without routes and what is in force: a large table has
// much of it.
func (n *Node) Outline() []proxy.GatewayStatus { return n.server.Outline() }

// Unserved tells of each gateway that cannot take traffic why; nil if there is
// none.
func (n *Node) Unserved() map[string]error { return n.server.Unserved() }

// InstanceStates returns how the instances of a route stand; nil if there is no
// such route.
func (n *Node) InstanceStates(gateway, route string) []routing.InstanceState {
	return n.server.InstanceStates(gateway, route)
}

// Outcome is what became of a table.
type Outcome struct {
	// Snapshot is what serves now. Gateways that were refused have their last
	// good form in it, or are missing.
	Snapshot *routing.Snapshot
	// Faults are those of compiling, warnings among them.
	Faults []*routing.Fault
}

// PublishTable compiles a table after the one before and serves it.
func (n *Node) PublishTable(t *routing.Table) Outcome {
	n.awaitSecrets(slices.Values(t.Gateways))
	n.publishing.Lock()
	defer n.publishing.Unlock()
	before, _ := n.last()
	snapshot, faults := routing.Compile(before, t, n.compile)
	n.serve(snapshot, faults)
	return Outcome{Snapshot: snapshot, Faults: faults}
}

// Publish serves a snapshot. faults are all that there are of it at the time.
// A snapshot that is the one before only brings them.
func (n *Node) Publish(s *routing.Snapshot, faults []*routing.Fault) {
	n.awaitSecrets(asked(s))
	n.publishing.Lock()
	defer n.publishing.Unlock()
	n.serve(s, faults)
}

// serve hands a snapshot to the proxy. Its caller holds publishing.
func (n *Node) serve(s *routing.Snapshot, faults []*routing.Fault) {
	before, old := n.last()
	changed := s != before
	if changed {
		n.server.Publish(s)
		n.registry.TableVersion().Set(int64(s.Version().Revision)) // far below 2^63
		n.tidySecrets(s)
	}
	n.mu.Lock()
	n.snapshot, n.faults = s, slices.Clip(faults)
	if changed {
		n.changed = time.Now()
	}
	n.mu.Unlock()
	n.tell(s, old, faults)
	if before == nil {
		close(n.first)
	}
}

func (n *Node) last() (*routing.Snapshot, []*routing.Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.snapshot, n.faults
}

// tell logs what a change brought, each fault when it appears and not again
// while it stays, and counts what was refused.
func (n *Node) tell(s *routing.Snapshot, old, faults []*routing.Fault) {
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
			n.log.Warn("a file may not mean what its author thinks", "fault", text, "code", f.Code)
			continue
		}
		n.registry.TableRejected(f.Code).Add(0, 1)
		n.log.Error("refused; its last good form stays, if there was one", "fault", text, "code", f.Code)
	}
	n.log.Info("table published", "version", s.Version().String(), "gateways", len(s.Gateways()), "faults", len(faults))
}

func (n *Node) tableAge() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.snapshot == nil {
		return 0
	}
	return time.Since(n.changed).Seconds()
}

func (n *Node) checks() []admin.Check {
	ok, why := n.server.Ready()
	all := []admin.Check{{Name: "gateways", OK: ok, Detail: why}}
	if n.o.Ready != nil {
		all = append(all, n.o.Ready()...)
	}
	return all
}

func (n *Node) confirm() int {
	if n.o.Confirm == nil {
		return 0
	}
	return n.o.Confirm()
}
