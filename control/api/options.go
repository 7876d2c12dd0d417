// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"time"

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

// Plans is what the API asks of the planner.
type Plans interface {
	// Last returns the newest plan of a namespace.
	Last(namespace string) (planner.Plan, bool)
	// Status tells how the objects and gateways of a namespace fare.
	Status(namespace string) planner.Status
	// Check returns what would be wrong with updates beside all that is there.
	Check(namespace string, updates []discovery.Update) []*routing.Fault
}

// Proxies is what the API asks of the stream server.
type Proxies interface {
	// Proxies returns those that are connected, and those that went lately.
	Proxies() []stream.Proxy
	// Deployed tells where a gateway is served.
	Deployed(namespace, gateway string) stream.Deployment
	// Convergence tells how far a change has come.
	Convergence(change uint64) (stream.Convergence, bool)
	// Wait returns when a change has converged, or cannot any more.
	Wait(ctx context.Context, change uint64) (stream.Convergence, error)
}

// Readiness is one thing that must hold before the control plane can be asked.
type Readiness struct {
	Name   string // a word, such as sources
	OK     bool
	Detail string // why not; may be empty
}

// Service is where a gateway can be reached by way of Kubernetes.
type Service struct {
	Host     string // empty while it is not known, or if there is none
	Port     int
	NodePort int    // at each node; 0 if there is none
	Fault    string // why there is none, though there should be; empty if all is well
}

// Options shape an API. Store, Plans and Proxies are needed; without any of
// the others what they are for is answered 404.
type Options struct {
	Store   store.Store
	Plans   Plans
	Proxies Proxies
	// Book has the figures of what the proxies carry.
	Book *book.Book
	// Events takes down what happens; nil means that nobody does.
	Events *events.Log
	// Services tells of the Service that Kubernetes has for a gateway. Nil
	// means that nobody knows of any.
	Services func(namespace, gateway string) Service
	// Metrics answers /metrics.
	Metrics http.Handler
	// Confirm believes all absences that are held back, and returns how many
	// there were.
	Confirm func() int
	// Ready returns what must hold before /readyz answers 200. Until it does,
	// writes are answered 503. Nil means that everything holds.
	Ready func() []Readiness
	// Node names this control plane in answers.
	Node string
	// Build names the program in answers.
	Build string

	// Tokens know who may do what. Nil means that everybody on this machine
	// may do everything: only loopback addresses are served then.
	Tokens *auth.Tokens
	// TLS is how Serve speaks; nil means plain text, for loopback addresses
	// alone.
	TLS *tls.Config
	// Hosts are names by which the API may be asked beside loopback addresses
	// and localhost, without port. With TLS and tokens, an empty list allows any.
	Hosts []string

	// MaxStreams bounds the streams of events that are open. Zero means 100.
	MaxStreams int
	// StreamTimeout is how long the reader of a stream may take for what is
	// sent to it before it is ended. Zero means 10 s.
	StreamTimeout time.Duration
	// Registry counts streams. Nil means a registry of its own.
	Registry *metrics.Registry
	// MaxWait bounds what a request may ask to wait. Zero means 5 min.
	MaxWait time.Duration
	// Log takes the audit, a line for each write, and faults of the server.
	// Nil discards them.
	Log *slog.Logger
	// Clock tells the time. Nil means time.Now.
	Clock func() time.Time
}

func (o Options) check() error {
	if o.Store == nil || o.Plans == nil || o.Proxies == nil {
		return errors.New("an API needs a store, plans and proxies")
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.MaxWait = cmp.Or(o.MaxWait, 5*time.Minute)
	o.MaxStreams = cmp.Or(o.MaxStreams, 100)
	o.StreamTimeout = cmp.Or(o.StreamTimeout, 10*time.Second)
	if o.Registry == nil {
		o.Registry = metrics.New(metrics.Options{Shards: 1})
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}
