// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
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
		list, next, more := heldBack(step.list, told)
		told = next
		if more {
			t.Errorf("%s: there are more", step.name)
		}
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

func TestAbsencesAreAllToldInTime(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	const all = 2*maxHeld + 7
	objects := make([]planner.Object, all)
	for i := range objects {
		objects[i] = planner.Object{Key: fmt.Sprint("file-", i), Held: &planner.Held{Why: "it is empty", Since: at}}
	}
	list := []planner.Status{{Namespace: "default/default", Objects: objects}}
	var told map[absence]bool
	seen, looks := make(map[string]bool), 0
	for more := true; more; looks++ {
		var fresh []store.Event
		fresh, told, more = heldBack(list, told)
		if len(fresh) > maxHeld {
			t.Errorf("one look tells of %d, more than %d", len(fresh), maxHeld)
		}
		for _, e := range fresh {
			seen[e.Data] = true
		}
		if looks > all {
			t.Fatal("there is always more")
		}
	}
	if len(seen) != all || looks != 3 {
		t.Errorf("%d looks told of %d, want 3 and %d", looks, len(seen), all)
	}
	if fresh, _, more := heldBack(list, told); len(fresh) > 0 || more {
		t.Errorf("%d are told again", len(fresh))
	}
}
