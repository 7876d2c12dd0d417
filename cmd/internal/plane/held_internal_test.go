// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
)

// Inside, since what a planner holds back takes a minute to come about.
func TestAbsencesAreToldOnce(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	held := func(key string, since time.Time) planner.Object {
		return planner.Object{Key: key, Held: &planner.Held{Why: "it is empty", Since: since}}
	}
	status := func(objects ...planner.Object) []planner.Status {
		return []planner.Status{{Namespace: "default/default", Objects: objects}}
	}
	var told map[absence]bool
	for _, step := range []struct {
		name string
		list []planner.Status
		want string
	}{
		{"nothing is", status(planner.Object{Key: "a.yaml"}), "[]"},
		{"one is", status(held("a.yaml", at)), "[a.yaml]"},
		{"it still is, and another", status(held("a.yaml", at), held("b.yaml", at)), "[b.yaml]"},
		{"one is no more", status(held("b.yaml", at)), "[]"},
		{"it is again", status(held("a.yaml", at.Add(time.Hour)), held("b.yaml", at)), "[a.yaml]"},
		{"a whole namespace", []planner.Status{{Namespace: "acme/test", Held: &planner.Held{Why: "the store came back empty"}}}, "[acme/test]"},
	} {
		list, next := heldBack(step.list, told)
		told = next
		got := []string{}
		for _, e := range list {
			var what string
			if _, err := fmt.Sscanf(e.Data, `{"what":%q,`, &what); err != nil {
				t.Fatalf("%s: %s: %v", step.name, e.Data, err)
			}
			got = append(got, what)
		}
		if fmt.Sprint(got) != step.want {
			t.Errorf("%s: told of %v, want %s", step.name, got, step.want)
		}
	}
}
