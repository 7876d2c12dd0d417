// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"testing"
	"unsafe"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// What requests write shares no pair of cache lines with anything else if it is
// of 128 bytes, which Go aligns to as many; and there are as many of it as
// instances, so it is no larger.
func TestWhatRequestsWriteIsAPairOfCacheLines(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64 bits")
	}
	if n := unsafe.Sizeof(balance.Load{}); n != 128 {
		t.Errorf("a Load has %d bytes, want 128", n)
	}
	if upstream.MemberSize != 128 {
		t.Errorf("a member has %d bytes, want 128", upstream.MemberSize)
	}
}
