// SPDX-License-Identifier: Apache-2.0

// Package conditions is the language in which a gateway says when a route
// applies.
package conditions
