// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"
)

// One is a single instance of any version, which may listen on several
// addresses, and on none before it has started.
type One struct {
	// Version is what it runs, Name what tells it from others of its version.
	// A version that has no page of its own shows that of the newest.
	Version, Name string
	// Addresses are where it listens, host:port.
	Addresses []string
}

// Run listens and serves until ctx ends, then lets requests in flight end. It
// returns when nothing of it is left, nil after an end by ctx.
func (o One) Run(ctx context.Context) error {
	var lc net.ListenConfig
	in := newInstance(o.Version, o.Name, nil)
	g, ctx := errgroup.WithContext(ctx)
	for _, address := range o.Addresses {
		ln, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			err = fmt.Errorf("open %s: %w", in, err)
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error { return serveOut(ctx, ln, in) })
	}
	return g.Wait()
}
