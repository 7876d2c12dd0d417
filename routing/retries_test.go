// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

func TestStatusesAreASet(t *testing.T) {
	var s routing.Statuses
	if !s.Empty() || s.String() != "" {
		t.Errorf("the empty set is %q", s.String())
	}
	for _, status := range []int{599, 400, 503, 463, 464, 503} {
		s.Add(status)
	}
	if got, want := s.String(), "400, 463, 464, 503, 599"; got != want || s.Empty() {
		t.Errorf("the set is %q, want %q", got, want)
	}
	for status := -100; status < 1000; status++ {
		want := status == 400 || status == 463 || status == 464 || status == 503 || status == 599
		if got := s.Has(status); got != want {
			t.Errorf("Has(%d) = %v, want %v", status, got, want)
		}
	}
}

func TestRetriesAreAllowedByTheRequestsUnderWay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		asked  routing.Retries
		active uint64
		want   int64
	}{
		{"a lonely one", routing.DefaultRetries(), 1, 3},
		{"a fifth begins at five", routing.DefaultRetries(), 5, 4},
		{"a fifth, rounded down", routing.DefaultRetries(), 99, 22},
		{"nothing", routing.Retries{Attempts: 2}, 1000, 0},
		{"a fine share", routing.Retries{Budget: 50}, 1000, 5},
		{"all", routing.Retries{Budget: routing.FullWeight}, 1000, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.asked.Allowed(tt.active); got != tt.want {
				t.Errorf("%+v: Allowed(%d) = %d, want %d", tt.asked, tt.active, got, tt.want)
			}
		})
	}
}

func TestDeclaredMethodsAreRepeated(t *testing.T) {
	r := routing.Retries{Methods: [routing.MaxRetryMethods]string{"PUT", "BUY"}}
	for method, want := range map[string]bool{"PUT": true, "BUY": true, "POST": false, "put": false, "": false} {
		if got := r.Repeats(method); got != want {
			t.Errorf("Repeats(%q) = %v, want %v", method, got, want)
		}
	}
}
