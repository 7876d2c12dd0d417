// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"testing"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// batches is a source that tells what it holds, and can confirm one thing.
type batches []discovery.Batch

func (b batches) Run(_ context.Context, sink func(discovery.Batch)) error {
	for _, one := range b {
		sink(one)
	}
	return nil
}

func (batches) Confirm() int { return 1 }

func TestAsSaysWhatASourceLeavesOpen(t *testing.T) {
	var got []discovery.Batch
	one := []discovery.Update{{Key: "a"}}
	source := discovery.As("acme/prod", "files", batches{
		{Updates: []discovery.Update{{Key: "a"}, {Key: "b", Namespace: "own/one", Origin: "api"}}, Listed: true},
		{Updates: one},
		{Updates: []discovery.Update{{Key: "c", Instances: []*routing.Instance{{Name: "i"}}}}},
		{Updates: []discovery.Update{{Key: "c", Gone: true, Urgent: true}}},
		{Updates: one, Changes: []discovery.Change{{ID: 7}}},
	})
	if err := source.Run(t.Context(), func(b discovery.Batch) { got = append(got, b) }); err != nil {
		t.Fatal(err)
	}
	first := got[0]
	if u := first.Updates[0]; u.Namespace != "acme/prod" || u.Origin != "files" {
		t.Errorf("an update that says nothing is of %q from %q, want acme/prod from files", u.Namespace, u.Origin)
	}
	if u := first.Updates[1]; u.Namespace != "own/one" || u.Origin != "api" {
		t.Errorf("an update that says both is of %q from %q, want what it says", u.Namespace, u.Origin)
	}
	if !first.Listed || len(first.Changes) != 0 {
		t.Errorf("the first listing is told as %+v, want no changes", first)
	}
	for i, kind := range map[int]discovery.ChangeKind{1: discovery.Config, 2: discovery.Endpoints, 3: discovery.Endpoints} {
		if c := got[i].Changes; len(c) != 1 || c[0].ID != 0 || c[0].At.IsZero() || c[0].Kind != kind {
			t.Errorf("batch %d has the changes %+v, want one of kind %v", i, c, kind)
		}
	}
	if c := got[4].Changes; len(c) != 1 || c[0].ID != 7 {
		t.Errorf("a change that the source names becomes %+v, want it as it is", c)
	}
	if u := got[3].Updates[0]; u.Namespace != "" || u.Origin != "" {
		t.Errorf("what is gone is told as %+v, want nothing beside", u)
	}
	if one[0].Origin != "" {
		t.Error("the source's own updates were changed")
	}
	c, ok := source.(discovery.Confirmer)
	if !ok || c.Confirm() != 1 {
		t.Error("Confirm does not ask the source")
	}
}
