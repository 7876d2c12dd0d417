// SPDX-License-Identifier: Apache-2.0

package rival_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	tls, h2, tcp := o, o, o
	tls.Mode, h2.Mode, tcp.Mode = rival.ModeTLS, rival.ModeH2, rival.ModeTCP
	for _, tt := range []struct {
		kind, account, golden string
		o                     rival.Options
	}{
		{"haproxy", "", "", o},
		{"nginx", "", "", o},
		{"nginx", "root wheel", "root-", o},
		{"sluice", "", "", o},
		{"sluice", "", "larger-", larger},
		{"haproxy", "", "tls-", tls},
		{"nginx", "", "tls-", tls},
		{"sluice", "", "tls-", tls},
		{"haproxy", "", "h2-", h2},
		{"nginx", "", "h2-", h2},
		{"sluice", "", "h2-", h2},
		{"haproxy", "", "tcp-", tcp},
		{"nginx", "", "tcp-", tcp},
		{"sluice", "", "tcp-", tcp},
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

func TestStreamModule(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ngx_stream_module.so")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, configured, want string
		missing                bool
	}{
		{"what is built in needs no module", "--with-http_v2_module --with-stream --modules-path=" + dir, "", false},
		{"a module is where nginx says", "--modules-path=" + dir + " --with-stream=dynamic --with-stream_ssl_module", file, false},
		{"a module that is not installed", "--modules-path=" + dir + "/none --with-stream=dynamic", "", true},
		{"no modules at all", "--with-http_v2_module", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := rival.StreamModuleOf("configure arguments: " + tt.configured + "\n")
			if got != tt.want || (err != nil) != tt.missing {
				t.Errorf("streamModuleOf() = %q, %v, want %q, missing %t", got, err, tt.want, tt.missing)
			}
			if err != nil && !strings.Contains(err.Error(), "install libnginx-mod-stream") {
				t.Errorf("error = %v, want one that says what to install", err)
			}
		})
	}
}
