// SPDX-License-Identifier: Apache-2.0

package origin_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-mesh/sluice/bench/origin"
)

// limited names the engine that this process is to run with few descriptors,
// instead of tests.
const limited = "ORIGIN_TEST_LIMITED"

func TestMain(m *testing.M) {
	if name := os.Getenv(limited); name != "" {
		if err := runLimited(name); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

func runLimited(name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := origin.Listen(origin.Options{Addresses: []string{"127.0.0.1:0"}})
	if err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 30, Max: 30}); err != nil {
		return err
	}
	fmt.Println(s.Addresses()[0])
	for _, e := range engines {
		if e.name == name {
			return e.run(s, ctx)
		}
	}
	return fmt.Errorf("no engine %q", name)
}

func TestConnectionsWaitWhereNoDescriptorIsLeft(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), limited+"="+e.name)
			cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			address, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			clients := make([]func(), 60) // more than it has descriptors
			for i := range clients {
				c := dial(t, strings.TrimSpace(address))
				send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				clients[i] = func() {
					answers(t, c, "GET")
					c.Close()
				}
			}
			for _, finish := range clients {
				finish()
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
