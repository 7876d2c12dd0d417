// SPDX-License-Identifier: Apache-2.0

package artifacts_test

import (
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// Whatever a text says, an artifact is the one document that its key names, or
// it is refused, with the place.
func FuzzUpdate(f *testing.F) {
	for _, text := range []string{
		gateway("x"), "", "{", "name: y\n", "kind: conditions\nname: x\n", "- name: x\n- name: x\n",
		gateway("x") + "---\n" + gateway("x"), "name: x\nname: y\n", "name: [x]\n", "# nothing\n", "null", "[]",
	} {
		f.Add("gateways", text)
		f.Add("conditions", text)
	}
	f.Fuzz(func(t *testing.T, kind, text string) {
		k := store.Key{Namespace: acme, Kind: kind, Name: "x"}
		if !slices.Contains(store.Kinds(), kind) {
			k.Kind = "gateways"
		}
		u := artifacts.Update(k, text)
		if u.Gone || u.Held != nil || len(u.Kept) > 0 || u.Key != artifacts.Key(k) {
			t.Fatalf("Update(%q) = %+v, want documents and faults alone", text, u)
		}
		refused := slices.ContainsFunc(u.Faults, func(f *routing.Fault) bool { return f.Severity == routing.Refused })
		switch {
		case len(u.Documents) > 1:
			t.Fatalf("Update(%q) has %d documents, want one at most", text, len(u.Documents))
		case len(u.Documents) == 0 && !refused:
			t.Fatalf("Update(%q) says nothing, and nothing is refused: %v", text, u.Faults)
		case len(u.Documents) == 1 && (u.Documents[0].Kind != k.Kind || u.Documents[0].Name != k.Name):
			t.Fatalf("Update(%q) is about %s %q, want what the key names", text, u.Documents[0].Kind, u.Documents[0].Name)
		}
		for _, f := range u.Faults {
			if f.At.Source != u.Key {
				t.Fatalf("Update(%q): the fault %v is in %q, want the key", text, f, f.At.Source)
			}
		}
	})
}
