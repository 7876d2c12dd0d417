// SPDX-License-Identifier: Apache-2.0

package static_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/discoverytest"
	"github.com/sluice-mesh/sluice/discovery/files"
	"github.com/sluice-mesh/sluice/discovery/static"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

func TestSourceKeepsTheContract(t *testing.T) {
	discoverytest.Test(t, func(t *testing.T) discoverytest.Bed {
		t.Helper()
		dir := t.TempDir()
		key := func(object string) string { return filepath.Join(dir, object+".yaml") }
		put := func(object, name string) {
			write(t, key(object), fmt.Sprintf("- {name: %s, address: 10.0.0.1, port: 80}\n", name))
		}
		put("a", "a1")
		put("b", "b1")
		return discoverytest.Bed{
			Source: static.New([]string{dir}, files.Options{}),
			Put:    put,
			Remove: func(object string) {
				if err := os.Remove(key(object)); err != nil {
					t.Error(err)
				}
			},
			Key: key,
		}
	})
}

// TestSourceHoldsBack plays what happens to one file.
func TestSourceHoldsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "instances.yaml")
	const both = "- {address: 10.0.0.1, port: 80}\n- {address: 10.0.0.2, port: 80}\n"
	write(t, path, both)
	source := static.New([]string{path}, files.Options{Settle: time.Millisecond, Hold: time.Hour})
	updates := make(chan discovery.Update, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- source.Run(ctx, func(b discovery.Batch) {
			for _, u := range b.Updates {
				updates <- u
			}
		})
	}()
	for _, step := range []struct {
		name, text   string // no text has the absence confirmed
		instances    int
		urgent, held bool
		faults       int
	}{
		{"what is there is told", both, 2, false, false, 0},
		{"one taken away from others is urgent", "- {address: 10.0.0.1, port: 80}\n", 1, true, false, 0},
		{"a fault keeps the whole list", "- {address: 10.0.0.1, prot: 80}\n- {address: 10.0.0.2, port: 80}\n", 1, false, false, 2},
		{"one that is mended counts at once", both, 2, false, false, 0},
		{"one that is not ready any more is urgent", "- {address: 10.0.0.1, port: 80}\n- {address: 10.0.0.2, port: 80, ready: false}\n", 2, true, false, 0},
		{"an empty list is held back", "[]\n", 2, false, true, 0},
		{"until it is believed", "", 0, true, false, 0},
		{"and a new list counts at once", both, 2, false, false, 0},
	} {
		if step.text == "" {
			if n := source.Confirm(); n != 1 {
				t.Errorf("Confirm() = %d, want the one that is held back", n)
			}
		} else {
			write(t, path, step.text)
		}
		select {
		case u := <-updates:
			if u.Key != path || len(u.Instances) != step.instances || u.Urgent != step.urgent || (u.Held != nil) != step.held || len(u.Faults) != step.faults {
				t.Fatalf("%s: %d instances, urgent %t, held %v, faults %v", step.name, len(u.Instances), u.Urgent, u.Held, u.Faults)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: nothing was told", step.name)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
}
