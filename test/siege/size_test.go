// SPDX-License-Identifier: Apache-2.0

//go:build !slow

package siege

import "time"

// How large and long the sieges of make test are: a tenth of what is promised.
const (
	overloadTime = 3 * time.Second
	idlers       = 1_000
	drippers     = 100
	sippers      = 20
)
