// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package proxy

import (
	"context"
	"time"
)

// porch has no room here: each listener keeps a goroutine.
type porch struct{ awake time.Duration }

func (*porch) enter(*listener) bool { return false }

func (*porch) again(*listener) bool { return false }

func (*porch) leave(*listener) {}

func (*porch) run(ctx context.Context, _ func(*listener)) { <-ctx.Done() }

func (*porch) close() {}
