// SPDX-License-Identifier: Apache-2.0

package routing

// Split is a compiled weighted choice.
type Split struct{}
