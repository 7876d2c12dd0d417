// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// patience bounds how long a test waits for another process.
const patience = time.Minute

// quickExit has a program that is built with the race detector end at once,
// not after its usual second.
const quickExit = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", quickExit)
	}
	testscript.Main(m, map[string]func(){"sluice": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			for _, v := range os.Environ() {
				if strings.HasPrefix(v, "SLUICE_") {
					return fmt.Errorf("%s is set; the scripts need an environment without it", v)
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fetch":    fetch,
			"fields":   fields,
			"hangup":   hangUp,
			"halt":     halt,
			"marathon": serveMarathon,
			"origin":   serveText,
			"ports":    setPorts,
			"settles":  settles,
			"shares":   shares,
			"status":   status,
			"taken":    takePort,
			"until":    until,
		},
	})
}

// status runs a program and checks its exit code: status CODE PROGRAM ARG...
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE PROGRAM ARG...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s exited with %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// hangUp sends SIGHUP to a program in the background, which kill does not
// know: hangup TEXT, where the command line of the program contains TEXT.
func hangUp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hangup TEXT")
	}
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " "), args[0]) {
			ts.Check(cmd.Process.Signal(syscall.SIGHUP))
			return
		}
	}
	ts.Fatalf("no program in the background contains %q", args[0])
}

// until runs a program again and again until it exits with a code, for as long
// as patience lasts, and prints what it printed then: until CODE PROGRAM ARG...
// What is waited for is done by another process.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until CODE PROGRAM ARG...")
	}
	ts.Check(poll(func(context.Context) error {
		got := 0
		err := ts.Exec(args[1], args[2:]...)
		if ended, ok := errors.AsType[*exec.ExitError](err); ok {
			got = ended.ExitCode()
		} else if err != nil {
			return err
		}
		if strconv.Itoa(got) != args[0] {
			return fmt.Errorf("%s exits with %d, want %s", strings.Join(args[1:], " "), got, args[0])
		}
		return nil
	}))
}

// halt keeps a program in the background from running, and with ! lets it run
// again: halt TEXT, where its command line contains TEXT.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: halt TEXT")
	}
	for _, cmd := range ts.BackgroundCmds() {
		if !strings.Contains(strings.Join(cmd.Args, " "), args[0]) {
			continue
		}
		if neg {
			ts.Check(cmd.Process.Signal(syscall.SIGCONT))
			return
		}
		// A process that is halted would not end when the script fails.
		ts.Defer(func() { _ = cmd.Process.Signal(syscall.SIGCONT) })
		ts.Check(cmd.Process.Signal(syscall.SIGSTOP))
		return
	}
	ts.Fatalf("no program in the background contains %q", args[0])
}

// setPorts sets each named variable to a port that no other test gets:
// ports NAME...
func setPorts(ts *testscript.TestScript, neg bool, names []string) {
	if neg || len(names) == 0 {
		ts.Fatalf("usage: ports NAME...")
	}
	ports, err := freeport.Take(context.Background(), len(names))
	ts.Check(err)
	for i, name := range names {
		ts.Setenv(name, strconv.Itoa(ports[i]))
	}
}

// takePort listens on a free port until the script ends: taken NAME.
func takePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken NAME")
	}
	ln, err := listen(context.Background(), "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// serveText answers each request with TEXT until the script ends, and sets NAME
// to its port: origin NAME TEXT.
func serveText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: origin NAME TEXT")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, args[1])
	}))
	ts.Defer(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// shares gets a URL N times, one after the other, and prints each body with
// how often it came: shares URL N [HEADER VALUE]. Each request is answered 200.
func shares(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 4 {
		ts.Fatalf("usage: shares URL N [HEADER VALUE]")
	}
	text, err := sharesOf(context.Background(), args[0], args[1], args[2:]...)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), text)
}

// settles does what shares does until the answers match REGEXP:
// settles URL N REGEXP.
func settles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: settles URL N REGEXP")
	}
	want, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	ts.Check(poll(func(ctx context.Context) error {
		text, err := sharesOf(ctx, args[0], args[1])
		if err == nil && !want.MatchString(text) {
			err = fmt.Errorf("%s answers\n%swant %s", args[0], text, want)
		}
		return err
	}))
}

// sharesOf returns a line for each body that a URL answers with, and how often
// it came.
func sharesOf(ctx context.Context, url, times string, header ...string) (string, error) {
	n, err := strconv.Atoi(times)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	counts := make(map[string]int)
	for range n {
		status, body, err := get(ctx, url, header...)
		if err != nil {
			return "", err
		}
		if status != http.StatusOK {
			return "", fmt.Errorf("GET %s answers %d: %s", url, status, body)
		}
		counts[body]++
	}
	var text strings.Builder
	for _, body := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintln(&text, body, counts[body])
	}
	return text.String(), nil
}

// fetch gets a URL until it answers 200 and its body matches REGEXP if that is
// given, and prints the body: fetch URL [REGEXP]. With ! it waits until
// nothing answers any more.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: fetch URL [REGEXP]")
	}
	var body string
	var err error
	if neg {
		err = awaitEnd(args[0])
	} else {
		want, compileErr := regexp.Compile("(?m)" + strings.Join(args[1:], ""))
		ts.Check(compileErr)
		body, err = await(args[0], want.MatchString)
	}
	fmt.Fprint(ts.Stdout(), body)
	ts.Check(err)
}

// await asks url, whose server is another process, until it answers 200 with a
// body that is good.
func await(url string, good func(body string) bool) (string, error) {
	var last string
	err := poll(func(ctx context.Context) error {
		status, body, err := get(ctx, url)
		if last = body; err == nil && (status != http.StatusOK || !good(body)) {
			err = fmt.Errorf("%s: status %d, or not the body that was waited for", url, status)
		}
		return err
	})
	return last, err
}

// awaitEnd asks url until nothing answers.
func awaitEnd(url string) error {
	return poll(func(ctx context.Context) error {
		if _, _, err := get(ctx, url); err != nil && ctx.Err() == nil {
			return nil
		}
		return fmt.Errorf("%s still answers", url)
	})
}

// poll tries until it succeeds, or for as long as patience lasts. What is
// waited for happens in another process, which has no other way to tell.
func poll(try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", patience, err)
		case <-again.C:
		}
	}
}

func get(ctx context.Context, url string, header ...string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
