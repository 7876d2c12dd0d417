// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
)

// Sessions share an update. If a fault of ours keeps the first of them from
// making it, the others must not take it for one without gateways.
func TestAnUpdateThatCouldNotBeMadeIsNotAnEmptyOne(t *testing.T) {
	get := stream.NewParcel(func() *controlpb.Update { panic("a fault of ours") })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the fault was swallowed")
			}
		}()
		_, _ = get()
	}()
	for range 2 {
		if n, err := get(); err == nil || n != 0 {
			t.Errorf("another session gets %d messages and error %v, want an error", n, err)
		}
	}
}
