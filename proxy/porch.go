// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"time"
)

// awakeFor is how long a listener to which nobody comes keeps its goroutine.
const awakeFor = 10 * time.Second

// staysAwake returns how long a listener to which nobody comes keeps its
// goroutine.
func (p *porch) staysAwake() time.Duration { return cmp.Or(p.awake, awakeFor) }
