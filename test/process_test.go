// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is the binary, running.
type process struct {
	cmd  *exec.Cmd
	out  *journal // standard output
	log  *journal // standard error
	done chan struct{}
	err  error // what it ended with; read after done
}

// journal keeps what is written and tells those who wait for it. It is safe
// for concurrent use.
type journal struct {
	mu    sync.Mutex // guards the fields below
	text  bytes.Buffer
	grown chan struct{} // closed by the next write
}

func newJournal() *journal { return &journal{grown: make(chan struct{})} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.grown)
	j.grown = make(chan struct{})
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits until what was written matches.
func (j *journal) await(ctx context.Context, re *regexp.Regexp, end <-chan struct{}) error {
	for {
		j.mu.Lock()
		found, grown := re.Match(j.text.Bytes()), j.grown
		j.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-grown:
		case <-end:
			// All that was ever written is there now.
			if re.MatchString(j.String()) {
				return nil
			}
			return fmt.Errorf("sluice ended without %q:\n%s", re, j)
		case <-ctx.Done():
			return fmt.Errorf("no %q within %v:\n%s", re, patience, j)
		}
	}
}

// start runs the binary in the script's directory. Nothing of the
// environment of the tests reaches it but what a program needs.
func (b *bed) start(ts *testscript.TestScript, args []string) (*process, error) {
	p := &process{out: newJournal(), log: newJournal(), done: make(chan struct{})}
	p.cmd = exec.CommandContext(b.ctx, filepath.Join(binDir, "sluice"), args...)
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	b.wg.Go(func() {
		p.err = p.cmd.Wait()
		close(p.done)
	})
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// end waits for the process to end and returns its exit code.
func (p *process) end(within time.Duration) (int, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		return 0, fmt.Errorf("sluice has not ended within %v:\n%s", within, p.log)
	}
	if ended, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return ended.ExitCode(), nil
	}
	return 0, p.err
}

// cmdSluiceUp runs the binary in the background on the script's addresses and
// waits until it is ready: sluice-up [-unready] VERB ARG.... With -unready it
// waits only until a table serves.
func cmdSluiceUp(ts *testscript.TestScript, neg bool, args []string) {
	unready := len(args) > 0 && args[0] == "-unready"
	if unready {
		args = args[1:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: sluice-up [-unready] VERB ARG...")
	}
	b := bedOf(ts)
	if b.sluice != nil {
		ts.Fatalf("sluice is up already")
	}
	args = append(slices.Clone(args), "--gateway-address", b.host, "--admin", b.admin)
	p, err := b.start(ts, args)
	ts.Check(err)
	b.sluice = p
	if unready {
		ts.Check(b.poll(func(ctx context.Context) error {
			s, err := b.status(ctx)
			if err == nil && s.Table == nil {
				err = errors.New("no table yet")
			}
			return err
		}))
		return
	}
	ts.Check(b.poll(func(ctx context.Context) error {
		code, body, err := b.ask(ctx, http.MethodGet, "/readyz")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	}))
}

// cmdSluiceDown ends the binary by a signal and checks that it ends in time
// and how: sluice-down [-signal INT|TERM|HUP] [-within TIME] [CODE]. What it
// printed can be looked at by stdout and stderr.
func cmdSluiceDown(ts *testscript.TestScript, neg bool, args []string) {
	sig, within, code := syscall.SIGTERM, patience, 0
	for ; len(args) > 0; args = args[1:] {
		switch {
		case args[0] == "-signal" && len(args) > 1:
			sig = signalOf(ts, args[1])
			args = args[1:]
		case args[0] == "-within" && len(args) > 1:
			d, err := time.ParseDuration(args[1])
			ts.Check(err)
			within, args = d, args[1:]
		default:
			n, err := strconv.Atoi(args[0])
			ts.Check(err)
			code = n
		}
	}
	b := bedOf(ts)
	if neg || b.sluice == nil {
		ts.Fatalf("usage: sluice-down [-signal INT|TERM|HUP] [-within TIME] [CODE], after sluice-up")
	}
	if b.sluice.ended() {
		ts.Fatalf("sluice ended by itself: %v\n%s", b.sluice.err, b.sluice.log)
	}
	ts.Check(b.sluice.cmd.Process.Signal(sig))
	b.finish(ts, within, code)
}

// cmdSluiceEnded waits until the binary has ended by itself: sluice-ended
// CODE.
func cmdSluiceEnded(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	if neg || len(args) != 1 || b.sluice == nil {
		ts.Fatalf("usage: sluice-ended CODE, after sluice-up")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	b.finish(ts, patience, code)
}

// finish waits for the end of the binary and checks how it ended.
func (b *bed) finish(ts *testscript.TestScript, within time.Duration, code int) {
	p := b.sluice
	got, err := p.end(within)
	ts.Check(err)
	b.sluice = nil
	fmt.Fprint(ts.Stdout(), p.out)
	fmt.Fprint(ts.Stderr(), p.log)
	if got != code {
		ts.Fatalf("sluice exited with %d, want %d:\n%s", got, code, p.log)
	}
	if strings.Contains(p.log.String(), "panic") {
		ts.Fatalf("sluice had a panic:\n%s", p.log)
	}
}

func signalOf(ts *testscript.TestScript, name string) syscall.Signal {
	switch name {
	case "INT":
		return syscall.SIGINT
	case "TERM":
		return syscall.SIGTERM
	case "HUP":
		return syscall.SIGHUP
	}
	ts.Fatalf("unknown signal %q", name)
	return 0
}

// cmdLog waits until the log of the binary matches, or checks that it does
// not: [!] log REGEXP.
func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	if len(args) != 1 || b.sluice == nil {
		ts.Fatalf("usage: [!] log REGEXP, after sluice-up")
	}
	re := compile(ts, args[0])
	if neg {
		if text := b.sluice.log.String(); re.MatchString(text) {
			ts.Fatalf("the log has %q:\n%s", re, text)
		}
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	ts.Check(b.sluice.log.await(ctx, re, b.sluice.done))
}

// compile compiles a pattern in which ^ and $ match at lines.
func compile(ts *testscript.TestScript, pattern string) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	return re
}
