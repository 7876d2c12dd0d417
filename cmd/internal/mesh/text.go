// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"context"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Text is a source that says one text, once. It implements discovery.Source.
type Text struct {
	Name string // names the text in faults
	YAML []byte
}

// Run implements discovery.Source.
func (t Text) Run(ctx context.Context, sink func(discovery.Batch)) error {
	docs, faults := routing.Read(t.Name, t.YAML)
	sink(discovery.Batch{
		Updates: []discovery.Update{{Key: t.Name, Documents: docs, Faults: faults}},
		Listed:  true,
	})
	<-ctx.Done()
	return nil
}
