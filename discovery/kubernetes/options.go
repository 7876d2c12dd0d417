// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"log/slog"
	"time"
)

// Origin is the origin of what a Source tells.
const Origin = "kubernetes"

// Options shape a Source. All but Client may be zero.
type Options struct {
	// Client is the way to the API server. It must be set.
	Client *Client
	// Namespaces are the Kubernetes namespaces that are watched; none means
	// all.
	Namespaces []string
	// Environments tell by Kubernetes namespace whose is what stands in it,
	// organisation/environment. What stands elsewhere is of whoever runs the
	// source.
	Environments map[string]string
	// Namespace is whoever runs the source, organisation/environment. Only what
	// names it has to know: it means the same as naming nobody. May be empty.
	Namespace string
	// NamespaceLabels has the label LabelEnvironment of a Kubernetes namespace
	// say whose it is, where Environments do not. It takes the right to watch
	// all of them, and so is of no effect with Namespaces.
	NamespaceLabels bool
	// Places is called with whose the Kubernetes namespaces are: by New as
	// Environments say, and whenever labels have it be another. Calls do not
	// overlap; they must not block. Nil means that nobody asks.
	Places func(Places)
	// Patience is how long the first listing waits for the API server. What
	// it has not told by then is told as File remembers it, and later as it
	// is. Zero means 10 s.
	Patience time.Duration
	// Hold is how long an absence that only seems so is held back.
	// Zero means 60 s.
	Hold time.Duration
	// File remembers what was told, for a start while the API server does not
	// answer. It is made if it is not there; empty means that nothing is
	// remembered.
	File string
	// IngressClass is the class of the Ingresses that are served; empty means
	// all classes whose controller is IngressController. NoIngress turns
	// Ingresses off.
	IngressClass string
	// WithoutSecrets leaves Secrets alone, so that gateways can name none.
	WithoutSecrets bool
	// Ingress is called with each Ingress that is ours as it is now, and with
	// gone set when it is no more. Calls do not overlap; they must not block. Nil
	// means that nobody asks.
	Ingress func(o IngressObject, gone bool)
	// Log takes what concerns the watching itself; what is wrong with objects
	// is told to the sink. Nil discards it.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Patience = cmp.Or(o.Patience, 10*time.Second)
	o.Hold = cmp.Or(o.Hold, time.Minute)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}
