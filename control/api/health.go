// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"

	"github.com/sluice-mesh/sluice/control/auth"
)

// healthRoutes are those of health.
func (a *API) healthRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/health/gateways/{gateway...}/routes/{route...}", need: auth.Viewer, serve: (*call).health},
		{method: http.MethodGet, path: "/health/gateways/{gateway...}", need: auth.Viewer, serve: (*call).health},
	}
}

// health answers 0 if something of a gateway or route ended in 5xx lately,
// else 1, as Vamp did. Without traffic it is well.
func (c *call) health() error {
	f, err := c.figuresOf(c.param("gateway"), c.param("route"))
	if err != nil {
		return err
	}
	return c.bare(f.Health())
}
