// SPDX-License-Identifier: Apache-2.0

// Package balance chooses which instance of a route serves an exchange, and
// which ones come next if it cannot be reached.
package balance
