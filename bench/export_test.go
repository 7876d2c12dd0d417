// SPDX-License-Identifier: Apache-2.0

package bench

// For tests of what is decided before anything runs.
var (
	IdleCount    = idleCount
	TwoKilobytes = twoKilobytes
)
