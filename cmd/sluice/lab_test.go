// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/sluice-mesh/sluice/cmd/internal/shop"
)

func TestSummary(t *testing.T) {
	sales := func(sent, failed, old, fresh int64) shop.Sales {
		return shop.Sales{Sent: sent, Failed: failed, Served: map[string]int64{"1.0.0": old, "1.1.0": fresh}}
	}
	for _, tt := range []struct {
		name      string
		now, last shop.Sales
		want      string
	}{
		{
			"shares are those of the time between two looks",
			sales(300, 20, 240, 40), sales(100, 10, 80, 10),
			"customers: 20.0/s · 1.0.0 80 % · 1.1.0 15 % · failed 10",
		},
		{"no answers are said to be none", sales(7, 0, 7, 0), sales(7, 0, 7, 0), "customers: no answers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := summary(tt.now, tt.last); got != tt.want {
				t.Errorf("summary(%+v, %+v) = %q, want %q", tt.now, tt.last, got, tt.want)
			}
		})
	}
}
