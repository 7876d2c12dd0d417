// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/routing"
)

func TestDocumentsTellWhatTheyReferTo(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []routing.Ref
	}{
		{"a gateway without references", "name: g\nroutes: {a: {weight: 100%}}\n", nil},
		{
			"routes, conditions and rewrites of a gateway",
			"name: g\nroutes:\n  a: stored\n  b: {ref: other}\n  c: {condition: {ref: beta}, rewrites: [strip, {ref: add}]}\n  d: {condition: has header X}\n",
			[]routing.Ref{{"routes", "stored"}, {"routes", "other"}, {"conditions", "beta"}, {"rewrites", "strip"}, {"rewrites", "add"}},
		},
		{
			"routes in a list",
			"name: g\nroutes:\n- a: {ref: stored}\n- b\n",
			[]routing.Ref{{"routes", "stored"}},
		},
		{
			"imports, each once",
			"name: g\nimport: [base, conditions/c, base]\n",
			[]routing.Ref{{"templates", "base"}, {"conditions", "c"}},
		},
		{
			"a stored route",
			"name: r\nkind: routes\ncondition: {reference: beta}\n",
			[]routing.Ref{{"conditions", "beta"}},
		},
		{
			"the definition of a template",
			"name: t\nkind: templates\ndefinition: {routes: {a: stored}}\n",
			[]routing.Ref{{"routes", "stored"}},
		},
		{"a condition, whose text is none", "name: c\nkind: conditions\ncondition: has cookie x\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			docs, _ := routing.Read("a.yaml", []byte(tt.text))
			if len(docs) != 1 {
				t.Fatalf("Read(%q) has %d documents, want 1", tt.text, len(docs))
			}
			if got := docs[0].References(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("References() = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTreesAreWhatDocumentsSay(t *testing.T) {
	const template = "---\nname: base\nkind: templates\nsticky: route\nroutes: {a: {weight: 50%}}\n"
	for _, tt := range []struct{ name, text, want string }{
		{
			"keys keep their order, and types are resolved as YAML 1.1 has them",
			"name: yes\nport: 0x1F90\nmetadata: {z: 1.50, a: ~, y: off, n: '12', l: [1, .5]}\n",
			"name: true\nport: 8080\nmetadata:\n    z: 1.5\n    a: null\n    y: false\n    n: \"12\"\n    l:\n        - 1\n        - 0.5\n",
		},
		{
			"lists as keys are texts, and aliases what they stand for",
			"name: g\nroutes:\n  [10.0.0.1:80]: &r {weight: 50%}\n  \"[10.0.0.2:80]\": *r\n",
			"name: g\nroutes:\n    '[10.0.0.1:80]':\n        weight: 50%\n    '[10.0.0.2:80]':\n        weight: 50%\n",
		},
		{
			"imports lie below",
			"name: g\nimport: base\nsticky: instance\nroutes: {b: {weight: 50%}}\n" + template,
			"sticky: instance\nroutes:\n    a:\n        weight: 50%\n    b:\n        weight: 50%\nname: g\nimport: base\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			docs, _ := routing.Read("a.yaml", []byte(tt.text))
			got, err := yaml.Marshal(routing.Tree(docs, docs[0])) // which does not quote what only YAML 1.1 has
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("Tree() =\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestWhatIsWrittenHasNoImports(t *testing.T) {
	docs, _ := routing.Read("a.yaml", []byte("name: g\nimport: base\n"))
	got, err := yaml.Marshal(routing.Written(docs[0]))
	if want := "name: g\nimport: base\n"; err != nil || string(got) != want {
		t.Errorf("Written() = %q, %v, want %q", got, err, want)
	}
}

func TestTreesThatCannotBe(t *testing.T) {
	for _, text := range []string{
		"name: g\nimport: missing\n",
		"name: g\nmetadata: {a: !custom x}\n",
	} {
		docs, _ := routing.Read("a.yaml", []byte(text))
		if len(docs) != 1 {
			t.Fatalf("Read(%q) has %d documents, want 1", text, len(docs))
		}
		if n := routing.Tree(docs, docs[0]); n != nil {
			t.Errorf("Tree() of %q = %v, want nil", text, n)
		}
	}
}
