// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// serverVariable makes this binary a stream of tables: where it listens, how
// many gateways, routes and instances, and which origins answer.
const serverVariable = "SLUICE_CONTROL_SERVER"

// runServer publishes one table and then, for each line of standard input, one
// in which an instance of a gateway has changed: "GATEWAY N". It tells when all
// proxies have it. It ends with standard input, or is killed.
func runServer(spec string) int {
	if err := serve(spec, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(spec string, in io.Reader) error {
	words := strings.Fields(spec)
	var z size
	if _, err := fmt.Sscan(strings.Join(words[1:4], " "), &z.gateways, &z.routes, &z.instances); err != nil {
		return err
	}
	for _, w := range words[4:] {
		z.live = append(z.live, netip.MustParseAddrPort(w))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp4", words[0])
	if err != nil {
		return err
	}
	s, err := stream.New(stream.Options{Keepalive: time.Minute}) // all share a machine
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t := z.table()
	s.Publish(planner.Plan{Namespace: store.DefaultNamespace, Table: t})
	fmt.Println("ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var i, n int
		if _, err := fmt.Sscan(lines.Text(), &i, &n); err != nil {
			return err
		}
		next := &routing.Table{Version: t.Version, Gateways: slices.Clone(t.Gateways)}
		next.Version.Revision++
		next.Gateways[i] = z.gateway(i, n)
		t = next
		s.Publish(planner.Plan{
			Namespace: store.DefaultNamespace, Table: t,
			Changes: []discovery.Change{{ID: uint64(n), At: time.Now(), Kind: discovery.Endpoints}},
		})
		c, err := s.Wait(ctx, uint64(n))
		if err != nil {
			return err
		}
		fmt.Printf("change %d is %s\n", n, c.State)
	}
	cancel()
	return <-served
}

// server is a stream of tables in a process of its own.
type server struct {
	*process
	in io.WriteCloser
}

// serveTables starts one, and waits until it serves.
func serveTables(t *testing.T, at string, z size) *server {
	t.Helper()
	spec := []string{at, strconv.Itoa(z.gateways), strconv.Itoa(z.routes), strconv.Itoa(z.instances)}
	for _, live := range z.live {
		spec = append(spec, live.String())
	}
	s := &server{process: &process{name: "server", log: new(record), over: make(chan struct{})}}
	ctx, cancel := context.WithCancel(context.Background())
	s.cmd = exec.CommandContext(ctx, os.Args[0])
	s.cmd.Env = append(os.Environ(), serverVariable+"="+strings.Join(spec, " "))
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := s.cmd.StdinPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s.in = in
	go func() {
		s.err = s.cmd.Wait()
		close(s.over)
	}()
	t.Cleanup(func() {
		cancel()
		<-s.over
		if t.Failed() {
			t.Logf("%s wrote:\n%s", s.name, last(s.log.String(), 6000))
		}
	})
	await(t, "the server is ready", func() bool {
		if s.ended() {
			t.Fatalf("the server ended: %v\n%s", s.err, s.log)
		}
		return strings.Contains(s.log.String(), "ready\n")
	}, s.log.String)
	return s
}

// change has an instance of a gateway change, by the change n.
func (s *server) change(t *testing.T, gateway, n int) {
	t.Helper()
	if _, err := fmt.Fprintln(s.in, gateway, n); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
}

// served waits until all proxies have a change.
func (s *server) served(t *testing.T, n int) {
	t.Helper()
	said := fmt.Sprintf("change %d is ", n)
	await(t, said+"known", func() bool { return strings.Contains(s.log.String(), said) }, s.log.String)
	if log := s.log.String(); !strings.Contains(log, said+string(stream.Converged)+"\n") {
		t.Fatalf("%s\n%s", log, "not converged")
	}
}

// cpu returns how long a process has computed.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, p.log)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	return time.Duration(user+system) * tick
}

// memory returns how much of a process is in memory now, in bytes, or with
// VmHWM at most ever was.
func (p *process) memory(t *testing.T, what string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, p.log)
	}
	_, rest, _ := strings.Cut(string(text), what+":")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
