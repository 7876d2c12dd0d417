// SPDX-License-Identifier: Apache-2.0

package siege

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/origin"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// patience bounds how long a test waits for another process. It is only used
// up where something is wrong.
const patience = time.Minute

// binary is what is besieged.
var binary string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-siege-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "../../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// sluice is the binary, running, with one gateway.
type sluice struct {
	t       *testing.T
	cmd     *exec.Cmd
	gateway string // host:port
	admin   string // host:port
	log     *record
	ended   chan struct{}
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

// start runs the binary in front of an origin, with more flags, until the test
// ends. It must live until then, without a panic.
func start(t *testing.T, origin string, flags ...string) *sluice {
	t.Helper()
	return startWith(t, "{}", origin, flags...)
}

// startWith does so with settings of the gateway.
func startWith(t *testing.T, settings, origin string, flags ...string) *sluice {
	t.Helper()
	ports, err := freeport.Take(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	s := &sluice{t: t, log: new(record), ended: make(chan struct{})}
	s.gateway = "127.0.0.1:" + strconv.Itoa(ports[0])
	s.admin = "127.0.0.1:" + strconv.Itoa(ports[1])
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := fmt.Sprintf("name: g\nport: %d\nroutes: {\"[%s]\": {}}\nsluice: %s\n", ports[0], origin, settings)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"run", "-f", file, "--gateway-address", "127.0.0.1", "--admin", s.admin, "--drain=-1s"}, flags...)
	s.cmd = exec.CommandContext(ctx, binary, args...)
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = patience
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // how it ended is told by its log
	}()
	t.Cleanup(func() {
		select {
		case <-s.ended:
			t.Errorf("sluice ended by itself:\n%s", s.log)
		default:
		}
		cancel()
		<-s.ended
		if strings.Contains(s.log.String(), "panic") {
			t.Errorf("sluice had a panic:\n%s", s.log)
		}
	})
	s.eventually("it is ready", func() bool {
		status, _ := s.ask("/readyz")
		return status == http.StatusOK
	})
	return s
}

// fast starts an origin that answers at once, until the test ends.
func fast(t *testing.T) (address string) {
	t.Helper()
	server, err := origin.Listen(origin.Options{Addresses: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("origin: %v", err)
		}
	})
	return server.Addresses()[0]
}

// eventually waits until a claim holds that only another process can make
// true.
func (s *sluice) eventually(what string, claim func() bool) {
	s.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); !claim(); <-again.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s\n%s", patience, what, s.log)
		}
	}
}

// ask gets a page of the admin server; status 0 means that there was none.
func (s *sluice) ask(path string) (status int, body string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.admin+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// metric returns the sum of the series of a name.
func (s *sluice) metric(name string) float64 {
	s.t.Helper()
	status, text := s.ask("/metrics")
	if status != http.StatusOK {
		s.t.Fatalf("/metrics: status %d\n%s", status, s.log)
	}
	sum := 0.0
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if at := strings.LastIndexByte(lines.Text(), ' '); strings.HasPrefix(series, name+"{") {
			value = lines.Text()[at+1:]
		} else if series != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			s.t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum += v
	}
	return sum
}
