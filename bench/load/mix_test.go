// SPDX-License-Identifier: Apache-2.0

package load

import (
	"slices"
	"testing"
)

func requestsOf(weights ...int) []Request {
	requests := make([]Request, len(weights))
	for i, w := range weights {
		requests[i] = Request{Weight: w, Wire: []byte("x")}
	}
	return requests
}

func TestMixIsExactAndSmooth(t *testing.T) {
	for _, weights := range [][]int{{1}, {7}, {1, 1, 1}, {5, 1, 1}, {60, 30, 10}, {9999, 1}, {3, 0 + 5, 7, 11}, {200, 100}} {
		m, err := newMix(requestsOf(weights...))
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, w := range weights {
			sum += w
		}
		drawn := make([]int, len(weights))
		for n := 1; n <= 2*sum; n++ {
			drawn[m.next()]++
			for i, w := range weights {
				if due := float64(n) * float64(w) / float64(sum); float64(drawn[i])-due >= float64(len(weights)) || due-float64(drawn[i]) >= float64(len(weights)) {
					t.Fatalf("weights %v: after %d draws %v; kind %d is due %v", weights, n, drawn, i, due)
				}
			}
			if n%sum == 0 {
				for i, w := range weights {
					if drawn[i] != w*(n/sum) {
						t.Fatalf("weights %v: after %d draws %v", weights, n, drawn)
					}
				}
			}
		}
	}
}

func TestMixOrder(t *testing.T) {
	m, err := newMix(requestsOf(10, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{0, 0, 1, 0, 2, 0, 0}; !slices.Equal(m.cycle, want) {
		t.Errorf("cycle = %v, want %v", m.cycle, want)
	}
	if _, err := newMix(requestsOf(longestCycle, 1)); err == nil {
		t.Errorf("a mix whose cycle is too long is accepted")
	}
}
