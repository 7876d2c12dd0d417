// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
)

func TestObjectTellsWhatWasPlannedOfIt(t *testing.T) {
	p := planner.New(planner.Options{})
	first := says("objects/a", gateway("a", 9001))
	first.Generation = 1
	p.Put([]discovery.Update{first, says("objects/b", gateway("b", 9001))})
	if o, known := p.Object("", "objects/a"); known {
		t.Errorf("Object() = %+v before there is a plan, want it unknown", o)
	}
	plan(p)
	if o, known := p.Object("", "objects/a"); !known || o.State != planner.Good || o.Generation != 1 {
		t.Errorf("Object() = %+v, %t, want generation 1, which is good", o, known)
	}
	o, known := p.Object("", "objects/b")
	if !known || o.State != planner.Faulty || len(o.Faults) != 1 || !strings.Contains(o.Faults[0], "9001") {
		t.Errorf("Object() = %+v, %t, want a fault of its port", o, known)
	}
	second := says("objects/a", gateway("a", 9002))
	second.Generation = 2
	p.Put([]discovery.Update{second})
	if o, known := p.Object("", "objects/a"); known {
		t.Errorf("Object() = %+v though generation 2 is not planned yet, want it unknown", o)
	}
	plan(p)
	if o, _ := p.Object("", "objects/a"); o.Generation != 2 {
		t.Errorf("Object() = %+v, want generation 2", o)
	}
	for _, tt := range []struct{ namespace, key string }{{"", "objects/c"}, {"acme/prod", "objects/a"}} {
		if _, known := p.Object(tt.namespace, tt.key); known {
			t.Errorf("Object(%q, %q) is known, want it unknown", tt.namespace, tt.key)
		}
	}
}
