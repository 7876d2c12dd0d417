// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// variable is what expand replaces.
var variable = regexp.MustCompile(`\$\{\w+\}`)

// liveWithin bounds how long a change may take to be live here. It is far
// above what is promised, since other tests use the machine at the same time;
// the true figure is in the log of each script.
const liveWithin = 30 * time.Second

// stage writes a file with the script's variables beside dst, under a name
// that is no gateway file's, and returns that name.
func stage(ts *testscript.TestScript, src, dst string) string {
	path := ts.MkAbs(dst)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	staged := filepath.Join(filepath.Dir(path), "."+filepath.Base(src)+".staged")
	ts.Check(os.WriteFile(staged, []byte(expand(ts, ts.ReadFile(src))), 0o644)) //nolint:gosec // no secret
	return staged
}

// cmdPut writes a file with each ${NAME} replaced, in one step, and does not
// wait for anything: put SRC DST.
func cmdPut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: put SRC DST")
	}
	staged := stage(ts, args[0], args[1])
	bedOf(ts).written = time.Now()
	ts.Check(os.Rename(staged, ts.MkAbs(args[1])))
}

// cmdApply does what put does and waits until the table that comes of it
// serves: apply SRC DST.
func cmdApply(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: apply SRC DST")
	}
	took := bedOf(ts).change(ts, "", args[0], args[1])
	ts.Logf("live after %v", took.Round(time.Millisecond))
}

// change writes a file, if before is given that form first and at once after
// it the one of src, and returns how long it took until the new table served.
func (b *bed) change(ts *testscript.TestScript, before, src, dst string) time.Duration {
	old, err := b.version(b.ctx)
	ts.Check(err)
	path := ts.MkAbs(dst)
	first := ""
	if before != "" {
		first = stage(ts, before, dst)
	}
	staged := stage(ts, src, dst)
	written := time.Now()
	if first != "" {
		ts.Check(os.Rename(first, path))
	}
	ts.Check(os.Rename(staged, path))
	var took time.Duration
	ts.Check(b.poll(func(ctx context.Context) error {
		s, err := b.status(ctx)
		switch {
		case err != nil:
			return err
		case s.Table == nil || s.Table.Version == old:
			return fmt.Errorf("%s: version %s still serves", dst, old)
		}
		took = s.Table.Published.Sub(written)
		return nil
	}))
	if took > liveWithin {
		ts.Fatalf("%s was live after %v, want %v at most", dst, took, liveWithin)
	}
	return took
}

// errAgain asks longPoll to go on.
var errAgain = errors.New("again")

// longPoll tries until the result is not errAgain. What is tried bounds the
// time.
func (b *bed) longPoll(try func() error) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if err := try(); !errors.Is(err, errAgain) {
			return err
		}
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-again.C:
		}
	}
}
