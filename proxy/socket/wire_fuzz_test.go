// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// FuzzDivide divides bytes into records, at once and in pieces: both see the
// same number of them, and agree on whether the last one is whole.
func FuzzDivide(f *testing.F) {
	f.Add([]byte{23, 3, 3, 0, 2, 1, 2, 23, 3, 3, 0, 0, 23, 3}, uint8(1))
	f.Add([]byte{22, 3, 1, 0, 1, 1}, uint8(4))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		want, whole := 0, true
		for rest := b; len(rest) > 0; want++ {
			whole = len(rest) >= 5 && len(rest) >= 5+int(rest[3])<<8+int(rest[4])
			if !whole {
				break
			}
			rest = rest[5+int(rest[3])<<8+int(rest[4]):]
		}
		for _, n := range []int{len(b) + 1, int(size) + 1} {
			if got, ok := socket.Divide(b, n); got != want || ok != whole {
				t.Errorf("%d records in pieces of %d, the last one whole: %v; want %d, %v", got, n, ok, want, whole)
			}
		}
	})
}
