// SPDX-License-Identifier: Apache-2.0

//go:build unix

package store_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
)

var rounds = flag.Int("store.rounds", 10, "how often TestKilled kills a writer")

const (
	writers     = 4
	keptCommits = 100
)

// TestMain is the writer that other tests start and kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SLUICE_STORE_WRITER"); dir != "" {
		if err := writeOn(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeOn counts up one gateway a writer and prints what was acknowledged. It
// kills itself where SLUICE_STORE_POINT says, if at all: name and how often
// that point is passed before. SLUICE_STORE_BYTES has it fill its disk, and
// SLUICE_STORE_FAULT write until the disk fails, and on.
func writeOn(dir string) error {
	name, text, _ := strings.Cut(os.Getenv("SLUICE_STORE_POINT"), ":")
	left, _ := strconv.Atoi(text)
	o := store.Options{KeepCommits: keptCommits}.At(func(point string) {
		if point != name {
			return
		}
		if left--; left < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
	})
	s, err := store.Open(dir, o)
	if err != nil {
		return err
	}
	if limit, _ := strconv.ParseUint(os.Getenv("SLUICE_STORE_BYTES"), 10, 64); limit > 0 {
		return fillUp(s, limit)
	}
	if os.Getenv("SLUICE_STORE_FAULT") != "" {
		return outlive(s)
	}
	ended := make(chan error, writers)
	for w := range writers {
		go func() { ended <- countUp(s, strconv.Itoa(w)) }()
	}
	go func() {
		for s.Backup(context.Background(), io.Discard) == nil { //nolint:revive // as often as it can
		}
	}()
	for range writers {
		err = errors.Join(err, <-ended)
	}
	return errors.Join(err, s.Close())
}

func countUp(s store.Store, name string) error {
	ctx := context.Background()
	n := 0
	if a, err := s.Get(ctx, gateway(name)); err == nil {
		if n, err = strconv.Atoi(strings.TrimSpace(a.Text)); err != nil {
			return err
		}
	}
	for {
		n++
		// Some texts take many pages.
		text := strconv.Itoa(n) + strings.Repeat(" ", n%7*3000)
		a, err := store.Put(ctx, s, gateway(name), text, store.Any, "ada")
		if err != nil {
			return err
		}
		fmt.Printf("%s %d %d\n", name, n, a.Revision)
	}
}

// writer returns a command that writes on in dir.
func writer(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "SLUICE_STORE_WRITER="+dir)...)
	return cmd
}

func TestKilled(t *testing.T) {
	points := []string{"before write", "after sync", "trim", "backup", ""}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	acknowledged, slowest := 0, time.Duration(0)
	for round := range *rounds {
		point := points[round%len(points)]
		acks := kill(t, dir, point, random.IntN(40))
		begun := time.Now()
		s, err := store.Open(dir, store.Options{KeepCommits: keptCommits})
		if err != nil {
			t.Fatalf("round %d, killed at %q: %v", round, point, err)
		}
		slowest = max(slowest, time.Since(begun))
		checkAcks(t, s, acks)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d, killed at %q", round, point)
		}
		acknowledged += len(acks)
	}
	t.Logf("%d rounds, %d writes acknowledged, opened in %v at most", *rounds, acknowledged, slowest)
}

// ack is a write that was acknowledged.
type ack struct {
	name     string
	n        int
	revision uint64
}

// kill starts a writer that ends at a point, or is killed by us after so many
// acknowledgements, and returns what it acknowledged.
func kill(t *testing.T, dir, point string, after int) []ack {
	t.Helper()
	cmd := writer(t, dir, fmt.Sprintf("SLUICE_STORE_POINT=%s:%d", point, after))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acks []ack
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a ack
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d", &a.name, &a.n, &a.revision); err != nil {
			t.Errorf("%q: %v", lines.Text(), err)
		}
		if acks = append(acks, a); point == "" && len(acks) > after {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the writer ended with %v, want it killed at %q", cmd.ProcessState, point)
	}
	return acks
}

// checkAcks finds what was acknowledged in the store, and no more than one
// write a writer that was not.
func checkAcks(t *testing.T, s store.Store, acks []ack) {
	t.Helper()
	v, err := s.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	floor := v.Revision - min(v.Revision, keptCommits)
	commits, err := told(t, s, floor)
	if err != nil || uint64(len(commits)) != v.Revision-floor {
		t.Fatalf("the log has %d commits after %d, %v, want all up to %d", len(commits), floor, err, v.Revision)
	}
	for i, c := range commits {
		if c.Version.Revision != floor+uint64(i)+1 {
			t.Errorf("revision %d follows %d", c.Version.Revision, floor+uint64(i))
		}
	}
	last := map[string]int{}
	for _, a := range acks {
		last[a.name] = max(last[a.name], a.n)
		if a.revision > v.Revision {
			t.Errorf("acknowledged revision %d is lost: the store is at %d", a.revision, v.Revision)
		} else if a.revision > floor {
			if got := commits[a.revision-floor-1].Changes[0]; got.Name != a.name || strings.TrimSpace(got.Text) != strconv.Itoa(a.n) {
				t.Errorf("revision %d is %s=%.20s, acknowledged was %s=%d", a.revision, got.Name, got.Text, a.name, a.n)
			}
		}
	}
	for name, n := range last {
		a, err := s.Get(t.Context(), gateway(name))
		if text := strings.TrimSpace(a.Text); err != nil || (text != strconv.Itoa(n) && text != strconv.Itoa(n+1)) {
			t.Errorf("%s is %.20q, %v, acknowledged was %d", name, text, err, n)
		}
	}
}

// fillUp writes until there is no room: no file may have more than limit
// bytes. Then reads still work, and so do writes once there is room.
func fillUp(s store.Store, limit uint64) error {
	ctx := context.Background()
	bound := func(cur uint64) error {
		var r syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			return err
		}
		r.Cur = min(cur, r.Max)
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r)
	}
	if err := bound(limit); err != nil {
		return err
	}
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = store.Put(ctx, s, gateway(strconv.Itoa(n)), strings.Repeat("x", 100_000), store.Absent, "ada")
	}
	if !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("write %d: error %w, want %w", n, err, store.ErrFull)
	}
	list, err := s.List(ctx, "", "")
	if err != nil || len(list.Artifacts) != n-1 || list.Version.Revision != uint64(n-1) {
		return fmt.Errorf("the list has %d of %d artifacts, %w", len(list.Artifacts), n-1, err)
	}
	if err := bound(1 << 40); err != nil {
		return err
	}
	_, err = store.Put(ctx, s, gateway("more"), "text", store.Absent, "ada")
	return errors.Join(err, s.Close())
}

// A process that is killed keeps its pages in the memory of the system, so it
// is killed here between writing pages and syncing them, and before the sync
// of the page that makes them count, too. This shows the order; that a sync
// reaches the disk is the system's part.
func TestKilledAtASync(t *testing.T) {
	strace := tracer(t)
	dir := t.TempDir()
	for n := 1; n <= 8; n++ {
		cmd := writer(t, dir)
		cmd.Args = append([]string{
			strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
			"-e", fmt.Sprintf("inject=fdatasync:signal=KILL:when=%d", 3+n),
		}, cmd.Path)
		cmd.Path = strace
		out, _ := cmd.Output()
		var acks []ack
		for line := range strings.Lines(string(out)) {
			var a ack
			if _, err := fmt.Sscanf(line, "%s %d %d", &a.name, &a.n, &a.revision); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			acks = append(acks, a)
		}
		if cmd.ProcessState.Success() {
			t.Fatal("the writer was not killed")
		}
		s, err := store.Open(dir, store.Options{KeepCommits: keptCommits})
		if err != nil {
			t.Fatalf("killed at sync %d: %v", n, err)
		}
		checkAcks(t, s, acks)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// tracer returns strace, if it is there and may trace.
func tracer(t *testing.T) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		lack(t, "strace is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), strace, "-o", os.DevNull, os.Args[0], "-test.run", "^$").CombinedOutput(); err != nil {
		lack(t, "strace may not trace here: %v: %.200s", err, out)
	}
	return strace
}

// lack skips a test for what the machine lacks, unless that is forbidden.
func lack(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("FORBID_SKIPS") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// outlive writes until the disk fails, which is no lack of room. Then nothing
// is taken any more, and what was acknowledged is read as before. It prints
// how many writes were acknowledged.
func outlive(s store.Store) error {
	ctx := context.Background()
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		_, err = store.Put(ctx, s, gateway(strconv.Itoa(n)), "text", store.Absent, "ada")
	}
	acknowledged := n - 1
	fmt.Println(acknowledged)
	for range 3 { // the disk would take these
		if !errors.Is(err, store.ErrReadOnly) {
			return fmt.Errorf("a write after %d: error %w, want %w", acknowledged, err, store.ErrReadOnly)
		}
		_, err = store.Put(ctx, s, gateway("more"), "text", store.Any, "ada")
	}
	if _, err := s.Lease(ctx, "leader", "ada", time.Minute); !errors.Is(err, store.ErrReadOnly) {
		return fmt.Errorf("Lease: error %w, want %w", err, store.ErrReadOnly)
	}
	for i := range acknowledged {
		if _, err := s.Get(ctx, gateway(strconv.Itoa(i))); err != nil {
			return fmt.Errorf("Get(%d): %w", i, err)
		}
	}
	return s.Close()
}

// A sync that fails leaves open what the disk holds, and one that succeeds
// after it says nothing about what the first one lost. So the store takes
// nothing more until it is opened anew, and then has what was acknowledged
// and at most the one write more that was under way.
func TestADiskThatFailsIsNotWrittenAnyMore(t *testing.T) {
	strace := tracer(t)
	for n := 4; n <= 9; n++ { // syncs of pages, and of the page that makes them count
		dir := t.TempDir()
		cmd := writer(t, dir, "SLUICE_STORE_FAULT=1")
		cmd.Args = []string{
			strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
			"-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", n), cmd.Path,
		}
		cmd.Path = strace
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("sync %d: %v", n, err)
		}
		acknowledged, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, store.Options{})
		v, err := s.Version(t.Context())
		if err != nil || v.Revision < acknowledged || v.Revision > acknowledged+1 {
			t.Errorf("sync %d: revision %d, %v, acknowledged were %d", n, v.Revision, err, acknowledged)
		}
		put(t, s, "more", "text")
	}
}

// Every acknowledged commit was synced twice: its pages, and then the page
// that makes them count. One more sync in some commits makes the file longer.
func TestACommitIsSyncedTwice(t *testing.T) {
	strace := tracer(t)
	log := filepath.Join(t.TempDir(), "log")
	cmd := writer(t, t.TempDir(), "SLUICE_STORE_POINT=after sync:20")
	cmd.Args = append([]string{strace, "-f", "-qq", "-o", log, "-e", "trace=fdatasync"}, cmd.Path)
	cmd.Path = strace
	_ = cmd.Run() // it ends by being killed after commit 21
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	// The new file is made by 3 more: its first pages, and its first commit.
	if got := strings.Count(string(text), "fdatasync("); got != 2*21+3 {
		t.Errorf("%d syncs in 21 commits, want %d", got, 2*21+3)
	}
}

func TestAFullDiskIsSaidAndHarmsNothing(t *testing.T) {
	dir := t.TempDir()
	if out, err := writer(t, dir, "SLUICE_STORE_BYTES=2000000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := open(t, filepath.Clean(dir), store.Options{})
	if _, err := s.Get(t.Context(), gateway("more")); err != nil {
		t.Errorf("Get: %v", err)
	}
}
