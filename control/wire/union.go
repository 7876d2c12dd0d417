// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// Union makes one table of several, under a version of its own. The gateways
// of each follow those of the one before; of gateways with the same name that
// of the first table counts. Nothing is translated anew. A single table is
// returned as it is if it has that version.
func Union(v routing.Version, tables ...*Table) *Table {
	if len(tables) == 1 && tables[0].version == v {
		return tables[0]
	}
	n := 0
	for _, t := range tables {
		n += len(t.named)
	}
	u := &Table{
		version: v, index: make(map[string]int, n),
		named: make([]*controlpb.Named, 0, n), from: make([]*routing.Gateway, 0, n),
	}
	for _, t := range tables {
		for i, named := range t.named {
			if _, hidden := u.index[named.GetName()]; !hidden {
				u.add(named, t.from[i])
			}
		}
	}
	seen := make(map[string]bool)
	for _, t := range tables {
		for _, name := range t.broken {
			if _, good := u.index[name]; !good && !seen[name] {
				seen[name] = true
				u.broken = append(u.broken, name)
			}
		}
	}
	return u
}
