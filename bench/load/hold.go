// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
)

// Held are connections that are open and idle.
type Held struct{}

// Hold opens n connections, sends one request on each and keeps them open.
func Hold(_ context.Context, p Plan, _ int) (*Held, error) {
	if _, err := p.checked(); err != nil {
		return nil, err
	}
	return nil, errUnbuilt
}

// Close ends them all.
func (h *Held) Close() {}
