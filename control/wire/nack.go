// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// maxReasons is how many reasons a Nack has.
const maxReasons = 10

// Nack returns what a proxy says of a form of a gateway that routing.Compile
// refuses: the first ten of its faults. Warnings do not count.
func Nack(gateway string, h Hash, v routing.Version, faults []*routing.Fault) *controlpb.Nack {
	n := newNack(gateway, h, v)
	for _, f := range faults {
		if f.Severity == routing.Warning {
			continue
		}
		add(n, &controlpb.Reason{At: fromPosition(f.At), Path: f.Path, Problem: f.Problem, Allowed: f.Allowed, Code: f.Code})
	}
	return n
}

// Nack returns what a proxy says of a form that it cannot read.
func (r *Refusal) Nack(v routing.Version) *controlpb.Nack {
	n := newNack(r.Gateway, r.Hash, v)
	errs := []error{r.Err}
	if joined, ok := r.Err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	for _, err := range errs {
		reason := &controlpb.Reason{Problem: err.Error(), Code: "UnreadableMessage"}
		if at, ok := err.(*FieldError); ok { //nolint:errorlint // as above
			reason.Path, reason.Problem = at.Field, at.Problem
		}
		add(n, reason)
	}
	return n
}

func newNack(gateway string, h Hash, v routing.Version) *controlpb.Nack {
	return &controlpb.Nack{Gateway: &controlpb.Held{Gateway: gateway, Hash: h[:]}, Version: FromVersion(v)}
}

func add(n *controlpb.Nack, r *controlpb.Reason) {
	if len(n.Reasons) == maxReasons {
		n.More++
		return
	}
	n.Reasons = append(n.Reasons, r)
}
