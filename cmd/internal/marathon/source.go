// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"log/slog"

	"github.com/sluice-mesh/sluice/cmd/internal/watched"
	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// Cluster is a Marathon that a process watches.
type Cluster struct {
	// Environments tell by group whose are the apps below it.
	Environments map[string]string

	options marathon.Options
}

// Source returns what Marathon says: apps in no environment are of a namespace.
// It is remembered in a file; empty means that it is not.
func (c *Cluster) Source(namespace, file string, log *slog.Logger) (*watched.Source, error) {
	o := c.options
	o.File, o.Log = file, log
	s, err := marathon.New(o)
	if err != nil {
		return nil, fmt.Errorf("--marathon: %w", err)
	}
	watches := func() (all []watched.Watch) {
		for _, w := range s.Watches() {
			all = append(all, watched.Watch{Resource: w.Resource, Objects: w.Objects, Held: w.Held, Stale: w.Stale})
		}
		return all
	}
	return watched.New(namespace, marathon.Origin, s, watches), nil
}
