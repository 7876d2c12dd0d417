// SPDX-License-Identifier: Apache-2.0

package load

import (
	"fmt"
)

// longestCycle bounds the schedule of a mix, which is held in memory.
const longestCycle = 1 << 16

// mix draws the kinds of requests. It is a cycle that holds each kind as often
// as its weight says, as far apart as possible.
type mix struct {
	cycle []int32
	at    int
}

// newMix builds the cycle by smooth weighted round robin: each step all kinds
// gain their weight, and the richest is drawn and pays for all. After as many
// steps as the weights sum up to, each was drawn exactly its weight.
func newMix(requests []Request) (mix, error) {
	var divisor int
	for _, r := range requests {
		divisor = gcd(divisor, r.Weight)
	}
	weights := make([]int, len(requests))
	var sum int
	for i, r := range requests {
		weights[i] = r.Weight / divisor
		if sum += weights[i]; sum > longestCycle {
			return mix{}, fmt.Errorf("load: the weights of the mix need a cycle of more than %d requests", longestCycle)
		}
	}
	m := mix{cycle: make([]int32, sum)}
	if sum == len(weights) { // all alike
		for i := range m.cycle {
			m.cycle[i] = int32(i)
		}
		return m, nil
	}
	wealth := make([]int, len(weights))
	for n := range m.cycle {
		richest := 0
		for i := range wealth {
			if wealth[i] += weights[i]; wealth[i] > wealth[richest] {
				richest = i
			}
		}
		wealth[richest] -= sum
		m.cycle[n] = int32(richest)
	}
	return m, nil
}

// next returns the index of the request that comes next.
func (m *mix) next() int32 {
	i := m.cycle[m.at]
	if m.at++; m.at == len(m.cycle) {
		m.at = 0
	}
	return i
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
