// SPDX-License-Identifier: Apache-2.0

package api

// metricRoutes are those of metrics.
func (a *API) metricRoutes() []route { return nil }
