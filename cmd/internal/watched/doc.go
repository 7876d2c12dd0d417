// SPDX-License-Identifier: Apache-2.0

// Package watched is a source that watches something which may not answer, such
// as a cluster, and shows how that fares.
package watched
