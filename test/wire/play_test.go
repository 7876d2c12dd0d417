// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/wire"
)

// stage is where one case is played: a gateway's port, and the only instance
// behind that gateway.
type stage struct {
	c       *wire.Case
	gateway int
	origin  net.Listener
}

// setStages gives each case a gateway of its own.
func setStages(t *testing.T, cases []*wire.Case) []*stage {
	t.Helper()
	ports, err := freeport.Take(t.Context(), len(cases))
	if err != nil {
		t.Fatal(err)
	}
	stages := make([]*stage, len(cases))
	for i, c := range cases {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		stages[i] = &stage{c: c, gateway: ports[i], origin: ln}
	}
	return stages
}

// atOnce bounds how many cases are played at a time. Most of them wait for
// nothing but the gateway.
const atOnce = 24

// play plays the cases, and returns what is wrong with each: nil if nothing
// is.
func play(ctx context.Context, stages []*stage, patienceOf func(*wire.Case) time.Duration) map[string]error {
	var mu sync.Mutex // guards verdicts
	verdicts := make(map[string]error, len(stages))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, s := range stages {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			gateway := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.gateway))
			err := s.c.Run(ctx, gateway, s.origin, patienceOf(s.c))
			mu.Lock()
			defer mu.Unlock()
			verdicts[s.c.Name] = err
		})
	}
	wg.Wait()
	return verdicts
}

// playSluice plays the cases at the binary: one process for all that need no
// flags, and one for each set of flags.
func playSluice(t *testing.T, cases []*wire.Case, patienceOf func(*wire.Case) time.Duration) map[string]error {
	t.Helper()
	byFlags := map[string][]*wire.Case{}
	for _, c := range cases {
		byFlags[c.Flags] = append(byFlags[c.Flags], c)
	}
	all := make(map[string]error, len(cases))
	for flags, some := range byFlags {
		stages := setStages(t, some)
		err := startSluice(t, stages, strings.Fields(flags))
		if err != nil && flags == "" {
			t.Fatal(err)
		}
		if err != nil {
			err = fmt.Errorf("sluice does not start with %s", flags)
			for _, c := range some {
				all[c.Name] = err
			}
			continue
		}
		maps.Copy(all, play(t.Context(), stages, patienceOf))
	}
	return all
}

// process is a program that runs until the test ends.
type process struct {
	log  bytes.Buffer // to be read after done
	done chan struct{}
}

// start runs a program; its log is shown if the test fails.
func start(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{done: make(chan struct{})}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second // then it is killed
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // it is interrupted
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", name, tail(p.log.String()))
		}
		if strings.Contains(p.log.String(), "panic") {
			t.Errorf("%s had a panic:\n%s", name, p.log.String())
		}
	})
	return p
}

// tail returns the end of a log.
func tail(log string) string {
	const most = 4 << 10
	return log[max(0, len(log)-most):]
}

// startSluice serves the stages' gateways and waits until it is ready.
func startSluice(t *testing.T, stages []*stage, flags []string) error {
	t.Helper()
	dir := t.TempDir()
	for _, s := range stages {
		if err := os.WriteFile(filepath.Join(dir, gatewayName(s.c)+".yaml"), []byte(gatewayFile(s)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	admin := fmt.Sprintf("127.0.0.1:%d", freeport.One(t))
	args := append([]string{"run", "-f", dir, "--gateway-address", "127.0.0.1", "--admin", admin, "--drain", "0s"}, flags...)
	p := start(t, dir, sluice, args...)
	return p.poll(t.Context(), func(ctx context.Context) error { return ready(ctx, admin) })
}

func gatewayName(c *wire.Case) string { return strings.ReplaceAll(c.Name, "/", "-") }

// gatewayFile returns the gateway of one stage.
func gatewayFile(s *stage) string {
	text := fmt.Sprintf("name: %s\nport: %d\nroutes:\n  \"[%s]\": {}\n", gatewayName(s.c), s.gateway, s.origin.Addr())
	if own := s.c.Gateway(); own != "" {
		text += "sluice:\n  " + strings.ReplaceAll(strings.TrimSuffix(own, "\n"), "\n", "\n  ") + "\n"
	}
	return text
}

// ready asks whether the gateways serve. Those that are refused, since a case
// asks for what is not there yet, do not count.
func ready(ctx context.Context, admin string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(string(text))
	}
	return err
}

// poll tries until it succeeds. What is waited for happens in another
// process, which has no other way to tell.
func (p *process) poll(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the process has ended: %w\n%s", err, tail(p.log.String()))
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-again.C:
		}
	}
}
