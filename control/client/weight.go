// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// ParseWeight reads a percentage with at most two decimals, from 0 to 100,
// such as 50, 50% or 12.5%.
func ParseWeight(text string) (routing.Weight, error) {
	wrong := fmt.Errorf("%.40q is not a percentage from 0 to 100, such as 50%% or 12.5%%", text)
	digits := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%"))
	whole, part, point := strings.Cut(digits, ".")
	if len(whole) == 0 || len(whole) > 3 || len(part) > 2 || point && part == "" {
		return 0, wrong
	}
	n, err := strconv.ParseUint(whole+(part + "00")[:2], 10, 32)
	if err != nil || n > uint64(routing.FullWeight) {
		return 0, wrong
	}
	return routing.Weight(n), nil
}
