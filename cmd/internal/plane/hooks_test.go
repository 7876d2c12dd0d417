// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/routing"
)

func TestWhatDiffersBetweenTablesIsTold(t *testing.T) {
	table := func(text string) *routing.Table {
		docs, faults := routing.Read("t", []byte(text))
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		resolved, _ := routing.Resolve(docs)
		return resolved
	}
	first := table(gateway("a") + "---\n" + gateway("b"))
	if got := plane.Differences(acme, first, first); len(got) != 0 {
		t.Errorf("of an equal table %d events are told, want none", len(got))
	}
	next := &routing.Table{Gateways: []*routing.Gateway{first.Gateways[0], table(gateway("c")).Gateways[0]}}
	var tags []string
	for _, e := range plane.Differences(acme, first, next) {
		if e.Namespace != acme {
			t.Errorf("an event is of %q, want %s", e.Namespace, acme)
		}
		tags = append(tags, e.Tags...)
	}
	for _, want := range []string{"deployed", "undeployed", "gateways:c", "gateways:b"} {
		if !slices.Contains(tags, want) {
			t.Errorf("the tags are %q, want %s among them", tags, want)
		}
	}
	if slices.Contains(tags, "gateways:a") {
		t.Errorf("the tags are %q, want nothing of a gateway that stays", tags)
	}
}
