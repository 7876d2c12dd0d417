// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// Options say how a process takes part in a Kubernetes cluster. The zero
// Options are those of one that does not.
type Options struct {
	// On is set if it takes part; so it does if File or Context are set.
	On bool
	// File is a kubeconfig file and Context one of its contexts; without
	// either, the process is that of a pod, or its user has such a file.
	File, Context string
	// Namespaces are the Kubernetes namespaces that are watched; none means
	// all.
	Namespaces []string
	// Environments are ORGANISATION/ENVIRONMENT=NAMESPACE each: what stands in
	// that Kubernetes namespace belongs to the namespace before it.
	Environments []string
	// NamespaceLabels has labels of Kubernetes namespaces say what Environments
	// do not.
	NamespaceLabels bool
	// Installation tells this process from those of others in Home; may be
	// empty.
	Installation string
	// Home is the Kubernetes namespace of what is made for the namespace of
	// all others; empty means that of the pod, or of the context.
	Home string
	// Services say what the Services of gateways are like.
	Services kube.ServiceOptions
	// IngressClass is the class of Ingresses that are served; empty means all
	// classes of our controller, none that no Ingresses are.
	IngressClass string
	// Secrets says that Secrets with certificates are read.
	Secrets bool
	// Ingress says which addresses are written into Ingresses.
	Ingress kube.IngressOptions

	flags *pflag.FlagSet // those of Flags; nil without
}

// Flags adds the flags of every verb that may take part in a cluster.
func (o *Options) Flags(flags *pflag.FlagSet) {
	o.flags = flags
	flags.BoolVar(&o.On, "kubernetes", false, "find instances and gateways in the Kubernetes cluster of the pod, or of the kubeconfig file")
	flags.StringVar(&o.File, "kubeconfig", "", "kubeconfig file that says where the cluster is; implies --kubernetes")
	flags.StringVar(&o.Context, "kube-context", "", "context of the kubeconfig file; implies --kubernetes")
	flags.StringSliceVar(&o.Namespaces, "kubernetes-namespaces", nil, "Kubernetes namespaces that are watched, separated by commas (default all)")
	flags.StringArrayVar(&o.Environments, "kubernetes-environment", nil, "ORGANISATION/ENVIRONMENT=NAMESPACE: what stands in that Kubernetes namespace belongs to that environment, and its Services are made there; may be repeated")
	flags.BoolVar(&o.NamespaceLabels, "kubernetes-namespace-labels", false, "what stands in a Kubernetes namespace with the label "+kubernetes.LabelEnvironment+": ORGANISATION.ENVIRONMENT belongs to that environment: who may label namespaces decides that")
	flags.StringVar(&o.Installation, "kubernetes-installation", "", "name of what this control plane is a part of, such as a release of Helm: another one that has the lease is told of then")
	flags.StringVar(&o.Home, "kubernetes-home", "", "Kubernetes namespace in which Services and the lease are made (default that of the pod, or of the context)")
	flags.StringVar(&o.Services.Type, "service-type", kube.NodePort, "type of the Services of gateways: NodePort, ClusterIP, LoadBalancer, or none to make none")
	flags.StringVar(&o.Services.Selector, "service-selector", kube.DefaultSelector, "labels of the pods of the proxies, to which the Services lead")
	flags.StringVar(&o.Services.InternalTrafficPolicy, "service-internal-traffic-policy", "Cluster", "which proxies the Services lead to within the cluster: Cluster, or Local for the one of the node")
	flags.StringVar(&o.IngressClass, "ingress-class", "", "class of the Ingresses that are served, or none to serve none (default all whose controller is "+kubernetes.IngressController+")")
	flags.BoolVar(&o.Secrets, "kubernetes-secrets", true, "read Secrets of type kubernetes.io/tls, which Ingresses and gateways name")
	flags.StringSliceVar(&o.Ingress.Addresses, "ingress-status-address", nil, "IP address or host name that is written into the status of Ingresses; may be repeated")
	flags.StringVar(&o.Ingress.Service, "ingress-status-service", "", "NAMESPACE/NAME of the Service that leads to the proxies: its addresses outside are written into the status of Ingresses")
}

// Enabled reports whether the process takes part in a cluster.
func (o *Options) Enabled() bool { return o.On || o.File != "" || o.Context != "" }

// Writing names the first flag that was given and says what is written to the
// cluster; empty if none was.
func (o *Options) Writing() string {
	for _, called := range []string{
		"kubernetes-home", "kubernetes-installation", "service-type", "service-selector", "service-internal-traffic-policy",
		"ingress-status-address", "ingress-status-service",
	} {
		if o.flags != nil && o.flags.Changed(called) {
			return "--" + called
		}
	}
	return ""
}

// Cluster is a cluster that a process takes part in.
type Cluster struct {
	// Client is the way to its API server.
	Client *kubernetes.Client
	// Namespaces are those Kubernetes namespaces that are watched; none means
	// all.
	Namespaces []string
	// Environments tell by Kubernetes namespace whose is what stands in it, as
	// flags say.
	Environments map[string]string

	labels       bool
	installation string
	home         string
	services     kube.ServiceOptions

	ingressClass string
	secrets      bool
	ingress      kube.IngressOptions
}

// Open finds the way to the cluster, which need not answer; nil without one.
// Wrong flags are errors that name them.
func (o *Options) Open() (*Cluster, error) {
	if !o.Enabled() {
		if o.first() != "" {
			return nil, fmt.Errorf("%s: of which cluster? add --kubernetes, or name a file by --kubeconfig", o.first())
		}
		return nil, nil
	}
	environments, err := o.environments()
	if err != nil {
		return nil, err
	}
	for _, ns := range append(slices.Clone(o.Namespaces), cmp.Or(o.Home, "default")) {
		if !dnsLabel.MatchString(ns) {
			return nil, fmt.Errorf("--kubernetes-namespaces, --kubernetes-home: %q is no name of a Kubernetes namespace", ns)
		}
	}
	if o.NamespaceLabels && len(o.Namespaces) > 0 {
		return nil, errors.New("--kubernetes-namespace-labels: the labels of namespaces are read of all or of none: leave --kubernetes-namespaces out, or use --kubernetes-environment")
	}
	if len(validation.IsDNS1123Subdomain(cmp.Or(o.Installation, "none"))) > 0 {
		return nil, fmt.Errorf("--kubernetes-installation: %q is no name that an object may have, such as sluice", o.Installation)
	}
	if err := errors.Join(o.Services.Check(), o.Ingress.Check()); err != nil {
		return nil, err
	}
	if o.IngressClass != "" && len(validation.IsDNS1123Subdomain(o.IngressClass)) > 0 {
		return nil, fmt.Errorf("--ingress-class: %q is no name of an IngressClass", o.IngressClass)
	}
	client, err := kubernetes.Connect(kubernetes.Access{File: o.File, Context: o.Context, Agent: "sluice/" + boot.ReadBuild().Version})
	if err != nil {
		return nil, err
	}
	namespaces := slices.Sorted(slices.Values(o.Namespaces))
	return &Cluster{
		Client: client, Namespaces: slices.Compact(namespaces), Environments: environments,
		labels: o.NamespaceLabels, installation: o.Installation, home: cmp.Or(o.Home, client.Home), services: o.Services,
		ingressClass: o.IngressClass, secrets: o.Secrets, ingress: o.Ingress,
	}, nil
}

// first names the first flag that says something of a cluster; empty if none
// does.
func (o *Options) first() string {
	switch {
	case len(o.Namespaces) > 0:
		return "--kubernetes-namespaces"
	case len(o.Environments) > 0:
		return "--kubernetes-environment"
	case o.NamespaceLabels:
		return "--kubernetes-namespace-labels"
	case o.Home != "":
		return "--kubernetes-home"
	}
	return ""
}

// dnsLabel is what a Kubernetes namespace may be called.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// environments reads Environments, by Kubernetes namespace.
func (o *Options) environments() (map[string]string, error) {
	environments := make(map[string]string, len(o.Environments))
	places := make(map[string]string, len(o.Environments))
	for _, text := range o.Environments {
		of, place, ok := strings.Cut(text, "=")
		if !ok || !dnsLabel.MatchString(place) {
			return nil, fmt.Errorf("--kubernetes-environment: %q is not ORGANISATION/ENVIRONMENT=NAMESPACE", text)
		}
		if err := store.CheckNamespace(of); err != nil {
			return nil, fmt.Errorf("--kubernetes-environment: %q: %w", text, err)
		}
		if len(o.Namespaces) > 0 && !slices.Contains(o.Namespaces, place) {
			return nil, fmt.Errorf("--kubernetes-environment: %s is not watched: name it in --kubernetes-namespaces, too", place)
		}
		if other, taken := environments[place]; taken && other != of {
			return nil, fmt.Errorf("--kubernetes-environment: what stands in %s cannot be of %s and of %s", place, other, of)
		}
		if other, taken := places[of]; taken && other != place {
			return nil, fmt.Errorf("--kubernetes-environment: the Services of %s cannot be made in %s and in %s", of, other, place)
		}
		environments[place], places[of] = of, place
	}
	return environments, nil
}

// Labels reports whether labels of Kubernetes namespaces say whose is what
// stands in them.
func (c *Cluster) Labels() bool { return c.labels }

// Writer returns the options of what is written to the cluster.
func (c *Cluster) Writer() kube.Options {
	return kube.Options{
		Client: c.Client, Home: c.home, Installation: c.installation, Environments: c.Environments, Watch: c.Namespaces, Services: c.services,
		Ingress: c.ingress,
	}
}
