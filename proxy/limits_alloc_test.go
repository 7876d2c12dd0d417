// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"fmt"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// TestLimitsDoNotAllocate holds it for an exchange that all limits look at.
func TestLimitsDoNotAllocate(t *testing.T) {
	const n = 20_000
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	const settings = `{limits: {
  requests: 10, instance_requests: 5, breaker: {errors: 50%, latency: "p99 > 10s"},
  rate: [{requests: 1000000}, {requests: 1000000, key: header(x-key)}, {requests: 1000000, key: cookie(user)}, {requests: 1000000, key: ip}]}}`
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf("{name: g, port: %d, sluice: %s, routes: {\"[%s]\": {}}}", p, settings, rawOrigin(t, 0, answer)))
	got, _ := allocating(t, p, n, "GET / HTTP/1.1\r\nHost: a\r\nX-Key: abc\r\nCookie: a=b; user=me\r\n\r\n", len(answer))
	if got > few {
		t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
	}
}
