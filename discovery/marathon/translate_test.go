// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluice-mesh/sluice/routing"
)

// noon is when all cases begin.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// agents are those whose names are known in all cases.
func agents(host string) (netip.Addr, bool) {
	a, ok := map[string]netip.Addr{
		"agent-1.example": netip.MustParseAddr("10.0.0.1"),
		"agent-2.example": netip.MustParseAddr("10.0.0.2"),
	}[host]
	return a, ok
}

// TestInstances plays text cases: answers of Marathon, one after the other, and
// after each "want" the instances that these come to.
func TestInstances(t *testing.T) {
	paths, err := filepath.Glob("testdata/instances/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			playInstances(t, path)
		})
	}
}

func playInstances(t *testing.T, path string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := translateOptions{Resolve: agents}
	var c *cluster
	now, answer := noon, ""
	for i := range archive.Files {
		part := &archive.Files[i]
		verb, what, _ := strings.Cut(part.Name, ": ")
		switch verb {
		case "options":
			readOptions(t, &o, string(part.Data))
		case "after":
			d, err := time.ParseDuration(strings.TrimSpace(string(part.Data)))
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
		case "apps":
			answer = string(part.Data)
		case "want":
			if c == nil {
				c = newCluster(o)
			}
			got := played(c, answer, now)
			if !*update && got != string(part.Data) {
				t.Errorf("%s:\ngot\n%swant\n%s", what, got, part.Data)
			}
			part.Data = []byte(got)
		default:
			t.Fatalf("%s is neither options, apps, after nor want", part.Name)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func readOptions(t *testing.T, o *translateOptions, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch key {
		case "keep-lost":
			o.KeepLost, err = ParseKeepLost(value)
		case "ip-index":
			o.IPIndex, err = strconv.Atoi(value)
		case "framework":
			o.Framework = value
		default:
			t.Fatalf("there is no option %q", key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// played returns the instances of an answer as text, an instance a line.
func played(c *cluster, answer string, now time.Time) string {
	apps, faults, err := readApps(strings.NewReader(answer), defaultMaxAnswer)
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "%v\n", f)
	}
	for _, id := range ids(apps) {
		if apps[id] == nil {
			fmt.Fprintf(&b, "%s unreadable\n", id)
			continue
		}
		list, faults := c.instances(apps[id], now)
		fmt.Fprintf(&b, "%s\n", id)
		for _, i := range list {
			fmt.Fprintf(&b, "  %s\n", line(i))
		}
		for _, f := range faults {
			fmt.Fprintf(&b, "  %v\n", f)
		}
		if due, ok := c.due(id); ok {
			fmt.Fprintf(&b, "  again in %v\n", due.Sub(now))
		}
	}
	return b.String()
}

// line leaves out what is as always.
func line(i *routing.Instance) string {
	var b strings.Builder
	ready := "waits"
	if i.Ready {
		ready = "ready"
	}
	fmt.Fprintf(&b, "%v %s index %d", i.AddrPort(), ready, i.Index)
	for _, one := range []struct {
		name string
		not  bool
		is   any
	}{
		{"declared", i.Declared == 0, i.Declared},
		{"name", i.Name == i.ID[1:], i.Name},
		{"namespace", i.Namespace == "", i.Namespace},
		{"image", i.Image == "", i.Image},
		{"node", i.Node == "" || i.Node == i.Address.String(), i.Node},
		{"zone", i.Zone == "", i.Zone},
		{"since", i.Since.IsZero(), i.Since.Format("15:04:05")},
	} {
		if !one.not {
			fmt.Fprintf(&b, " %s %v", one.name, one.is)
		}
	}
	if i.Unproven {
		b.WriteString(" unproven")
	}
	for _, n := range i.Names {
		fmt.Fprintf(&b, " [%s]", n)
	}
	for _, l := range i.Labels {
		fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(l.Name, ownLabels), l.Value)
	}
	return b.String()
}
