// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/planner"
)

// Run serves until ctx ends or a part fails. The parts then end one after the
// other, so that nothing is lost that was acknowledged: the API answers what
// has begun and takes nothing new, the planner ends, proxies are asked to
// leave, what happened is written down, and the store is closed. Nothing is
// left when Run returns.
func (p *Plane) Run(ctx context.Context) error {
	g, ending := errgroup.WithContext(ctx)
	ended := ending.Done()
	for _, part := range []func(context.Context) error{
		func(ctx context.Context) error { return p.api.Serve(ctx, p.apiListener) },
		func(ctx context.Context) error { return p.planner.Run(ctx, p.source, p.publish) },
		p.writeKubernetes,
		p.awaitFirst,
		func(ctx context.Context) error { return p.stream.Serve(ctx, p.streamListener) },
		p.recorder().Run,
		p.watchHeld,
		p.events.Run,
		p.watchCredentials,
	} {
		ended = stage(ctx, g, ended, part)
	}
	return errors.Join(g.Wait(), p.store.Close())
}

// stage runs a part until the one before has ended, and returns what is closed
// when it has.
func stage(ctx context.Context, g *errgroup.Group, before <-chan struct{}, run func(context.Context) error) <-chan struct{} {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		defer cancel()
		return run(ctx)
	})
	g.Go(func() error {
		select {
		case <-before:
			cancel()
		case <-ended:
		}
		return nil
	})
	return ended
}

// recorder tells how gateways fare.
func (p *Plane) recorder() *events.Recorder {
	return &events.Recorder{Book: p.book, Log: p.events, Namespaces: p.planner.Namespaces}
}

func (p *Plane) watchCredentials(ctx context.Context) error {
	if p.creds == nil {
		<-ctx.Done()
		return nil
	}
	p.creds.Run(ctx)
	return nil
}

// publish hands a plan on. The planner makes one call at a time.
func (p *Plane) publish(plan planner.Plan) {
	p.begin(plan)
	p.stream.Publish(plan)
	p.api.Published(plan)
	if p.writer != nil {
		p.writer.Put(plan)
	}
	if p.o.Publish != nil {
		p.o.Publish(plan)
	}
}

// Reread reads files and certificates anew, believes every absence that is
// held back, and returns how many that were.
func (p *Plane) Reread() (int, error) {
	var err error
	if p.creds != nil {
		err = p.creds.Look()
	}
	return p.confirm(), err
}

func (p *Plane) confirm() int { return p.source.Confirm() + p.planner.Confirm() }

// API and Stream return the addresses of both, host:port.
func (p *Plane) API() string { return p.apiListener.Addr().String() }

// Stream is described with API.
func (p *Plane) Stream() string { return p.streamListener.Addr().String() }
