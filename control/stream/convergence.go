// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// State is how far a change has come.
type State string

// The states.
const (
	Pending   State = "pending"    // in no table yet
	Planned   State = "planned"    // in a table that not all proxies serve yet
	Converged State = "converged"  // all proxies serve it
	Refused   State = "refused"    // all proxies have it, and some do not take it
	NoProxies State = "no_proxies" // no proxy of its namespace is connected
)

// ErrForgotten reports a change that was made too long ago: the last 10,000
// are known.
var ErrForgotten = errors.New("the change was made too long ago: the last 10,000 are known")

// Convergence is how far a change has come. It is ready to be shown as JSON.
type Convergence struct {
	Change    uint64          `json:"id"`
	State     State           `json:"state"`
	Namespace string          `json:"namespace,omitempty"`
	Kind      string          `json:"kind,omitempty"`   // config or endpoints
	Version   routing.Version `json:"version,omitzero"` // of the first table that it is in
	At        time.Time       `json:"at,omitzero"`      // when it was made
	Proxies   int             `json:"proxies"`          // connected ones of the namespace
	Served    int             `json:"served"`           // those of them that serve it
	// Laggards are those that do not, the first 100.
	Laggards []Laggard `json:"laggards,omitempty"`
	// Took is from the change until all proxies served it, in seconds; 0 while
	// they do not.
	Took float64 `json:"took_seconds"`
}

// Laggard is a connected proxy that does not serve a change.
type Laggard struct {
	Node   string    `json:"node"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Settled says that all connected proxies of a namespace serve a table, of
// which there is at least one. Tables that were overtaken before that have
// none of their own.
type Settled struct {
	Namespace string
	Version   routing.Version
	Took      time.Duration  // from when the table was planned
	Changes   []Convergence  // those that came with it, without laggards
	New, Gone []string       // gateways, since the table that settled before
	Table     *routing.Table // the table itself
}

// Convergence tells how far a change has come, and whether it is known: it was
// planned, and is among the last 10,000.
func (s *Server) Convergence(change uint64) (Convergence, bool) {
	return Convergence{Change: change, State: Pending}, false
}

// Wait returns when a change has converged, or cannot any more: all proxies
// have it and some refuse it, or there are none. The error is that of ctx if
// this ends before, beside how far the change has come by then, or
// ErrForgotten.
func (s *Server) Wait(ctx context.Context, change uint64) (Convergence, error) {
	<-ctx.Done()
	return Convergence{Change: change, State: Pending}, ctx.Err()
}
