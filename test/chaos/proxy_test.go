// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proxy is the binary, running.
type proxy struct {
	cmd   *exec.Cmd
	admin string // host:port
	log   *record
	ended chan error
}

// startProxy runs the binary and waits until it is ready.
func startProxy(t *testing.T, admin string, args ...string) *proxy {
	t.Helper()
	p := &proxy{admin: admin, log: new(record), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	args = append([]string{"run", "--gateway-address", "127.0.0.1", "--admin", admin, "--log-level", "warn"}, args...)
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel() // kills it if it has not ended
		<-over
	})
	p.await(t, "it is ready", func() bool {
		status, _, err := p.ask(t.Context(), "/readyz")
		return err == nil && status == http.StatusOK
	})
	return p
}

// await waits until a claim holds.
func (p *proxy) await(t *testing.T, what string, claim func() bool) {
	t.Helper()
	if !within(claim) {
		t.Fatalf("not within %v: %s\n%s", patience, what, p.log)
	}
}

// within reports whether a claim comes true in time.
func within(claim func() bool) bool {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for late := time.Now().Add(patience); !claim(); <-again.C {
		if time.Now().After(late) {
			return false
		}
	}
	return true
}

// end ends the proxy in order.
func (p *proxy) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("the proxy ended with %v\n%s", err, p.log)
		}
	case <-late.C:
		t.Errorf("the proxy has not ended within %v\n%s", patience, p.log)
	}
}

// ask gets a page of the admin server over a connection of its own.
func (p *proxy) ask(ctx context.Context, path string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, http.NoBody)
	if err != nil {
		return 0, "", err
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

// series are the series of /metrics.
type series map[string]float64

func (p *proxy) metrics(t *testing.T) series {
	t.Helper()
	m, err := p.scrape(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	return m
}

// scrape is metrics for goroutines that are not the test's.
func (p *proxy) scrape(ctx context.Context) (series, error) {
	status, text, err := p.ask(ctx, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("/metrics: %w", err)
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/metrics: status %d", status)
	}
	all := make(series)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("/metrics: %s: %w", line, err)
		}
		all[line[:at]] = v
	}
	return all, nil
}

// sum adds up the series of a name that have all these labels.
func (s series) sum(name string, labels ...string) (sum float64) {
	for key, v := range s {
		family, rest, _ := strings.Cut(key, "{")
		if family != name {
			continue
		}
		has := true
		for _, l := range labels {
			has = has && strings.Contains(rest, l)
		}
		if has {
			sum += v
		}
	}
	return sum
}

// descriptors counts the open files of the proxy.
func (p *proxy) descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	return len(list)
}

// peak returns the most memory that the proxy ever had, in bytes.
func (p *proxy) peak(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
