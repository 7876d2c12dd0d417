// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/agent/report"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/proxy/admin"
	"github.com/sluice-mesh/sluice/routing"
)

// settleEvery is how often a proxy looks at how much memory is in use.
const settleEvery = time.Second

// Options shape an Edge.
type Options struct {
	// Options are those of the node. Ready, Status, Confirm and Secrets are the
	// edge's. An empty SecretsDir means a folder of DataDir, if there is one.
	node.Options
	// Servers are the addresses of the control plane.
	Servers []string
	// Name is who the proxy is to the control plane, Namespaces and Labels what
	// it says of itself.
	Name       string
	Namespaces []string
	Labels     []routing.Label
	// Credentials are what the proxy shows; nil for sessions in clear.
	Credentials *auth.Credentials
	// Token returns the join token; nil if there is none.
	Token func() (string, error)
	// DataDir is where the last good tables are kept, and the Secrets that they
	// name if SecretsDir is not elsewhere; empty if they are not.
	DataDir string
	// Hold is how long gateways are kept that seem to be gone.
	Hold time.Duration
}

// Edge is a node that follows a control plane.
type Edge struct {
	o      Options
	log    *slog.Logger
	node   *node.Node
	agent  *agent.Agent
	keeper *lastgood.Keeper // nil without a data directory
	settle func()           // has garbage collected in good time
}

// Open makes an edge, binds the admin address and locks the data directory, so
// that what is taken is an error before anything serves. Run must be called to
// let go of them.
func Open(ctx context.Context, o Options) (*Edge, error) {
	e := &Edge{o: o, log: o.Log, settle: boot.FollowMemory(os.LookupEnv)}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	o.Ready = e.ready
	o.Status = e.status
	o.Confirm = func() int { return e.agent.Confirm() }
	o.Secrets = true
	if o.DataDir != "" && o.SecretsDir == "" {
		o.SecretsDir = filepath.Join(o.DataDir, secretsDir)
	}
	var err error
	if e.node, err = node.Open(ctx, o.Options); err != nil {
		return nil, err
	}
	if err := e.open(); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// open makes the agent.
func (e *Edge) open() (err error) {
	registry := e.node.Registry()
	if e.o.DataDir != "" {
		if e.keeper, err = openKeeper(e.o.DataDir, e.o.Namespaces, agent.Wrote(registry)); err != nil {
			return fmt.Errorf("--data-dir %s: %w", e.o.DataDir, err)
		}
	}
	counters := report.New(registry)
	e.agent, err = agent.New(agent.Options{
		Servers:     e.o.Servers,
		Credentials: e.o.Credentials,
		Token:       e.o.Token,
		Node:        e.o.Name,
		Zone:        e.o.Zone,
		Build:       boot.ReadBuild().Version,
		Labels:      e.o.Labels,
		Namespaces:  e.o.Namespaces,
		Keeper:      e.keeper,
		HoldBack:    e.o.Hold,
		Metrics:     registry,
		Log:         e.o.Log,
		Apply:       e.apply,
		Secrets:     e.node.PutSecrets,
		Unserved:    e.node.Unserved,
		Counters:    counters.Next,
		Health:      func() *controlpb.Health { return counters.Health(e.node.InstanceStates) },
		Fresh:       counters.Reset,
	})
	return err
}

func (e *Edge) apply(t *routing.Table) agent.Outcome {
	return agent.Outcome{Faults: e.node.PublishTable(t).Faults}
}

// close lets go of what Open took.
func (e *Edge) close() error {
	if e.keeper == nil {
		return e.node.Close()
	}
	return errors.Join(e.node.Close(), e.keeper.Close())
}

// Run serves until ctx ends or a part fails, then drains. Nothing of it is left
// when it returns.
func (e *Edge) Run(ctx context.Context) error {
	err := e.node.Run(ctx, e.feed)
	if e.keeper != nil {
		err = errors.Join(err, e.keeper.Close())
	}
	return err
}

// feed has the node serve the last good table, and then what the control plane
// hands out.
func (e *Edge) feed(ctx context.Context) error {
	if _, err := e.agent.Start(); err != nil {
		e.log.ErrorContext(ctx, "the last good table cannot be read; nothing serves until the control plane sends one", "error", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	if e.o.Credentials != nil {
		g.Go(func() error {
			e.o.Credentials.Run(ctx)
			return nil
		})
	}
	g.Go(func() error { return e.agent.Run(ctx) })
	g.Go(func() error {
		e.follow(ctx)
		return nil
	})
	return g.Wait()
}

// follow has garbage collected in good time as the table grows and shrinks,
// until ctx ends.
func (e *Edge) follow(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.settle()
		}
	}
}

// Look reads the credentials anew.
func (e *Edge) Look() error {
	if e.o.Credentials == nil {
		return nil
	}
	return e.o.Credentials.Look()
}

// Node returns the node that serves.
func (e *Edge) Node() *node.Node { return e.node }

// Status is how an edge stands, as /status shows it.
type Status struct {
	node.Status
	// Control is how it stands with its control plane.
	Control agent.Status `json:"control"`
}

func (e *Edge) status(s node.Status) any { return Status{Status: s, Control: e.agent.Status()} }

// ready tells what a probe should know: which table serves, which is cheap to
// ask for here however many gateways there are. A proxy without its control
// plane serves what it served before, and is ready.
func (e *Edge) ready() []admin.Check {
	c := admin.Check{Name: "control", OK: true}
	if s := e.agent.Status(); s.Connected {
		c.Detail = "table " + s.Version
	} else {
		c.Detail = fmt.Sprintf("stale since %s: %s", s.Since.UTC().Format(time.RFC3339), s.Why)
	}
	return []admin.Check{c}
}

// serve is what the verb does once its flags are read: it serves until it is
// told to end.
func serve(ctx context.Context, o Options, stdout io.Writer) error {
	ctx, signals := boot.Notify(ctx)
	defer signals.Release()
	e, err := Open(ctx, o)
	if err != nil {
		return err
	}
	a := node.Attendant{Node: e.node, Signals: signals, Stdout: stdout, Hangup: func(ctx context.Context) {
		if err := e.Look(); err == nil { // else the log has it
			o.Log.InfoContext(ctx, "credentials are as their files say")
		}
	}}
	return a.Run(ctx, e.Run)
}
