// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// TestInstancesDocument checks that the list which is shown is one, and that
// it says everything that can be said.
func TestInstancesDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs/instances.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```yaml\n")
	list, _, ok := strings.Cut(after, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	instances, faults := routing.ReadInstances("example", []byte(list))
	if len(faults) > 0 || len(instances) != 3 {
		t.Fatalf("%d instances, faults %v, want 3 and none", len(instances), faults)
	}
	last := instances[2]
	if last.Declared != 80 || last.Port != 8081 || last.Weight != 50 || last.Ready || last.Zone == "" || last.Node == "" || last.Image == "" {
		t.Errorf("the last instance is %+v, want every key used", last)
	}
}

func TestValidateWithInstances(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shop := write("shop.yaml", "name: shop\nport: 9050\nselector: label(app)(shop) && label(version)((.*))\n")
	good := write("good.yaml", "- {address: 10.0.0.1, port: 80, labels: {app: shop, version: 1.0.3}}\n")
	cart := write("cart.yaml", "- {address: 10.0.0.1, port: 80, labels: {app: cart}}\n")
	bad := write("bad.yaml", "- {address: 10.0.0.1, port: 80, zonee: a}\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"without a list selectors find nothing, and that is fine", []string{shop}, exitOK, "good\n"},
		{"a list that has what is asked for is good", []string{shop, "--instances", good}, exitOK, "1 gateway in 2 files: good\n"},
		{"one that has not is told", []string{shop, "--instances", cart}, exitOK, "the selector finds no instance"},
		{"a fault in a list is told at its place", []string{shop, "--instances", bad}, exitUsage, bad + ":1:33: [0].zonee: "},
		{"so is one in the base selector", []string{shop, "--instances", good, "--base-selector", "lable(a)(b)"}, exitUsage, "--base-selector: character 1"},
		{"the base selector counts", []string{shop, "--instances", good, "--base-selector", "namespace(${namespace})"}, exitOK, "the selector finds no instance"},
		{"a list that is not there is an error", []string{shop, "--instances", filepath.Join(dir, "none")}, exitError, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := execute(append([]string{"validate"}, tt.args...), nil, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exits with %d, want %d, and says %q:\n%s", code, tt.code, tt.want, &out)
			}
		})
	}
}
