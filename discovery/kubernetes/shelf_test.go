// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// TestShelfHoldsBack plays what lists and watches say, one after the other.
func TestShelfHoldsBack(t *testing.T) {
	s := kubernetes.NewShelf()
	for _, step := range []struct {
		name string
		do   func() int
		held int
		want string
	}{
		{"a list is what there is", func() int { return s.Replace(map[string]string{"a": "1", "b": "1"}) }, 0, "a1 b1"},
		{"a list with others takes away what it lacks", func() int { return s.Replace(map[string]string{"b": "2", "c": "1"}) }, 0, "b2 c1"},
		{"an empty list takes nothing away", func() int { return s.Replace(nil) }, 2, "b2 c1"},
		{"nor does a second one", func() int { return s.Replace(nil) }, 2, "b2 c1"},
		{"what comes back is not missing any more", func() int { s.Put("b", "3"); return 0 }, 0, "b3 c1"},
		{"the rest is believed when it is confirmed", s.Release, 1, "b3"},
		{"which is done once", s.Release, 0, "b3"},
		{"a deletion of the last one is believed", func() int { s.Remove("b"); return 0 }, 0, ""},
		{"and leaves nothing for an empty list", func() int { return s.Replace(nil) }, 0, ""},
	} {
		held := step.do()
		var got []string
		for _, called := range slices.Sorted(maps.Keys(s.On)) {
			got = append(got, called+s.On[called])
		}
		if strings.Join(got, " ") != step.want || held != step.held {
			t.Errorf("%s: %q with %d, want %q with %d", step.name, got, held, step.want, step.held)
		}
	}
}
