// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/kube"
)

// clusterWriter writes to a cluster.
type clusterWriter = kube.Writer

// openKubernetes makes what writes to the cluster, if there is one.
func (p *Plane) openKubernetes() (err error) {
	if p.o.Cluster == nil {
		return nil
	}
	o := p.o.Cluster.Writer()
	o.Namespace, o.Plans, o.Deployed, o.Registry, o.Log = p.o.Namespace, p.planner, p.deployed, p.registry, p.log
	o.Sure = p.sure
	if p.writer, err = kube.New(o); err != nil {
		return err
	}
	p.cluster.Places(p.writer.PutPlaces)
	p.cluster.Ingresses(p.writer.PutIngress)
	return nil
}

// sure reports whether it can be told which gateways there are not: all sources
// were listed, and are heard of.
func (p *Plane) sure() bool {
	return isClosed(p.source.over) && p.cluster.Sure() && (p.marathon == nil || p.marathon.Stale() == "")
}

// writeKubernetes writes to the cluster until ctx ends.
func (p *Plane) writeKubernetes(ctx context.Context) error {
	if p.writer == nil {
		<-ctx.Done()
		return nil
	}
	return p.writer.Run(ctx)
}

// look has objects of the cluster told where their gateways are served now.
func (p *Plane) look() {
	if p.writer != nil {
		p.writer.Look()
	}
}

// deployed tells where a gateway is served.
func (p *Plane) deployed(namespace, gateway string) kube.Deployment {
	d := p.stream.Deployed(namespace, gateway)
	out := kube.Deployment{Proxies: d.Proxies, Served: d.Served, Refused: d.Fault}
	for _, r := range d.Refused {
		if out.Refused == "" && len(r.Reasons) > 0 {
			out.Refused = r.Node + ": " + r.Reasons[0].String()
		}
	}
	return out
}

// serviceOf tells of the Service of a gateway.
func (p *Plane) serviceOf(namespace, gateway string) api.Service {
	out := api.Service{Fault: p.writer.Trouble(namespace, gateway)}
	if a, ok := p.writer.Service(namespace, gateway); ok {
		out.Host, out.Port, out.NodePort = a.Host, a.Port, a.NodePort
	}
	return out
}
