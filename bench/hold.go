// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	"github.com/sluice-mesh/sluice/bench/load"
)

// spareFiles is how many descriptors a process needs beside those of the
// connections that are counted: listeners, logs, connections to instances.
const spareFiles = 300

// hold measures how much memory idle connections take. All proxies are idle
// at the same time, so that the wait is paid once.
func (s *suite) hold(ctx context.Context, contenders []contender, result *RowResult, tell teller) error {
	n := idleCount(len(contenders), fileLimit())
	if n < 1 {
		return fmt.Errorf("the limit of %d open files leaves none for idle connections; raise it with ulimit -n", fileLimit())
	}
	result.Connections = n
	before := make([]int64, len(contenders))
	var held []*load.Held
	defer func() {
		for _, h := range held {
			h.Close()
		}
	}()
	for i, c := range contenders {
		tell("%s: %d connections", c.name, n)
		if _, err := s.offer(ctx, c.plan, s.o.Round/2); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		var err error
		if before[i], err = c.process.Memory(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		h, err := load.Hold(ctx, c.plan, n)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		held = append(held, h)
	}
	tell("%d connections at each proxy are idle for %v", n, s.o.Settle)
	if err := pause(ctx, s.o.Settle); err != nil {
		return err
	}
	for i, c := range contenders {
		after, err := c.process.Memory()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		p := &result.Proxies[i]
		p.Rounds = []Measurement{{Memory: after}}
		p.PerConnection = float64(after-before[i]) / float64(n)
	}
	return nil
}

// idleCount returns how many connections can be idle at each of some proxies.
// The generator has one end of them all; a proxy has one end of its own, and
// may keep one to an instance for each.
func idleCount(proxies int, limit uint64) int {
	if limit < spareFiles {
		return 0
	}
	usable := int(min(limit, 1<<30)) - spareFiles
	return min(idleConnections, usable/max(proxies, 1), usable/2)
}
