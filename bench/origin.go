// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"time"

	"github.com/sluice-mesh/sluice/bench/rival"
)

// instances is how many addresses the origin has.
const instances = 2

// originProcess is the origin that all proxies lead to, in a process of its
// own.
type originProcess struct {
	addresses []string
	end       context.CancelFunc
	ended     chan struct{}
}

// originLine is how sluice bench origin tells where it listens.
var originLine = regexp.MustCompile(`^origin on http://(\S+)$`)

// patience is how long the origin may take to start, and to end.
const patience = 10 * time.Second

// startOrigin starts the origin and returns once it listens. A CPU that is
// not negative is the one it is pinned to.
func startOrigin(ctx context.Context, program string, cpu int) (*originProcess, error) {
	ctx, end := context.WithCancel(ctx)
	args := []string{"bench", "origin"}
	for range instances {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the caller names the program
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	endWithParent(cmd)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		end()
		return nil, err
	}
	o := &originProcess{end: end, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(o.ended)
		// The thread that starts a process must outlive it where the process
		// is to end with its parent: it is the thread that counts as such.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			o.addresses, err = readAddresses(bufio.NewScanner(out))
		}
		started <- err
		if err != nil {
			end()
		}
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		o.stop()
		return nil, fmt.Errorf("start the origin: %w: %s", err, bytes.TrimSpace(complaints.Bytes()))
	}
	if cpu >= 0 {
		if err := rival.Pin(cmd.Process.Pid, cpu); err != nil {
			o.stop()
			return nil, fmt.Errorf("pin the origin: %w", err)
		}
	}
	return o, nil
}

// readAddresses reads where the origin listens from what it prints.
func readAddresses(lines *bufio.Scanner) (addresses []string, err error) {
	for len(addresses) < instances && lines.Scan() {
		if m := originLine.FindStringSubmatch(lines.Text()); m != nil {
			addresses = append(addresses, m[1])
		}
	}
	if len(addresses) < instances {
		return nil, errors.Join(errors.New("it did not tell its addresses"), lines.Err())
	}
	return addresses, nil
}

// stop ends the origin and waits for its end.
func (o *originProcess) stop() {
	o.end()
	<-o.ended
}
