// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"

	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/cmd/internal/watched"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Mesh.
type Options struct {
	// Source says which gateways there are; nil if Watched do alone.
	Source discovery.Source
	// Watched are sources beside Source whose watching is shown: by /readyz, by
	// /status and by metrics.
	Watched []*watched.Source
	// Select says how selectors find instances.
	Select routing.SelectOptions
	// Options are those of the node. Ready, Status, Confirm and Secrets are the
	// mesh's.
	node.Options
}

// Mesh is one process's gateways and all that serves them.
type Mesh struct {
	source  discovery.Source
	watched []*watched.Source
	planner *planner.Planner
	node    *node.Node
}

// Open makes a mesh and binds the admin address, so that a taken one is an
// error before anything serves. Run must be called to let go of it.
func Open(ctx context.Context, o Options) (*Mesh, error) {
	m := &Mesh{source: o.join(), watched: o.Watched}
	o.Ready = m.ready
	o.Status = func(s node.Status) any { return m.status(s) }
	o.Confirm = m.Confirm
	o.Secrets = true
	var err error
	if m.node, err = node.Open(ctx, o.Options); err != nil {
		return nil, err
	}
	m.planner = planner.New(planner.Options{Select: o.Select, Compile: m.node.Compile()})
	for _, w := range m.watched {
		w.Observe(m.node.Registry())
	}
	return m, nil
}

// join returns the source of all that is said.
func (o *Options) join() discovery.Source {
	var all []discovery.Source
	if o.Source != nil {
		all = append(all, o.Source)
	}
	for _, w := range o.Watched {
		all = append(all, w)
	}
	if len(all) == 1 {
		return all[0]
	}
	return discovery.Join(all...)
}

// Run serves until ctx ends or a part fails, then drains. Nothing of it is
// left when it returns.
func (m *Mesh) Run(ctx context.Context) error {
	return m.node.Run(ctx, func(ctx context.Context) error {
		return m.planner.Run(ctx, m.source, m.publish)
	})
}

// Node returns the node that serves.
func (m *Mesh) Node() *node.Node { return m.node }

// Cut ends a drain at once: requests in flight are cut.
func (m *Mesh) Cut() { m.node.Cut() }

// First is closed when the first table was handed to the proxy.
func (m *Mesh) First() <-chan struct{} { return m.node.First() }

// Admin returns the address of metrics, health and status, host:port.
func (m *Mesh) Admin() string { return m.node.Admin() }

// Gateways returns how each gateway stands, in table order.
func (m *Mesh) Gateways() []proxy.GatewayStatus { return m.node.Gateways() }

// Confirm believes every absence that is held back, has the source look
// again, and returns how many objects that concerns.
func (m *Mesh) Confirm() int {
	if c, ok := m.source.(discovery.Confirmer); ok {
		return c.Confirm()
	}
	return 0
}

// publish hands a plan to the node. The planner calls it from one goroutine at
// a time.
func (m *Mesh) publish(p planner.Plan) {
	m.node.PutSecrets(p.Secrets)
	m.node.Publish(p.Snapshot, p.Faults)
}
