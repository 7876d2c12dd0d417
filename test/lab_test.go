// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdPrinted waits until the binary has printed what matches: printed REGEXP.
func cmdPrinted(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	if neg || len(args) != 1 || b.sluice == nil {
		ts.Fatalf("usage: printed REGEXP, after sluice-up")
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	ts.Check(b.sluice.out.await(ctx, compile(ts, args[0]), b.sluice.done))
}

// cmdTry runs the commands below the Nth of the things to try that the binary
// printed, as a user would paste them, and prints what they print: try [-until
// REGEXP] N. With -until it does so again until the output matches.
func cmdTry(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	pattern := regexp.MustCompile("")
	if len(args) == 3 && args[0] == "-until" {
		pattern, args = compile(ts, args[1]), args[2:]
	}
	if neg || len(args) != 1 || b.sluice == nil {
		ts.Fatalf("usage: try [-until REGEXP] N, after sluice-up")
	}
	lines := commandsOf(b.sluice.out.String(), args[0])
	if len(lines) == 0 {
		ts.Fatalf("no commands below %s. in:\n%s", args[0], b.sluice.out)
	}
	ts.Check(b.poll(func(context.Context) error {
		ts.Check(ts.Exec("sh", "-e", "-c", strings.Join(lines, "\n")))
		if out := ts.ReadFile("stdout"); !pattern.MatchString(out) {
			return fmt.Errorf("the output does not match %q:\n%s", pattern, out)
		}
		return nil
	}))
}

// commandsOf returns the indented lines below the line that begins with a
// number.
func commandsOf(text, number string) (lines []string) {
	found := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case found && strings.HasPrefix(line, "   "):
			lines = append(lines, strings.TrimSpace(line))
		case found:
			return lines
		default:
			found = strings.HasPrefix(line, number+". ")
		}
	}
	return lines
}

// ensureCurl puts a curl of ours into binDir if the machine has none.
func ensureCurl() error {
	if _, err := exec.LookPath("curl"); err == nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return os.Symlink(self, filepath.Join(binDir, "curl"))
}

// curl does what the printed lines need of it: curl -s [-X METHOD] [-H FIELD]
// [-d BODY] URL. It returns the exit code.
func curl(args []string) int {
	if err := fetch(args, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 1
	}
	return 0
}

func fetch(args []string, w io.Writer) error {
	method, fields, body, url := http.MethodGet, http.Header{"Accept": {"*/*"}}, "", ""
	for ; len(args) > 0; args = args[1:] {
		switch {
		case args[0] == "-s":
		case args[0] == "-X" && len(args) > 1:
			method, args = args[1], args[1:]
		case args[0] == "-H" && len(args) > 1:
			name, value, _ := strings.Cut(args[1], ":")
			fields.Add(name, strings.TrimSpace(value))
			args = args[1:]
		case args[0] == "-d" && len(args) > 1:
			body, args = args[1], args[1:]
		case !strings.HasPrefix(args[0], "-") && url == "":
			url = args[0]
		default:
			return errors.New("cannot do " + args[0])
		}
	}
	// The real one takes a % that is followed by no two digits as it stands.
	url = loneSign.ReplaceAllString(url, "%25$1")
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = fields
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

var loneSign = regexp.MustCompile(`%([^0-9A-Fa-f]|$)`)

// cmdExitCode runs a program and checks its exit code: exit-code CODE PROGRAM
// ARG....
func cmdExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit-code CODE PROGRAM ARG...")
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
