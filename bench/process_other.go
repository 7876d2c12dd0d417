// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package bench

import (
	"math"
	"time"
)

// processCPU returns zero: this system is not asked for CPU times.
func processCPU() time.Duration { return 0 }

// fileLimit returns no limit: this system is not asked for one.
func fileLimit() uint64 { return math.MaxUint64 }
