// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
)

// The ports of programs: below those that Linux chooses for connections, one
// of which would otherwise be there first now and then.
const lowest, highest = 20_000, 32_767

// freePorts returns n different ports of 127.0.0.1 that nothing listens on.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var found []int
	taken := make(map[int]bool)
	for range 1000 + 10*n {
		if len(found) == n {
			return found, nil
		}
		port := lowest + rand.IntN(highest-lowest)
		if taken[port] {
			continue
		}
		taken[port] = true
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback(port))
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			return nil, err
		}
		found = append(found, port)
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}
