// SPDX-License-Identifier: Apache-2.0

package rival_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/bench/rival"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func find(t *testing.T, name string) rival.Kind {
	t.Helper()
	k, err := rival.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestConfigurations(t *testing.T) {
	ports := []int{21000, 21001, 21002, 21003, 21004}
	o := rival.Options{Dir: "/run/rival", Origins: []string{"127.0.0.1:9001", "127.0.0.1:9002"}}
	larger := o
	larger.Table = rival.Table{Gateways: 2, Conditions: 6, Routes: 5}
	for _, tt := range []struct {
		kind, account, golden string
		o                     rival.Options
	}{
		{"haproxy", "", "", o},
		{"nginx", "", "", o},
		{"nginx", "root wheel", "root-", o},
		{"sluice", "", "", o},
		{"sluice", "", "larger-", larger},
	} {
		t.Run(tt.golden+tt.kind, func(t *testing.T) {
			all, err := rival.Configurations(find(t, tt.kind), tt.o, tt.account, ports...)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				golden := filepath.Join("testdata", tt.golden+name)
				if *update {
					if err := os.WriteFile(golden, []byte(all[name]), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if all[name] != string(want) {
					t.Errorf("%s differs from %s; go test -update rewrites it. Got:\n%s", name, golden, all[name])
				}
			}
		})
	}
}

func TestFind(t *testing.T) {
	for _, k := range rival.Kinds() {
		if got, err := rival.Find(k.Name); err != nil || got.Name != k.Name {
			t.Errorf("Find(%q) = %q, %v", k.Name, got.Name, err)
		}
	}
	_, err := rival.Find("envoy")
	if want := `unknown program "envoy", want one of sluice, haproxy, nginx`; err == nil || err.Error() != want {
		t.Errorf("Find(envoy) = %v, want %s", err, want)
	}
}

func TestAvailableSaysWhatToDo(t *testing.T) {
	_, err := rival.Absent().Available()
	if want := "Absent is not installed: write it"; err == nil || err.Error() != want {
		t.Errorf("Available() = %v, want %s", err, want)
	}
}
