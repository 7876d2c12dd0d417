// SPDX-License-Identifier: Apache-2.0

//go:build race || !(amd64 || arm64)

package socket

import "sync/atomic"

func storeDue(due *atomic.Int64, at int64) { due.Store(at) }
