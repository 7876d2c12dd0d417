// SPDX-License-Identifier: Apache-2.0

//go:build slow

package siege

import "time"

// How large and long the sieges are that docs/security.md speaks of.
const (
	overloadTime = 30 * time.Second
	idlers       = 10_000
	drippers     = 1_000
	sippers      = 200
)
