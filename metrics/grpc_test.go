// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestCallsOfGRPCAreCountedByStatus(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answered uint8 // one more than the status
		want     metrics.GRPCStatus
		label    string
	}{
		{"success", 1, 0, "OK"},
		{"a deadline", 5, 4, "DEADLINE_EXCEEDED"},
		{"no instance", 15, 14, "UNAVAILABLE"},
		{"the last that gRPC defines", 17, 16, "UNAUTHENTICATED"},
		{"the first that it does not", 18, metrics.GRPCOther, "other"},
		{"the largest number", 255, metrics.GRPCOther, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			route := metrics.New(metrics.Options{Shards: 4}).Gateway("shop").Route("cart")
			for shard := range uint32(8) {
				route.Begin(shard)
				route.End(shard, &metrics.Observation{Code: 200, GRPC: tt.answered})
			}
			var want [metrics.GRPCStatuses]uint64
			want[tt.want] = 8
			if got, ever := route.ReadGRPC(); got != want || !ever {
				t.Errorf("ReadGRPC() = %v, %t after 8 calls, want %v, true", got, ever, want)
			}
			if got := tt.want.String(); got != tt.label {
				t.Errorf("status %d reads %q, want %q", tt.want, got, tt.label)
			}
		})
	}
}

func TestRoutesWithoutCallsShowNone(t *testing.T) {
	route := metrics.New(metrics.Options{}).Gateway("shop").Route("cart")
	route.Begin(0)
	route.End(0, &metrics.Observation{Code: 200})
	if got, ever := route.ReadGRPC(); ever {
		t.Errorf("ReadGRPC() = %v, true without a call, want false", got)
	}
}

func TestCallsThatEndAtOnceAreAllCounted(t *testing.T) {
	route := metrics.New(metrics.Options{Shards: 2}).Gateway("shop").Route("cart")
	var all sync.WaitGroup
	for shard := range uint32(8) {
		all.Go(func() {
			for range 100 {
				route.Begin(shard)
				route.End(shard, &metrics.Observation{Code: 200, GRPC: 1})
			}
		})
	}
	all.Wait()
	if got, _ := route.ReadGRPC(); got[0] != 800 {
		t.Errorf("%d calls were counted, want 800", got[0])
	}
}

func TestCountingACallDoesNotAllocate(t *testing.T) {
	route := metrics.New(metrics.Options{}).Gateway("shop").Route("cart")
	o := metrics.Observation{Code: 200, GRPC: 15}
	call := func() {
		route.Begin(0)
		route.End(0, &o)
	}
	call()
	if n := testing.AllocsPerRun(100, call); n != 0 {
		t.Errorf("a call makes %v allocations, want none", n)
	}
}
