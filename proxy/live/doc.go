// SPDX-License-Identifier: Apache-2.0

// Package live binds a snapshot to what lives: connection pools, series and
// the counters of splits. A Generation is the immutable frame around them; an
// exchange loads it once and uses it to the end.
package live
