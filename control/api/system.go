// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"strings"

	"github.com/sluice-mesh/sluice/control/auth"
)

// systemRoutes are those that are about the control plane itself.
func (a *API) systemRoutes() []route {
	routes := []route{
		{method: http.MethodGet, path: "/livez", root: true, open: true, serve: (*call).live},
		{method: http.MethodGet, path: "/readyz", root: true, open: true, serve: (*call).ready},
	}
	if a.o.Metrics != nil {
		routes = append(routes, route{method: http.MethodGet, path: "/metrics", root: true, need: auth.Viewer, serve: func(c *call) error {
			a.o.Metrics.ServeHTTP(c.w, c.r)
			return nil
		}})
	}
	return routes
}

// live answers whether the process should be left running.
func (c *call) live() error {
	text(c.w, http.StatusOK, "ok\n")
	return nil
}

// ready answers whether the control plane knows everything that it is to.
func (c *call) ready() error {
	status := http.StatusOK
	var b strings.Builder
	for _, r := range c.api.readiness() {
		mark := "[+] "
		if !r.OK {
			mark, status = "[-] ", http.StatusServiceUnavailable
		}
		b.WriteString(strings.TrimSuffix(mark+r.Name+": "+r.Detail, ": ") + "\n")
	}
	if status == http.StatusOK {
		b.WriteString("ok\n")
	} else {
		b.WriteString("not ready\n")
	}
	text(c.w, status, b.String())
	return nil
}
