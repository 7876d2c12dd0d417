// SPDX-License-Identifier: Apache-2.0

//go:build unix

package marathon_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/marathon"
	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// A pipe that nobody uses stands for a disk that hangs: to open it does not
// return.
func TestADiskThatHangsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, suffix string
		way          int // to open the pipe, which ends what hangs
	}{
		{"when it is read", "", os.O_RDWR},
		{"when it is written", ".new", os.O_RDONLY | syscall.O_NONBLOCK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "marathon.json")
			if err := syscall.Mkfifo(file+tt.suffix, 0o600); err != nil {
				t.Fatal(err)
			}
			c := marathontest.Start(t, marathontest.Options{})
			c.Deploy(labelled("a", "a1"))
			f := follow(t, marathon.Options{URLs: c.URLs(), File: file, Patience: time.Hour})
			f.await("the app", func(state map[string]discovery.Update) bool { return len(state["apps/shop/a"].Instances) == 1 })
			c.Deploy(labelled("b", "b1"))
			f.await("another app", func(state map[string]discovery.Update) bool { return len(state["apps/shop/b"].Instances) == 1 })
			f.end()
			pipe, err := os.OpenFile(file+tt.suffix, tt.way, 0)
			if errors.Is(err, fs.ErrNotExist) { // a file took its place
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := pipe.Close(); err != nil {
				t.Error(err)
			}
			// What hung ends now, and takes its file with it.
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			late := time.After(time.Minute)
			for tt.suffix != "" {
				if _, err := os.Stat(file + tt.suffix); errors.Is(err, fs.ErrNotExist) {
					return
				}
				select {
				case <-tick.C:
				case <-late:
					t.Fatal("what hung does not end")
				}
			}
		})
	}
}
