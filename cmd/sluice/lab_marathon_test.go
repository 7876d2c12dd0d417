// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// TestTasksEndWithTheLab kills a lab, which has no time to end its processes.
func TestTasksEndWithTheLab(t *testing.T) {
	sluice, err := exec.LookPath("sluice") // testscript.Main put it there
	if err != nil {
		t.Fatal(err)
	}
	free, err := freeport.Take(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(free[i])) }
	cmd := exec.CommandContext(t.Context(), sluice, "lab", "--marathon", "--load", "0", "--port", strconv.Itoa(free[0]), //nolint:gosec // it is ours
		"--marathon-listen", at(1), "--api", at(2), "--admin", at(3))
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // it has no time to tidy up either
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	task := regexp.MustCompile(`^  /simple-service-1\.[01]\.0 on (127\.0\.0\.1:\d+)$`)
	var tasks []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if m := task.FindStringSubmatch(lines.Text()); m != nil {
			tasks = append(tasks, m[1])
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says that it was killed
	if len(tasks) != 4 {
		t.Fatalf("the lab tells of the tasks %q, want 4:\n%s", tasks, &stderr)
	}
	for _, address := range tasks {
		if err := poll(func(ctx context.Context) error { return refuses(ctx, address) }); err != nil {
			t.Errorf("task on %s: %v", address, err)
		}
	}
}

func refuses(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil //nolint:nilerr // nobody listens there any more
	}
	return errors.Join(errors.New("it still listens"), conn.Close())
}

func TestVersionOf(t *testing.T) {
	for image, want := range map[string]string{
		"magneticio/simpleservice:1.0.0": "1.0.0",
		"registry.example:5000/shop:2":   "2",
		"registry.example:5000/shop":     "latest",
		"shop":                           "latest",
		"":                               "latest",
	} {
		if got := versionOf(image); got != want {
			t.Errorf("versionOf(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestTasksAreRefusedThatCannotStart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		launch marathontest.Launch
		want   string
	}{
		{"a time that is none", marathontest.Launch{Env: map[string]string{"BOOT": "soon"}}, "BOOT"},
		{"a time that is too long", marathontest.Launch{Env: map[string]string{"BOOT": "11m"}}, "0s to 10m0s"},
		{"an address that is not of this machine", marathontest.Launch{Address: "192.0.2.1", Ports: []int{0}}, "192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := (processes{}).Start(tt.launch); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start(%+v): error = %v, want one with %q", tt.launch, err, tt.want)
			}
		})
	}
}
