// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sluice-mesh/sluice/cmd/internal/kube"
	"github.com/sluice-mesh/sluice/cmd/internal/marathon"
	"github.com/sluice-mesh/sluice/cmd/internal/watched"
	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// Files in the folder of the store that remember what the cluster and Marathon
// said.
const (
	clusterFile  = "kubernetes.json"
	marathonFile = "marathon.json"
)

// Options shape a Plane.
type Options struct {
	// Dir is the folder of the store, which is made if it is not there.
	Dir string
	// Node names this control plane; empty means the name of the machine.
	Node string
	// Source tells what there is beside the store, such as files; nil if
	// nothing is. What it says of no namespace is of Namespace.
	Source discovery.Source
	// Namespace is organisation/environment; empty means the default one.
	Namespace string
	// Cluster is the Kubernetes cluster that the plane takes part in; nil if
	// it does in none. What stands in no environment is of Namespace.
	Cluster *kube.Cluster
	// Marathon is the one that the plane watches; nil if it watches none. Apps
	// in no environment are of Namespace.
	Marathon *marathon.Cluster
	// API and Stream are the addresses of the API and of the stream to
	// proxies, host:port.
	API, Stream string
	// Credentials is the folder of the certificate by which both speak TLS;
	// empty for plain text, which is for loopback addresses alone.
	Credentials string
	// Tokens is the folder of the tokens by which proxies join and people use
	// the API; empty means the one named tokens in Credentials. Without
	// either, the API asks for none.
	Tokens string
	// MaxProxies bounds the proxies that are connected; zero means what
	// stream.Options say.
	MaxProxies int
	// Select says how selectors find instances.
	Select routing.SelectOptions
	// Compile says how tables are compiled, to find what is wrong with them.
	Compile routing.CompileOptions
	// Publish is handed each plan, too. Nil means that proxies alone are.
	Publish func(planner.Plan)
	// Log takes what happens. Nil discards it.
	Log *slog.Logger
}

// Plane is the control plane of a process. Its methods may be called from any
// goroutine.
type Plane struct {
	o        Options
	log      *slog.Logger
	store    store.Store
	source   *listing
	cluster  *kube.Source    // nil without a cluster
	marathon *watched.Source // nil without a Marathon
	planner  *planner.Planner
	stream   *stream.Server
	api      *api.API
	book     *book.Book
	events   *events.Log
	writer   *clusterWriter    // nil without a cluster
	creds    *auth.Credentials // nil for plain text
	tokens   *auth.Tokens      // nil if none are asked for
	registry *metrics.Registry

	apiListener, streamListener net.Listener

	first chan struct{} // closed when the first plans are out

	mu     sync.Mutex                // guards the field below
	served map[string]*routing.Table // by namespace: what all of its proxies serve, or began with
}

// Open makes a control plane: it opens the store and binds both addresses, so
// that what cannot be had is an error before anything serves. Run or Close must
// be called to let go of it.
func Open(ctx context.Context, o Options) (*Plane, error) {
	o.Namespace = cmp.Or(o.Namespace, store.DefaultNamespace)
	if o.Node == "" {
		host, _ := os.Hostname()
		o.Node = cmp.Or(host, "control")
	}
	p := &Plane{
		o: o, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		registry: metrics.New(metrics.Options{}),
		first:    make(chan struct{}), served: make(map[string]*routing.Table),
	}
	if err := p.checkAccess(); err != nil {
		return nil, err
	}
	err := p.open(ctx)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// checkAccess loads what says who others are, and refuses to be reached by
// those of whom nothing does.
func (p *Plane) checkAccess() error {
	if err := store.CheckNamespace(p.o.Namespace); err != nil {
		return fmt.Errorf("--namespace: %w", err)
	}
	secured := p.o.Credentials != ""
	if err := checkAddress("--api", p.o.API, secured); err != nil {
		return err
	}
	if err := checkAddress("--stream", p.o.Stream, secured); err != nil {
		return err
	}
	if secured {
		var err error
		if p.creds, err = auth.LoadCredentials(p.o.Credentials, auth.Options{Log: p.log}); err != nil {
			return fmt.Errorf("--credentials: %w", err)
		}
	}
	if dir := p.tokensDir(); dir != "" {
		p.tokens = auth.NewTokens(auth.DirVault(dir), nil)
	}
	return nil
}

func (p *Plane) tokensDir() string {
	if p.o.Tokens == "" && p.o.Credentials != "" {
		return filepath.Join(p.o.Credentials, "tokens")
	}
	return p.o.Tokens
}

// open opens the store, binds the addresses and joins the parts. What it has
// opened when it fails is left to Close.
func (p *Plane) open(ctx context.Context) (err error) {
	if p.store, err = store.Open(p.o.Dir, store.Options{}); err != nil {
		return fmt.Errorf("--data-dir: %w", openAdvice(err))
	}
	version, err := p.store.Version(ctx)
	if err != nil {
		return err
	}
	p.book = book.New(book.Options{MaxProxies: p.o.MaxProxies, Registry: p.registry})
	p.events = events.New(p.store, events.Options{Log: p.log, Registry: p.registry})
	if err := p.openSources(); err != nil {
		return err
	}
	p.planner = planner.New(planner.Options{
		Epoch: version.Epoch, Revisions: planner.StoreRevisions(p.store), Memory: planner.StoreMemory(p.store),
		Namespace: p.o.Namespace, Select: p.o.Select, Compile: p.o.Compile,
	})
	p.stream, err = stream.New(stream.Options{
		Node: p.o.Node, Credentials: p.creds, Tokens: p.tokens, MaxProxies: p.o.MaxProxies,
		Planned: func(ns string) bool { return slices.Contains(p.planner.Namespaces(), ns) },
		Heard:   p.book, Hooks: p.hooks(), Registry: p.registry, Log: p.log,
	})
	if err != nil {
		return err
	}
	if err := p.openKubernetes(); err != nil {
		return err
	}
	if err := p.openAPI(); err != nil { //nolint:contextcheck // what the API logs of itself belongs to no call
		return err
	}
	if p.apiListener, err = listen(ctx, "--api", p.o.API); err != nil {
		return err
	}
	p.streamListener, err = listen(ctx, "--stream", p.o.Stream)
	return err
}

// openSources joins what the store says and what all else does.
func (p *Plane) openSources() (err error) {
	all := []discovery.Source{artifacts.Source(p.store, artifacts.Options{Log: p.log})}
	if p.o.Source != nil {
		all = append(all, discovery.As(p.o.Namespace, "files", p.o.Source))
	}
	if p.o.Cluster != nil {
		p.cluster = p.o.Cluster.Source(p.o.Namespace, filepath.Join(p.o.Dir, clusterFile), p.log)
		p.cluster.Observe(p.registry)
		all = append(all, p.cluster)
	}
	if p.o.Marathon != nil {
		p.marathon, err = p.o.Marathon.Source(p.o.Namespace, filepath.Join(p.o.Dir, marathonFile), p.log)
		if err != nil {
			return err
		}
		p.marathon.Observe(p.registry)
		all = append(all, p.marathon)
	}
	p.source = &listing{source: discovery.Join(all...), over: make(chan struct{})}
	return nil
}

// openAdvice says what to do about a store that cannot be opened.
func openAdvice(err error) error {
	if _, ok := errors.AsType[*store.LockedError](err); ok {
		return fmt.Errorf("%w; end that process, or choose another folder: two control planes cannot share one", err)
	}
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w; put back a backup by 'sluice restore', and keep the damaged folder", err)
	}
	return err
}

// Close lets go of what Open has opened, if Run is not to be called.
func (p *Plane) Close() error {
	var all []error
	for _, ln := range []net.Listener{p.apiListener, p.streamListener} {
		if ln != nil {
			all = append(all, ln.Close())
		}
	}
	if p.store != nil {
		all = append(all, p.store.Close())
	}
	return errors.Join(all...)
}
