// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

func TestReadInstances(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"an address and a port are enough", "- {address: 10.0.0.1, port: 80}", "10.0.0.1:80 declared 0 index 0 weight 100 ready true"},
		{
			"everything", "- {address: '::1', port: 80, labels: {b: x, a: y}, name: n, kind: app, image: i, namespace: s, zone: z, node: m, weight: 5, ready: false}",
			"[::1]:80 declared 0 index 0 weight 5 ready false [{b x} {a y}] n app i s z m",
		},
		{
			"several ports are several instances", "- {address: 10.0.0.1, ports: [80, {port: 443, target: 8443}]}",
			"10.0.0.1:80 declared 0 index 0 weight 100 ready true\n10.0.0.1:8443 declared 443 index 1 weight 100 ready true",
		},
		{
			"a version is the text that was written", "- {address: 10.0.0.1, port: 80, labels: {version: 1.10, build: 007}}",
			"10.0.0.1:80 declared 0 index 0 weight 100 ready true [{version 1.10} {build 007}]",
		},
		{"JSON", `[{"address": "10.0.0.1", "port": 80}]`, "10.0.0.1:80 declared 0 index 0 weight 100 ready true"},
		{"an empty list", "[]", ""},
		{"an empty text", "", ""},
		{"no list", "address: 10.0.0.1", "UnexpectedTypeError i.yaml:1:1"},
		{"a key that is nearly right", "- {address: 10.0.0.1, port: 80, zonee: a}", "UnexpectedElement i.yaml:1:33 did you mean zone?"},
		{"a name for an address", "- {address: shop.example, port: 80}", "InvalidInstanceAddress i.yaml:1:13"},
		{"no port", "- {address: 10.0.0.1}", "MissingPathValueError i.yaml:1:3"},
		{"ports out of bounds", "- {address: 10.0.0.1, ports: [0, 65536, x]}", "InvalidInstance i.yaml:1:31; InvalidInstance i.yaml:1:34; InvalidInstance i.yaml:1:41"},
		{"one address twice", "- {address: 10.0.0.1, port: 80}\n- {address: 10.0.0.1, port: 80}", "DuplicateInstance i.yaml:2:29"},
		{"a kind that is none", "- {address: 10.0.0.1, port: 80, kind: contaner}", "UnexpectedTypeError i.yaml:1:39 did you mean container?"},
		{"a fault takes the whole list", "- {address: 10.0.0.1, port: 80}\n- 5", "InvalidInstance i.yaml:2:3"},
		{"no YAML", "- {", "YamlParsingError i.yaml:1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, faults := routing.ReadInstances("i.yaml", []byte(tt.text))
			var got []string
			for _, i := range list {
				line := fmt.Sprintf("%v declared %d index %d weight %d ready %t", i.AddrPort(), i.Declared, i.Index, i.Weight, i.Ready)
				if len(i.Labels) > 0 {
					line += fmt.Sprint(" ", i.Labels)
				}
				line += " " + strings.Join([]string{i.Name, i.Kind, i.Image, i.Namespace, i.Zone, i.Node}, " ")
				got = append(got, strings.TrimSpace(line))
			}
			var wrong []string
			for _, f := range faults {
				text := f.Code + " " + f.At.String()
				if hint, _, ok := strings.Cut(f.Allowed, "?"); ok {
					text += " " + hint + "?"
				}
				wrong = append(wrong, text)
			}
			if text := strings.Join(slices.Concat(got, nonEmpty(strings.Join(wrong, "; "))), "\n"); text != tt.want {
				t.Errorf("got\n%s\nwant\n%s", text, tt.want)
			}
		})
	}
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// FuzzReadInstances checks that a list is read whole or not at all, and that
// what is read can be reached.
func FuzzReadInstances(f *testing.F) {
	f.Add("- {address: 10.0.0.1, ports: [80, {port: 443, target: 8443}], labels: {version: 1.0}}")
	f.Add("- {address: '::1', port: 80, weight: 5, ready: no}\n- {address: ::ffff:10.0.0.1, port: 1}")
	f.Fuzz(func(t *testing.T, text string) {
		list, faults := routing.ReadInstances("i.yaml", []byte(text))
		refused := slices.ContainsFunc(faults, func(f *routing.Fault) bool { return f.Severity == routing.Refused })
		if refused && len(list) > 0 {
			t.Fatalf("%d instances of a list with faults %v", len(list), faults)
		}
		seen := make(map[string]bool)
		for _, i := range list {
			at := i.AddrPort().String()
			if !i.AddrPort().IsValid() || i.Port < 1 || i.Weight < 1 || seen[at] {
				t.Fatalf("instance %+v", i)
			}
			seen[at] = true
		}
	})
}
