// SPDX-License-Identifier: Apache-2.0

package api

// eventRoutes are those of events.
func (a *API) eventRoutes() []route { return nil }
