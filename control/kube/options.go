// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/metrics"
)

// DefaultSelector is the selector of Services unless ServiceOptions have one:
// it finds the proxies that the chart installs.
const DefaultSelector = "app.kubernetes.io/name=sluice,app.kubernetes.io/component=proxy"

// The types of Services.
const (
	NodePort     = "NodePort"
	ClusterIP    = "ClusterIP"
	LoadBalancer = "LoadBalancer"
	NoServices   = "none" // none are made, changed or deleted
)

// ServiceOptions say what the Services of gateways are like. The zero
// ServiceOptions are ready to use.
type ServiceOptions struct {
	// Type is NodePort, ClusterIP, LoadBalancer or NoServices. Empty means
	// NodePort.
	Type string
	// Selector finds the pods of the proxies, by labels: NAME=VALUE, separated
	// by commas. Empty means DefaultSelector.
	Selector string
	// InternalTrafficPolicy is Cluster, or Local for proxies that run on every
	// node: a pod is served by the proxy of its node then. Empty means Cluster.
	InternalTrafficPolicy string
}

// Check returns what is wrong with o, naming the flag.
func (o ServiceOptions) Check() error {
	_, err := o.resolve()
	return err
}

// shape is what ServiceOptions come to.
type shape struct {
	off      bool
	kind     corev1.ServiceType
	selector map[string]string
	traffic  corev1.ServiceInternalTrafficPolicy
}

func (o ServiceOptions) resolve() (shape, error) {
	var s shape
	switch kind := cmp.Or(o.Type, NodePort); kind {
	case NodePort, ClusterIP, LoadBalancer:
		s.kind = corev1.ServiceType(kind)
	case NoServices:
		s.off = true
	default:
		return s, fmt.Errorf("--service-type: %q is not NodePort, ClusterIP, LoadBalancer or none", kind)
	}
	switch traffic := corev1.ServiceInternalTrafficPolicy(cmp.Or(o.InternalTrafficPolicy, "Cluster")); traffic {
	case corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal:
		s.traffic = traffic
	default:
		return s, fmt.Errorf("--service-internal-traffic-policy: %q is not Cluster or Local", traffic)
	}
	var err error
	if s.selector, err = labels.ConvertSelectorToLabelsMap(cmp.Or(o.Selector, DefaultSelector)); err != nil {
		return s, fmt.Errorf("--service-selector: %w; labels such as %s are allowed", err, DefaultSelector)
	}
	return s, nil
}

// Deployment tells where a gateway is served.
type Deployment struct {
	Proxies int    // that are connected and are to serve it
	Served  int    // those of them that do
	Refused string // why one of them does not take it; empty if none refuses
}

// Plans is what a Writer asks of the planner.
type Plans interface {
	// Object tells how the object of a source fares after the last plan, and
	// whether there is one.
	Object(namespace, key string) (planner.Object, bool)
}

// Options shape a Writer. Client, Plans and Deployed are needed.
type Options struct {
	// Client is the way to the API server.
	Client *kubernetes.Client
	// Namespace, organisation/environment, is whose the objects are that stand
	// in no other's namespace of Kubernetes. Empty means
	// planner.DefaultNamespace.
	Namespace string
	// Home is the namespace of Kubernetes in which the Lease is, and the
	// Services of Namespace. Empty means that of Client.
	Home string
	// Environments tell by namespace of Kubernetes whose it is,
	// organisation/environment: the Services of its gateways are made there.
	// PutPlaces says later what it is by then.
	Environments map[string]string
	// Watch are the namespaces of Kubernetes in which gateways are looked for
	// that are objects; none means all.
	Watch []string
	// Installation is what this control plane is a part of, such as a release of
	// Helm. One of another installation that has the Lease is no deputy: that is
	// told to gateways. Empty means that all count as one.
	Installation string
	// Identity names this control plane among those of its installation that want
	// the Lease. Empty means the name of the machine and a random part.
	Identity string
	// Services say what Services are like.
	Services ServiceOptions
	// Ingress says which addresses are written into Ingresses.
	Ingress IngressOptions
	// Plans has how objects fare.
	Plans Plans
	// Deployed tells where a gateway is served.
	Deployed func(namespace, gateway string) Deployment
	// Sure reports whether it can be told what there is not: all sources of
	// gateways were listed, and are heard of. Until it has been so for as long as
	// Hold says, no Service is deleted whose gateway no plan of this process has
	// had. It must not block. Nil means that it always can.
	Sure func() bool
	// Leading are run while this control plane holds the Lease. Their context
	// ends as soon as it does not, and they must return then.
	Leading []func(context.Context)
	// Registry counts what is written. Nil means one of its own.
	Registry *metrics.Registry
	// Log takes what goes wrong. Nil discards it.
	Log *slog.Logger

	// LeaseDuration is how long a Lease that is not renewed is left alone. It
	// is given up after two thirds of it. Zero means 15 s.
	LeaseDuration time.Duration
	// Hold is how long a Service stays of which no plan since the start of the
	// process has had the gateway, and one whose namespace,
	// organisation/environment, has no home any more. Zero means 60 s.
	Hold time.Duration
	// Interval is how long it takes until it is looked again where gateways
	// are served. Zero means 5 s.
	Interval time.Duration
	// Lag is how long the status of an object goes on saying that its gateway is
	// served everywhere while some proxies are behind, and how often it says how
	// many are: others come and go all the time. Zero means 30 s.
	Lag time.Duration
}

func (o Options) check() error {
	if o.Client == nil || o.Plans == nil || o.Deployed == nil {
		return errors.New("a Writer needs a Client, Plans and Deployed")
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.Namespace = cmp.Or(o.Namespace, planner.DefaultNamespace)
	o.Home = cmp.Or(o.Home, o.Client.Home)
	if o.Identity == "" {
		host, _ := os.Hostname()
		o.Identity = cmp.Or(host, "control") + "_" + rand.String(8)
	}
	o.Identity = identityOf(o.Installation, o.Identity)
	if o.Registry == nil {
		o.Registry = metrics.New(metrics.Options{Shards: 1})
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.LeaseDuration = cmp.Or(o.LeaseDuration, 15*time.Second)
	o.Hold = cmp.Or(o.Hold, time.Minute)
	o.Interval = cmp.Or(o.Interval, 5*time.Second)
	o.Lag = cmp.Or(o.Lag, 30*time.Second)
	return o
}
