// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/control/store"
)

// Writers that come together share the two syncs of a commit: "commits/op"
// is 1 for one writer and falls towards 1/n for n of them.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d writers", writers), func(b *testing.B) {
			commits := 0
			s := open(b, b.TempDir(), store.Options{}.At(func(point string) {
				if point == "after sync" {
					commits++
				}
			}))
			text := strings.Repeat("x", 1000)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if _, err := store.Put(b.Context(), s, gateway(strconv.Itoa(w)), text, store.Any, "ada"); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(commits)/float64(b.N), "commits/op")
		})
	}
}
