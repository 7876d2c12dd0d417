// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
)

var kills = flag.Int("kills", 5, "how many processes are killed while they write")

// childFolder names the folder in which a child process writes.
const childFolder = "LASTGOOD_CHILD_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		fmt.Println(writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver writes table after table and says of each that it is durable.
func writeForEver(dir string) error {
	// Whoever does not kill in a minute has gone.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	k, err := lastgood.Open(dir, lastgood.Options{Wrote: func(w lastgood.Write) {
		if w.Err == nil {
			fmt.Println(w.Version.Revision)
		}
	}})
	if err != nil {
		return err
	}
	go func() {
		for v := k.Status().Version.Revision + 1; ctx.Err() == nil; v++ {
			if err := errors.Join(k.Starting(version(1, v)), k.Save(table(version(1, v))), k.Flush(ctx)); err != nil {
				fmt.Println(err)
				return
			}
		}
	}()
	return k.Run(ctx)
}

func TestKilledWhileItWrites(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	for range *kills {
		// Not at the first one: it may be what the child before was killed at,
		// and would be in quarantine.
		durable := killAfter(t, dir, 2+random.IntN(30))
		k := open(t, dir, lastgood.Options{})
		l, err := k.Load()
		if err != nil || l.Table.Version.Revision < durable || len(l.Skipped) != 0 {
			t.Fatalf("Load() = %+v, %v, want at least revision %d, which is durable", l, err, durable)
		}
		if files := tables(t, dir); len(files) > lastgood.Generations+1 {
			t.Errorf("%d files, want at most %d", len(files), lastgood.Generations+1)
		}
		shut(t, k)
	}
}

// killAfter kills a child after some tables and returns the last that it said
// to be durable.
func killAfter(t *testing.T, dir string, tables int) uint64 {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childFolder+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var last uint64
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		if n == 1 {
			_, err := lastgood.Open(dir, lastgood.Options{})
			if locked, ok := errors.AsType[*lastgood.LockedError](err); !ok ||
				locked.Owner[:len("process ")] != "process " {
				t.Errorf("Open beside the child = %v, want a *LockedError that names it", err)
			}
		}
		if n == tables {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return last
}
