// SPDX-License-Identifier: Apache-2.0

package tcp

import "testing"

func TestRandomIsDrawnOnceAConnection(t *testing.T) {
	seen := map[uint32]bool{}
	for range 64 {
		r := new(request)
		first := r.Random()
		for range 3 {
			if got := r.Random(); got != first {
				t.Fatalf("Random() = %d after %d of the same connection", got, first)
			}
		}
		seen[first] = true
	}
	if len(seen) < 60 { // fewer than 5 equal pairs in 64 of 2^32, for certain
		t.Errorf("64 connections drew %d numbers", len(seen))
	}
}
