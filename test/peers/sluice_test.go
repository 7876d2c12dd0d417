// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// program is the path of Sluice, built for these tests.
var program string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-peers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "sluice")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", program, "../../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience is how long a program may take to do what it is asked for. It is
// only used up where something is wrong.
const patience = time.Minute

// journal keeps what a program writes. It is safe for concurrent use.
type journal struct {
	ended chan struct{} // closed when the program has ended

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// runProgram starts a program in a directory, and has it end when the test
// does.
func runProgram(t *testing.T, dir, path string, args ...string) *journal {
	t.Helper()
	log := &journal{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // how it ends does not matter, or shows in its log
		close(log.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-log.ended
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(path), log)
		}
	})
	return log
}

// until tries until it succeeds, the program has ended, or patience is over.
func until(t *testing.T, log *journal, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-log.ended:
			t.Fatalf("the program has ended: %v\n%s", err, log)
		case <-ctx.Done():
			t.Fatalf("waited for %v: %v\n%s", patience, err, log)
		case <-again.C:
		}
	}
}

// startSluice serves gateways on 127.0.0.1 and returns when all of them
// listen. Their files are in dir; further arguments may be given.
func startSluice(t *testing.T, dir, gateways string, args ...string) {
	t.Helper()
	file := filepath.Join(dir, "gateways.yaml")
	if err := os.WriteFile(file, []byte(gateways), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := loopback(freeport.One(t))
	args = append([]string{"run", "-f", file, "--tls-dir", dir, "--gateway-address", "127.0.0.1", "--admin", admin, "--drain", "1s"}, args...)
	log := runProgram(t, dir, program, args...)
	until(t, log, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %d %s", answer.StatusCode, body)
		}
		return nil
	})
}

// startPeer starts HAProxy with a configuration and returns when something
// listens on the ports.
func startPeer(t *testing.T, config string, ports ...int) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := runProgram(t, dir, lookUp(t, "haproxy"), "-db", "-f", file)
	for _, port := range ports {
		until(t, log, func(ctx context.Context) error {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(port))
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
}

// lookUp returns the path of a program, or skips the test.
func lookUp(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name)) // where servers are
	}
	if err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatalf("%s is not installed: .ci/install installs it", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// echo starts an instance that answers with the head it got, a field a line. It
// reads the request first: over HTTP/2, curl takes an answer that comes before
// the end of what it sends for an error.
func echo(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Header.Write(w) // a client that is gone is found by its test
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// contains checks that a text has all words.
func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}
