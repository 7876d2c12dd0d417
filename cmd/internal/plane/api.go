// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/metrics/prom"
)

// openAPI makes the API over the other parts.
func (p *Plane) openAPI() error {
	build := boot.ReadBuild()
	p.registry.BuildInfo(build.Version, build.Revision)
	o := api.Options{
		Store: p.store, Plans: p.planner, Proxies: p.stream, Book: p.book, Events: p.events,
		Metrics: prom.Handler(p.registry, p.book), Registry: p.registry,
		Confirm: p.confirm, Ready: p.readiness,
		Node: p.o.Node, Build: build.Version,
		Tokens: p.tokens, Log: p.log,
	}
	if p.writer != nil {
		o.Services = p.serviceOf
	}
	if p.creds != nil {
		var err error
		if o.TLS, err = p.creds.Server("http/1.1"); err != nil {
			return fmt.Errorf("--credentials: %w", err)
		}
	}
	var err error
	p.api, err = api.New(o)
	return err
}
