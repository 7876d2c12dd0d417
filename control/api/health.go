// SPDX-License-Identifier: Apache-2.0

package api

// healthRoutes are those of health.
func (a *API) healthRoutes() []route { return nil }
