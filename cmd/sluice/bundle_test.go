// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

func TestBundlesKeepPlaces(t *testing.T) {
	good := "name: a\nport: 9050\nroutes: {'[127.0.0.1:1]': {}}"
	for _, tt := range []struct {
		name  string
		files []string
		want  []string // faults of the bundle, at their places in files
	}{
		{"a fault of the second file has its line there", []string{good, "name: b\nprot: 1\n"}, []string{`f1:2:1: gateways.b.prot: the key "prot" is unknown`}},
		{"a file without a last line break ends", []string{good, good + "\nprot: 1"}, []string{`f1:4:1: gateways.a.prot: the key "prot" is unknown`}},
		{"a file that begins its document itself stays one document", []string{good, "# b\n---\nname: b\nprot: 1\n"}, []string{`f1:4:1: gateways.b.prot: the key "prot" is unknown`}},
		{"a directive may stand in the second file", []string{good, "%YAML 1.1\n---\nname: b\nprot: 1\n"}, []string{`f1:4:1: gateways.b.prot: the key "prot" is unknown`}},
		{"a byte order mark may stand there", []string{good, "\uFEFFname: b\nprot: 1\n"}, []string{`f1:2:1: gateways.b.prot: the key "prot" is unknown`}},
		{
			"a file of several documents keeps them",
			[]string{good, "name: b\n---\nname: c\nprot: 1\n", "name: d\nprot: 1\n"},
			[]string{`f1:4:1: gateways.c.prot: the key "prot" is unknown`, `f2:2:1: gateways.d.prot: the key "prot" is unknown`},
		},
		{"JSON with tabs is one document", []string{good, "{\n\t\"name\": \"b\",\n\t\"prot\": 1\n}"}, []string{`f1:3:2: gateways.b.prot: the key "prot" is unknown`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bundle{}
			for i, f := range tt.files {
				b.add(fmt.Sprintf("f%d", i), []byte(f))
			}
			_, faults := routing.Read("", b.text)
			var got []string
			for _, f := range faults {
				f = b.place(f)
				f.Allowed = ""
				got = append(got, f.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the faults of\n%s\nare %q, want %q", b.text, got, tt.want)
			}
		})
	}
}

func TestWarningsAreToldOnce(t *testing.T) {
	b := &bundle{}
	b.add("one.yaml", []byte("name: a\nroutes: {x: {}}\n"))
	b.add("zwölf.yaml", []byte("name: ü\nvirtual_hosts: ['a.*.example']\nroutes: {x: {}}\n"))
	if len(b.faults) != 1 || b.faults[0].Severity != routing.Warning {
		t.Fatalf("the faults are %v, want one warning", b.faults)
	}
	told := "7:17: " + strings.TrimPrefix(b.faults[0].Error(), "zwölf.yaml:2:17: ")
	told = strings.ReplaceAll(told, "ü", "?")
	got := b.unseen([]string{told, told[:40] + "...", "2:9: warning: gateways.a: by others", "9 lives", "warning: of no place"})
	want := []string{"one.yaml:2:9: warning: gateways.a: by others", "9 lives", "warning: of no place"}
	if !slices.Equal(got, want) {
		t.Errorf("unseen() = %q, want %q", got, want)
	}
}

// FuzzBundle holds that files which can be read say the same in a bundle, at
// the same places.
func FuzzBundle(f *testing.F) {
	f.Add("name: a\n", "name: b\nprot: 1\n")
	f.Add("name: a\nx: |\n  text", "--- {name: b}\n---\nname: c")
	f.Add("- name: a\n- prot: 2", "%YAML 1.1\n---\nname: \"b\"")
	f.Add("name: a # \u0085\r\r\n", "\uFEFF# \u2028\nname: b\n...\n")
	f.Add("", "# nothing")
	f.Fuzz(func(t *testing.T, one, two string) {
		b := &bundle{}
		var want []string
		for i, text := range []string{one, two} {
			source := fmt.Sprintf("f%d", i)
			docs, faults := routing.Read(source, []byte(text))
			if docs == nil && len(faults) > 0 {
				return // it cannot be read, and is not sent
			}
			want = append(want, said(docs, faults)...)
			b.add(source, []byte(text))
		}
		docs, faults := routing.Read("", b.text)
		for i, f := range faults {
			faults[i] = b.place(f)
		}
		for _, d := range docs {
			d.At = b.place(&routing.Fault{At: d.At}).At
		}
		got := said(docs, faults)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q and %q say %q, and as the bundle %q %q", one, two, want, b.text, got)
		}
	})
}

func said(docs []*routing.Document, faults []*routing.Fault) []string {
	var all []string
	for _, d := range docs {
		all = append(all, fmt.Sprintf("%v %s/%s %v", d.At, d.Kind, d.Name, d.Broken))
	}
	for _, f := range faults {
		all = append(all, f.Error())
	}
	return all
}
