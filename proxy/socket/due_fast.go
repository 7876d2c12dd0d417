// SPDX-License-Identifier: Apache-2.0

//go:build !race && (amd64 || arm64)

package socket

import (
	"sync/atomic"
	"unsafe"
)

// storeDue stores without the fence of an atomic store, which waits until all
// stores before it are in the cache: a deadline moves four times a request,
// and nothing is ordered by it. An aligned word is written at once on these
// processors (Intel SDM volume 3, section 9.1.1; Arm ARM, section B2.2.1).
func storeDue(due *atomic.Int64, at int64) { *(*int64)(unsafe.Pointer(due)) = at }
