// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
)

func TestCheck(t *testing.T) {
	const fox = "kind: conditions\nname: fox\ncondition: User-Agent = Firefox\n"
	filed := says("f.yaml", texts(gateway("a", 9001), "name: g\nport: 9003\nroutes:\n  \"[127.0.0.1:8080]\":\n    condition: {ref: fox}\n", fox))
	filed.Origin = "files"
	stored := func(text string) discovery.Update {
		u := says("api:x", text)
		u.Origin = "api"
		return u
	}
	for _, tt := range []struct {
		name   string
		update discovery.Update
		faults string
	}{
		{"what is good beside all others", stored(gateway("b", 9002)), ""},
		{"what is wrong by itself", stored(gateway("b", 9002) + "colour: blue\n"), "api:x UnexpectedElement"},
		{"a gateway that a file has, too: the file's yields", stored(gateway("a", 9009)), ""},
		{"a file without the condition that its gateway names", says("f.yaml", "name: g\nport: 9003\nroutes:\n  \"[127.0.0.1:8080]\":\n    condition: {ref: fox}\n"), "f.yaml ArtifactNotFound"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planner.New(planner.Options{})
			p.Put([]discovery.Update{filed})
			if got := codes(p.Check("", []discovery.Update{tt.update})); got != tt.faults {
				t.Errorf("Check() = %q, want %q", got, tt.faults)
			}
		})
	}
}
