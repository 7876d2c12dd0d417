// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
)

// DiskAlone is where tables and the journal of starts are kept.
type DiskAlone struct{ d *disk }

// NewDiskAlone returns a DiskAlone that tells what fails.
func NewDiskAlone(failed func(error)) DiskAlone {
	return DiskAlone{newDisk(new(lastgood.Keeper), failed)}
}

// Note has a line of the journal written.
func (d DiskAlone) Note(write func() error) { d.d.note(write) }

// Run keeps tables until ctx ends.
func (d DiskAlone) Run(ctx context.Context) { d.d.run(ctx) }
