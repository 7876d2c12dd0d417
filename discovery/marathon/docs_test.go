// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

var (
	// example is the first answer of Marathon in a document.
	example = regexp.MustCompile("(?s)```json\n(.*?)```")
	// found is a row of the table of what selectors find.
	found = regexp.MustCompile("(?m)^\\| `([^|]*)` \\| (`\\(.*) \\|$")
	// ours is a row of the table of labels that are made here.
	ours = regexp.MustCompile("(?m)^\\| `(sluice:[a-z-]+)` \\|")
)

// TestSelectorsFindWhatTheManualSays asks every selector of the manual for the
// instances of its apps.
func TestSelectorsFindWhatTheManualSays(t *testing.T) {
	text := document(t)
	c := newCluster(translateOptions{})
	var list []*routing.Instance
	apps := read(t, []byte(example.FindStringSubmatch(text)[1]))
	for _, id := range ids(apps) {
		more, faults := c.instances(apps[id], noon)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		list = append(list, more...)
	}
	instances := routing.NewInstances(list)
	rows := found.FindAllStringSubmatch(text, -1)
	if len(rows) < 10 {
		t.Fatalf("the table has %d rows, want all of it", len(rows))
	}
	for _, row := range rows {
		selector, err := routing.ParseSelector(row[1])
		if err != nil {
			t.Errorf("%s: %v", row[1], err)
			continue
		}
		var routes []string
		for _, g := range selector.Groups(instances, "") {
			var at []string
			for _, i := range g.Instances {
				at = append(at, i.AddrPort().String())
			}
			slices.SortFunc(at, func(a, b string) int { return strings.Index(row[2], a) - strings.Index(row[2], b) })
			routes = append(routes, fmt.Sprintf("`%s` to %s", g.Name, strings.Join(at, ", ")))
		}
		if got := strings.Join(routes, "; "); got != row[2] {
			t.Errorf("%s finds %s, the manual says %s", row[1], got, row[2])
		}
	}
}

// TestTheManualTellsOfEveryLabel that is made here, and of no other.
func TestTheManualTellsOfEveryLabel(t *testing.T) {
	written := make(map[string]bool)
	for _, row := range ours.FindAllStringSubmatch(document(t), -1) {
		written[row[1]] = true
	}
	made := []string{labelAppVersion, labelPortName, labelRegion, labelServicePort, labelDeploymentGroup, labelRests}
	slices.Sort(made)
	if got := slices.Sorted(maps.Keys(written)); !slices.Equal(got, made) {
		t.Errorf("the manual tells of %v, there are %v", got, made)
	}
}

func document(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
