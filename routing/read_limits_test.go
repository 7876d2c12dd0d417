// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/routing"
)

func TestReadRefusesWholeTexts(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"more than 8 MiB", strings.Repeat("#", 8<<20+1), "x.yaml: the text has 8388609 bytes; at most 8388608 bytes (8 MiB) are allowed"},
		{"a byte that is not UTF-8", "name: a\nport: \xff", "x.yaml:2:7: byte 0xFF is not UTF-8; the text must be UTF-8"},
		{"a byte that is not UTF-8 behind other letters", "name: ä\xff", "x.yaml:1:8: byte 0xFF is not UTF-8; the text must be UTF-8"},
		{"half a letter at the end", "name: \xc3", "x.yaml:1:7: byte 0xC3 is not UTF-8; the text must be UTF-8"},
		{"UTF-16", "\xff\xfen\x00", "x.yaml:1:1: byte 0xFF is not UTF-8; the text must be UTF-8"},
		{
			"a control character", "name: a\r\n\x00",
			"x.yaml:2:1: the control character U+0000 stands in the text; write it as an escape within double quotes",
		},
		{
			"more than a million values", "name: a\nmetadata: [&a [" + strings.Repeat("1,", 1_000) + "]\n" + strings.Repeat(",*a\n", 1_000) + "]",
			"x.yaml:1000:2: the text has too many values, aliases counted as what they stand for; at most 1000000 are allowed",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			docs, faults := routing.Read("x.yaml", []byte(tt.text))
			if docs != nil || len(faults) != 1 {
				t.Fatalf("Read = %d documents, faults %v; want one fault alone", len(docs), faults)
			}
			f := faults[0]
			if f.Code != "YamlParsingError" || f.Kind != "" || f.Name != "" || f.Severity != routing.Refused {
				t.Errorf("fault = %+v; want a refused YamlParsingError of no object", f)
			}
			if f.Error() != tt.want {
				t.Errorf("fault = %q, want %q", f.Error(), tt.want)
			}
		})
	}
}

func TestReadAcceptsAByteOrderMark(t *testing.T) {
	docs, faults := routing.Read("x.yaml", []byte("\uFEFFname: a\nprot: 1"))
	if len(docs) != 1 || docs[0].Name != "a" {
		t.Fatalf("Read = %v, want the document a", docs)
	}
	if len(faults) != 1 || faults[0].At.Line != 2 || faults[0].At.Column != 1 {
		t.Errorf("faults = %v, want one at 2:1", faults)
	}
}

func TestReadTellsAThousandFaults(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: a\n")
	for i := range 1500 {
		fmt.Fprintf(&b, "unknown%d: 1\n", i)
	}
	docs, faults := routing.Read("x.yaml", []byte(b.String()))
	if len(docs) != 1 || !docs[0].Broken {
		t.Errorf("Read = %v, want one broken document", docs)
	}
	if len(faults) != 1001 {
		t.Fatalf("%d faults, want 1001", len(faults))
	}
	if last := faults[1000]; last.Code != "TooManyFaults" || last.Problem != "500 more faults are not shown" {
		t.Errorf("last fault = %v, want one that counts the 500 others", last)
	}
}

// A fault beyond those that are told still refuses its document.
func TestReadRefusesBeyondAThousandFaults(t *testing.T) {
	docs, _ := routing.Read("x.yaml", []byte(strings.Repeat("- {name: a, x: 1}\n", 1200)))
	for i, d := range docs {
		if !d.Broken {
			t.Fatalf("document %d is not broken", i)
		}
	}
}

func routesText(n int) string {
	var b strings.Builder
	b.WriteString("name: a\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  r%d: {weight: 0%%, condition: host == h%d}\n", i, i)
	}
	return b.String()
}

func TestReadKeepsTheOrderOfManyRoutes(t *testing.T) {
	const n = 20_000
	docs, faults := routing.Read("x.yaml", []byte(routesText(n)))
	table, more := routing.Resolve(docs)
	if len(faults)+len(more) > 0 {
		t.Fatalf("faults: %v, %v", faults, more)
	}
	routes := table.Gateways[0].Routes
	if len(routes) != n {
		t.Fatalf("%d routes, want %d", len(routes), n)
	}
	for i, r := range routes {
		if want := fmt.Sprintf("r%d", i); r.Path != want {
			t.Fatalf("route %d is %s, want %s", i, r.Path, want)
		}
	}
}

// What grows with the square of the text would take minutes at this length.
func TestHostileTextsAreReadInLinearTime(t *testing.T) {
	const n = 1 << 17
	long := strings.Repeat("k", n)
	for _, tt := range []struct{ name, text string }{
		{"open lists", strings.Repeat("[", n)},
		{"open maps", strings.Repeat("{", n)},
		{"nested entries", strings.Repeat("- ", n)},
		{"nested keys", strings.Repeat("? ", n)},
		{"indented lists", strings.Repeat("-\n", n)},
		{"anchors", strings.Repeat("&a ", n)},
		{"comments", strings.Repeat("#\n", n)},
		{"documents", strings.Repeat("---\n", n)},
		{"a long number", "name: a\nport: " + strings.Repeat("9", n)},
		{"a long number of base 60", "name: a\nport: 1" + strings.Repeat(":0", n)},
		{"quotes", "name: a\nvirtual_hosts: '" + strings.Repeat("''", n) + "'"},
		{"one line of conditions", "{name: a, routes: {" + strings.Repeat("b: {condition: host}, ", n/20) + "}}"},
		{"one line of wrong conditions", "{name: a, routes: [" + strings.Repeat("{b: {condition: host}}, ", n/20) + "]}"},
		{"a long key above many faults", "name: a\nroutes:\n  " + long + ":\n    " + strings.Repeat("x: 1\n    ", n/8)},
		{"a long text as alias in keys", "name: a\nmetadata: {x: &x " + long + ", " + strings.Repeat("[*x, *x, *x]: 1, ", 1000) + "}"},
		{"an alias chain in keys", "name: a\nmetadata:\n  a: &a0 [x, x]\n" + aliasChain(60)},
		{"an alias bomb of merges", "name: a\nmetadata:\n  m0: &m0 {x: 1}\n" + mergeChain(5000)},
		{"lone marks on one line", "[" + strings.Repeat("! a, ", n/4) + "]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			docs, faults := routing.Read("x.yaml", []byte(tt.text))
			routing.Resolve(docs)
			for _, f := range faults {
				if len(f.Error()) > 4096 {
					t.Fatalf("a fault of %d bytes", len(f.Error()))
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			text := []byte(routesText(n))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				docs, _ := routing.Read("x.yaml", text)
				routing.Resolve(docs)
			}
		})
	}
}

func aliasChain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  b%d: &a%d [*a%d, *a%d]\n", i, i+1, i, i)
	}
	return b.String()
}

func mergeChain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  m%d: &m%d {<<: *m%d, k%d: 1}\n", i+1, i+1, i, i)
	}
	return b.String()
}

// A large template with many importers must not multiply.
func TestResolveBoundsImports(t *testing.T) {
	var b strings.Builder
	b.WriteString("kind: templates\nname: t\nmetadata: {")
	for i := range 20_000 {
		fmt.Fprintf(&b, "k%d: 1, ", i)
	}
	b.WriteString("}\n")
	for i := range 500 {
		fmt.Fprintf(&b, "---\n{name: g%d, import: t, metadata: {x: 1}}\n", i)
	}
	docs, faults := routing.Read("x.yaml", []byte(b.String()))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	table, faults := routing.Resolve(docs)
	if len(table.Gateways) == 0 || len(table.Broken) == 0 || len(table.Gateways)+len(table.Broken) != 500 {
		t.Errorf("%d gateways stand and %d are broken; want some of both, 500 in all", len(table.Gateways), len(table.Broken))
	}
	if len(faults) == 0 || faults[0].Code != "ImportReferenceError" {
		t.Errorf("faults = %v, want an ImportReferenceError", faults)
	}
}

// Chains of imports are as deep as users write them.
func TestResolveFollowsLongImportChains(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: a\nimport: t0\n")
	const n = 5_000
	for i := range n {
		fmt.Fprintf(&b, "---\n{kind: templates, name: t%d, import: t%d}\n", i, i+1)
	}
	fmt.Fprintf(&b, "---\n{kind: templates, name: t%d, port: 80}\n", n)
	docs, faults := routing.Read("x.yaml", []byte(b.String()))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	table, faults := routing.Resolve(docs)
	if len(faults) > 0 || len(table.Gateways) != 1 || table.Gateways[0].Port.Number != 80 {
		t.Errorf("Resolve = %+v, %v; want a gateway on port 80", table, faults)
	}
}

func TestResolveDoesNotChangeDocuments(t *testing.T) {
	const text = `
name: a
import: base
routes: {b: r, c: {condition: {ref: x}}}
---
{kind: templates, name: base, port: 80}
---
{kind: routes, name: r, condition: {ref: x}, metadata: {m: 1}}
---
{kind: conditions, name: x, condition: has cookie y}
`
	docs, faults := routing.Read("x.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	first, _ := routing.Resolve(docs)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if again, faults := routing.Resolve(docs); len(faults) > 0 || !reflect.DeepEqual(first, again) {
				t.Errorf("resolved again: %+v, %v; want %+v", again, faults, first)
			}
		})
	}
	wg.Wait()
	if alone, _ := routing.Resolve(docs[:1]); len(alone.Broken) != 1 {
		t.Errorf("without its template: %+v, want the gateway broken", alone)
	}
}

// FuzzRead reads any text, and holds that reading is deterministic, that
// faults lie within the text, that they explain every document that is
// broken, and that what stands resolves to whole weights.
func FuzzRead(f *testing.F) {
	for _, c := range allReadCases(f) {
		f.Add([]byte(c.files[0].text))
	}
	f.Add([]byte("\uFEFFname: a"))
	f.Add([]byte("name: \"a\u2028b\u0085\"\nx: 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, faults := routing.Read("x.yaml", data)
		again, faultsAgain := routing.Read("x.yaml", data)
		if !reflect.DeepEqual(faults, faultsAgain) || len(docs) != len(again) {
			t.Fatalf("read twice: %v and %v", faults, faultsAgain)
		}
		checkPlaces(t, data, faults)
		broken := 0
		for _, d := range docs {
			if d.Name == "" {
				t.Errorf("document %+v has no name", d)
			}
			if d.Broken {
				broken++
			}
		}
		refused := 0
		for _, fault := range faults {
			if fault.Severity == routing.Refused {
				refused++
			}
		}
		if broken > 0 && refused == 0 {
			t.Errorf("%d broken documents and no refused fault", broken)
		}
		table, more := routing.Resolve(docs)
		tableAgain, moreAgain := routing.Resolve(again)
		if !reflect.DeepEqual(more, moreAgain) || len(table.Gateways) != len(tableAgain.Gateways) {
			t.Fatalf("resolved twice: %v and %v", more, moreAgain)
		}
		checkPlaces(t, data, more)
		checkTable(t, table)
	})
}

// checkPlaces holds that faults lie within their text.
func checkPlaces(t *testing.T, data []byte, faults []*routing.Fault) {
	t.Helper()
	width, breaks := 0, 0
	for _, l := range strings.FieldsFunc(string(data), isBreak) {
		width = max(width, utf8.RuneCountInString(l))
	}
	for _, c := range string(data) {
		if isBreak(c) {
			breaks++
		}
	}
	for _, f := range faults {
		if strings.ContainsAny(f.Error(), "\n\r") {
			t.Errorf("the fault %q has several lines", f.Error())
		}
		if f.At.Source != "x.yaml" || f.Code == "" || f.Problem == "" {
			t.Errorf("the fault %+v lacks a source, a code or a problem", f)
		}
		if f.At.Line == 0 && (f.Code == "TooManyFaults" || len(data) > 8<<20) {
			continue
		}
		if f.At.Line < 1 || f.At.Line > breaks+1 || f.At.Column < 1 || f.At.Column > width+1 {
			t.Errorf("the fault %v lies outside of the text of %d lines, at most %d wide", f, breaks+1, width)
		}
	}
}

// isBreak reports the characters at which YAML 1.1 breaks lines.
func isBreak(c rune) bool {
	return c == '\n' || c == '\r' || c == '\u0085' || c == '\u2028' || c == '\u2029'
}

// checkTable holds what Resolve promises of every gateway.
func checkTable(t *testing.T, table *routing.Table) {
	t.Helper()
	names := make(map[string]bool)
	for _, g := range table.Gateways {
		if names[g.Name] || g.Name == "" {
			t.Errorf("the name %q stands twice or is empty", g.Name)
		}
		names[g.Name] = true
		sum := 0
		for _, r := range g.Routes {
			sum += int(r.Weight)
			if r.Weight < 0 || r.Weight > routing.FullWeight || r.Strength < 0 || r.Strength > routing.FullWeight {
				t.Errorf("route %s has weight %v and strength %v", r.Path, r.Weight, r.Strength)
			}
		}
		if sum != 0 && sum != int(routing.FullWeight) {
			t.Errorf("the weights of %s sum to %d", g.Name, sum)
		}
	}
	for _, name := range table.Broken {
		if names[name] {
			t.Errorf("%s both stands and is broken, or is broken twice", name)
		}
		names[name] = true
	}
}
