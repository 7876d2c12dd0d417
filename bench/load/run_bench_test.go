// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

// BenchmarkRun measures a closed loop of 64 connections together with the
// server, which is in the same process.
func BenchmarkRun(b *testing.B) {
	for name, engine := range map[string]onEngine{
		"plaintext": {run: load.Run}, "goroutines": {run: load.RunOnGoroutines}, "TLS": {run: load.Run, secure: true},
	} {
		b.Run(name, func(b *testing.B) {
			s := listen(b, engine.secure, answerReads)
			p := load.Plan{Address: s.address, TLS: s.tls, Mix: mixOf(get("/")), Requests: int64(b.N), Duration: time.Hour}
			b.ReportAllocs()
			b.ResetTimer()
			if r, err := engine.run(b.Context(), p, nil); err != nil || r.Requests != int64(b.N) {
				b.Fatal(r, err)
			}
		})
	}
}
