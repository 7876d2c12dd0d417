// SPDX-License-Identifier: Apache-2.0

package live_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/proxy/live"
)

func TestCallsAreToldOfReasonsByAStatusOfTheirOwn(t *testing.T) {
	for _, tt := range []struct {
		reason live.Reason
		status int
		want   uint8
	}{
		{live.NoReadyInstance, 503, 14},
		{live.NoRoute, 503, 14},
		{live.NoRoute, 404, 12},
		{live.ConnectRefused, 502, 14},
		{live.ResponseTimeout, 504, 4},
		{live.RateLimited, 429, 8},
		{live.BodyTooLarge, 413, 8},
		{live.BadRequest, 400, 13},
		{live.RequestAborted, 400, 1},
		{live.InternalError, 500, 13},
	} {
		t.Run(tt.reason.String(), func(t *testing.T) {
			if got := tt.reason.GRPC(tt.status); got != tt.want {
				t.Errorf("%v.GRPC(%d) = %d, want %d", tt.reason, tt.status, got, tt.want)
			}
			if got := live.CallStatus(tt.reason.String(), tt.status); got != tt.want {
				t.Errorf("CallStatus(%q, %d) = %d, want %d", tt.reason, tt.status, got, tt.want)
			}
		})
	}
	if got := live.CallStatus("no such reason", 503); got != 14 {
		t.Errorf("CallStatus of an unknown reason = %d, want that of its HTTP status, 14", got)
	}
}
