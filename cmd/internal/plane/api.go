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
		Metrics: prom.Handler(p.registry),
		Confirm: p.confirm, Ready: p.ready,
		Node: p.o.Node, Build: build.Version,
		Tokens: p.tokens, Log: p.log,
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

// ready returns what must hold before the API takes writes: that the first
// plan is out, which takes the listings of all sources.
func (p *Plane) ready() []api.Readiness {
	r := api.Readiness{Name: "sources", Detail: "not all sources have told what they have"}
	select {
	case <-p.first:
		r.OK, r.Detail = true, ""
	default:
	}
	return []api.Readiness{r}
}
