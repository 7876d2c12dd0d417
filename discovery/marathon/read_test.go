// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"maps"
	"slices"
)

func ids(apps map[string]*app) []string { return slices.Sorted(maps.Keys(apps)) }
