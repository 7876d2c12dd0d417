// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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

// record is what a process wrote. It is safe for concurrent use.
type record struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
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
	status, text, err := p.ask(t.Context(), "/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("/metrics: status %d, %v\n%s", status, err, p.log)
	}
	all := make(series)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		v, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all[lines.Text()[:at]] = v
	}
	return all
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
