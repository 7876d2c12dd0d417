// SPDX-License-Identifier: Apache-2.0

package siege

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-mesh/sluice/bench/load"
)

// What clients may cost, in bytes of resident memory: docs/security.md states
// the same. Garbage is part of it, which is up to twice what is in use.
const (
	ofProcess = 54 << 20 // of which some 35 MB are mapped from the program's file
	ofIdler   = 10 << 10
	ofDripper = 16 << 10
	ofSipper  = 96 << 10
	// heapAfter is what the heap may grow to when they have gone.
	heapAfter = 64 << 20
)

// fit returns the share of a crowd that the limit of open files allows for:
// both this process and the proxy have an end of each connection, and the
// proxy two of those that read slowly.
func fit(t *testing.T) (idle, drip, sip int) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	need := idlers + drippers + 2*sippers
	most := int(min(l.Cur, 1<<20))*7/10 - 300 // the proxy takes three quarters
	if need <= most {
		return idlers, drippers, sippers
	}
	t.Logf("only %d files may be open: %d connections instead of %d", l.Cur, most, need)
	return idlers * most / need, drippers * most / need, sippers * most / need
}

// each calls f for 0 to n-1, some at a time, and waits.
func each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	work := make(chan int)
	faults := make(chan error, n)
	for range 16 {
		wg.Go(func() {
			for i := range work {
				if err := f(i); err != nil {
					faults <- err
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	close(faults)
	first := true
	for err := range faults {
		if first {
			t.Errorf("%d of %d connections: such as %v", len(faults)+1, n, err)
			first = false
		}
	}
}

// crowded are clients that do not let go.
type crowded struct {
	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// connect opens a connection that sends a text.
func (c *crowded) connect(ctx context.Context, s *sluice, text string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", s.gateway)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	c.mu.Lock()
	c.conns = append(c.conns, nc)
	c.mu.Unlock()
	_, err = io.WriteString(nc, text)
	return nc, err
}

func (c *crowded) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nc := range c.conns {
		_ = nc.Close()
	}
	c.conns = nil
}

// asked connects, sends one request and reads so much of the answer.
func (c *crowded) asked(ctx context.Context, s *sluice, text string, n int) error {
	nc, err := c.connect(ctx, s, text)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(nc, b); err != nil {
		return fmt.Errorf("no whole answer: %w", err)
	}
	if !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		return fmt.Errorf("answered %.60q", b)
	}
	return nil
}

// resident returns the bytes of memory that the process has in use, and
// files the number of its descriptors.
func (s *sluice) resident() int {
	s.t.Helper()
	f, err := os.Open(s.proc("status"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				s.t.Fatal(err)
			}
			return kb << 10
		}
	}
	s.t.Fatal("the kernel does not tell the memory of a process")
	return 0
}

func (s *sluice) files() int {
	s.t.Helper()
	entries, err := os.ReadDir(s.proc("fd"))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(entries)
}

func (s *sluice) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), name)
}

// heapGoal returns how large the heap may become before it is collected, which
// is three times what the last collection left in use; after two collections,
// which new connections bring about.
func (s *sluice) heapGoal() float64 {
	s.t.Helper()
	const cycles = "go_gc_duration_seconds_count"
	before := s.metric(cycles)
	s.eventually("garbage is collected", func() bool {
		offer(s.t, load.Plan{Address: s.gateway, Connections: 8, PerConnection: 1, Duration: 200 * time.Millisecond})
		return s.metric(cycles) >= before+2
	})
	return s.metric("go_memstats_next_gc_bytes")
}

// Clients that keep connections for nothing, send a request for ever, or read
// an answer for ever cost a bounded amount of memory, which comes back, and
// hinder nobody.
func TestSlowCrowdIsCheap(t *testing.T) {
	// However long it takes to get the crowd together, it stays.
	s := startWith(t, "{timeouts: {head: 10m, idle: 10m, keep_alive: 10m}}", fast(t))
	idle, drip, sip := fit(t)
	fair := load.Plan{Address: s.gateway, Connections: 8, Rate: 200, Duration: time.Second}
	offer(t, fair)
	files := s.files()
	var c crowded
	defer c.close()
	each(t, idle, func(int) error { return c.asked(t.Context(), s, small, 100) })
	atIdle := s.resident()
	each(t, sip, func(int) error {
		return c.asked(t.Context(), s, "GET /bytes/67108864 HTTP/1.1\r\nHost: a\r\n\r\n", 1000)
	})
	each(t, drip, func(int) error {
		_, err := c.connect(t.Context(), s, "GET / HTTP/1.1\r\nHost: a\r\nCookie: "+strings.Repeat("a", 1000))
		return err
	})
	r := offer(t, fair)
	at := s.resident()
	if r.Status[2] != r.Requests || r.Failed() > 0 {
		t.Errorf("beside the crowd: %v by class of status, failed %v", r.Status, r.Errors)
	}
	most := ofProcess + idle*ofIdler + drip*ofDripper + sip*ofSipper
	t.Logf("%d idle, %d slow to ask, %d slow to read: %d MB resident, %d MB with the idle ones alone, bound %d MB; p99 of others %v",
		idle, drip, sip, at>>20, atIdle>>20, most>>20, time.Duration(r.Latency.ValueAtQuantile(99)))
	if at > most {
		t.Errorf("%d bytes resident, want at most %d", at, most)
	}
	if n := s.files(); n < idle+drip+sip {
		t.Fatalf("%d descriptors are open with %d clients: the crowd is not there", n, idle+drip+sip)
	}
	c.close()
	s.eventually("the descriptors come back", func() bool { return s.files() <= files+20 })
	goal := s.heapGoal()
	t.Logf("afterwards the heap may grow to %.1f MB", goal/(1<<20))
	if goal > heapAfter {
		t.Errorf("the heap may grow to %v bytes after all have gone, want at most %d", goal, heapAfter)
	}
	if status, _ := s.ask("/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d", status)
	}
}
