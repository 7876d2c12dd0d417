// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"math"
	"testing"

	"github.com/sluice-mesh/sluice/bench"
)

func TestTwoKilobytesOfHeaders(t *testing.T) {
	size := 0
	for _, f := range bench.TwoKilobytes() {
		size += len(f.Name + ": " + f.Value + "\r\n")
	}
	if size != 2048 {
		t.Errorf("the header fields take %d bytes, want 2048", size)
	}
}

func TestIdleCount(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proxies int
		limit   uint64
		want    int
	}{
		{"as many as are wanted where files are no limit", 3, math.MaxUint64, 5000},
		{"as many as are wanted with just enough files", 3, 15_300, 5000},
		{"all proxies share the generator's files", 3, 3300, 1000},
		{"a proxy alone may need two files for each", 1, 1300, 500},
		{"none where the limit is lower than what else is needed", 3, 256, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := bench.IdleCount(tt.proxies, tt.limit); got != tt.want {
				t.Errorf("idleCount(%d, %d) = %d, want %d", tt.proxies, tt.limit, got, tt.want)
			}
		})
	}
}
