// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"log/slog"

	"github.com/sluice-mesh/sluice/cmd/internal/watched"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// Source is what a cluster says, and how the watching of it fares.
type Source struct {
	*watched.Source

	sure      func() bool
	ingresses *ingresses
	places    *places
}

// Source returns what the cluster says: what stands in no environment is of a
// namespace. It is remembered in a file; empty means that it is not.
func (c *Cluster) Source(namespace, file string, log *slog.Logger) *Source {
	i := &ingresses{known: make(map[string]kubernetes.IngressObject)}
	p := new(places)
	s := kubernetes.New(kubernetes.Options{
		Client: c.Client, Namespaces: c.Namespaces, Environments: c.Environments, File: file, Log: log,
		Namespace: namespace, NamespaceLabels: c.labels, Places: p.put,
		IngressClass: c.ingressClass, WithoutSecrets: !c.secrets, Ingress: i.put,
	})
	watches := func() (all []watched.Watch) {
		for _, w := range s.Watches() {
			all = append(all, watched.Watch{Resource: w.Resource, Objects: w.Objects, Held: w.Held, Stale: w.Stale})
		}
		return all
	}
	return &Source{watched.New(namespace, kubernetes.Origin, s, watches), s.Sure, i, p}
}

// Sure reports whether it can be told which gateways the cluster does not ask
// for.
func (s *Source) Sure() bool { return s.sure() }
