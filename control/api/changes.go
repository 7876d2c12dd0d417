// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/stream"
)

// changeRoutes tell what became of changes.
func (a *API) changeRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/changes/{id}", need: auth.Viewer, serve: (*call).change},
	}
}

// change answers how far a change has come.
func (c *call) change() error {
	id, err := strconv.ParseUint(c.param("id"), 10, 64)
	if err != nil || id == 0 {
		return refuse(http.StatusNotFound, "a change is a number, as writes answer in Sluice-Change")
	}
	wait, err := c.wait()
	if err != nil {
		return err
	}
	at, err := c.api.o.Store.Version(c.ctx())
	if err != nil {
		return err
	}
	if id > at.Revision {
		return refuse(http.StatusNotFound, "change "+strconv.FormatUint(id, 10)+" was not made yet")
	}
	known, ok := c.api.o.Proxies.Convergence(id)
	if wait > 0 {
		ctx, cancel := context.WithTimeout(c.ctx(), wait)
		defer cancel()
		reached, err := c.api.o.Proxies.Wait(ctx, id)
		if err != nil && ctx.Err() == nil {
			return err
		}
		known, ok = reached, true
	}
	if !ok {
		// It is stored, and planned soon or long ago.
		known = stream.Convergence{Change: id, State: stream.Pending}
		if id <= c.api.planned.Load() {
			return stream.ErrForgotten
		}
	}
	if known.Namespace != "" && known.Namespace != c.ns {
		return refuse(http.StatusNotFound, "change "+strconv.FormatUint(id, 10)+" is of another namespace")
	}
	return c.answer(http.StatusOK, known)
}
