// SPDX-License-Identifier: Apache-2.0

package api

// artifactRoutes are those of stored documents.
func (a *API) artifactRoutes() []route { return nil }
