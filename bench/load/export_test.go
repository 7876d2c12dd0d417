// SPDX-License-Identifier: Apache-2.0

package load

import "context"

// RunOnGoroutines is Run as it is where there is no epoll.
func RunOnGoroutines(ctx context.Context, p Plan, progress func(Progress)) (*Result, error) {
	return runOn(ctx, p, progress, func(r *run, t target) (engine, error) { return newGoroutines(r, t), nil })
}

// ReadSummary reads what h2load prints.
var ReadSummary = readSummary
