// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// checkFlags parses the flags of a verb. What they name need not be there.
func checkFlags(t *testing.T, args []string) {
	t.Helper()
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("sluice %s: %v", strings.Join(args, " "), err)
	}
	if left := cmd.Flags().Args(); len(left) > 0 {
		t.Errorf("sluice %s: %q is not read by a flag", strings.Join(args, " "), left)
	}
}

// TestMarathonApps checks that Marathon takes our apps, and our commands the
// flags in them.
func TestMarathonApps(t *testing.T) {
	for _, tt := range []struct {
		file, verb string // the verb that the program of the image is; empty if the arguments name it
		grace      int
	}{
		{"control.json", "", 60},
		{"proxy.json", "proxy", 300},
	} {
		t.Run(tt.file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(repository, "deploy/marathon", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			c := marathontest.Start(t, marathontest.Options{ByHand: true})
			if _, err := c.Put(string(text), false); err != nil {
				t.Errorf("Marathon refuses it: %v", err)
			}
			var app struct {
				Args      []string
				Grace     int `json:"taskKillGracePeriodSeconds"`
				Secrets   map[string]struct{ Source string }
				Container struct {
					Volumes []struct{ ContainerPath, Secret string }
				}
			}
			if err := json.Unmarshal(text, &app); err != nil {
				t.Fatal(err)
			}
			args := app.Args
			if tt.verb != "" {
				args = append([]string{tt.verb}, args...)
			}
			checkFlags(t, args)
			if app.Grace != tt.grace {
				t.Errorf("tasks have %d s to end, want %d", app.Grace, tt.grace)
			}
			for _, v := range app.Container.Volumes {
				if v.Secret != "" && app.Secrets[v.Secret].Source == "" {
					t.Errorf("%s is the secret %q, which the app does not name", v.ContainerPath, v.Secret)
				}
			}
		})
	}
}

// TestMarathonFlags checks that the manual has every flag that concerns a
// Marathon, with its default.
func TestMarathonFlags(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(repository, "docs/marathon.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"control", "run"} {
		cmd, _, err := newRoot().Find([]string{verb})
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "marathon" && !strings.HasPrefix(f.Name, "marathon-") {
				return
			}
			found++
			row := "| `--" + f.Name + " "
			switch f.Value.Type() {
			case "duration", "int":
				row += strings.TrimSuffix(f.DefValue, "0s") + "` |"
			}
			if !bytes.Contains(manual, []byte(row)) {
				t.Errorf("docs/marathon.md has no row of sluice %s that begins %s", verb, row)
			}
		})
		if found < 11 {
			t.Errorf("sluice %s has %d flags that concern a Marathon, want all", verb, found)
		}
	}
}

// TestUnits checks that systemd understands our units, and our commands the
// flags in them.
func TestUnits(t *testing.T) {
	for _, tt := range []struct{ file, program, verb string }{
		{"sluice-control.service", "/usr/local/bin/sluice", ""},
		{"sluice-proxy.service", "/usr/local/bin/sluice-proxy", "proxy"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(repository, "deploy/systemd", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			var line []string
			for l := range strings.Lines(string(text)) {
				if command, ok := strings.CutPrefix(l, "ExecStart="); ok {
					line = strings.Fields(command)
				}
			}
			if len(line) == 0 || line[0] != tt.program {
				t.Fatalf("ExecStart is %q, want %s", line, tt.program)
			}
			args := line[1:]
			if tt.verb != "" {
				args = append([]string{tt.verb}, args...)
			}
			checkFlags(t, args)
			verifyUnit(t, tt.file, bytes.ReplaceAll(text, []byte(tt.program+" "), []byte("/bin/true ")))
		})
	}
}

// verifyUnit asks systemd about a unit, where there is one to ask.
func verifyUnit(t *testing.T, name string, text []byte) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // its flags were checked; what systemd says is told where it is installed
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte(name)) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
