// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say how a program is started.
type Options struct {
	// Dir is a directory for its configuration and its log. It must exist.
	Dir string
	// Origins are the two addresses HOST:PORT of the instances a and b.
	Origins []string
	// CPU is the number of the processor that it is pinned to with all its
	// threads and children; negative: it is not pinned.
	CPU int
	// Sluice is the path of the program for the kind sluice. Empty means as
	// Kind.Available finds it.
	Sluice string
	// Mode is what it does: ModeHTTP, which "" stands for, ModeTLS, ModeH2 or
	// ModeTCP.
	Mode string
	// Table is what Sluice has in its table beside the measured gateway.
	Table Table
}

// What a program can do.
const (
	ModeHTTP = "http"
	// ModeTLS is ModeHTTP over TLS: 1.3 for those who can, with AES-128-GCM and
	// a certificate of its own for each start, whose key is on P-256.
	ModeTLS = "tls"
	// ModeH2 is ModeHTTP for clients that speak HTTP/2 from the first byte on.
	// Instances are spoken to in HTTP/1.1.
	ModeH2 = "h2"
	// ModeTCP forwards connections by the same weights without looking into
	// them, and so without a route for canaries.
	ModeTCP = "tcp"
)

var modes = []string{ModeHTTP, ModeTLS, ModeH2, ModeTCP}

// Table is what stands in a table beside the routes that take the requests.
// The zero Table is nothing.
type Table struct {
	// Gateways is the number of further gateways, each with a port and a
	// virtual host of its own; at most 5,000.
	Gateways int
	// Conditions is the number of conditions of the measured gateway that
	// never hold, and are asked before all others.
	Conditions int
	// Routes is the number of routes of the further gateways in all, at most
	// 100 each. If it is less than Gateways there is one each, and if Gateways
	// is zero there are as many gateways as it takes.
	Routes int
}

const (
	// readiness is how long a program may take to answer.
	readiness = 30 * time.Second
	// grace is how long it may take to end when it is asked to.
	grace = 5 * time.Second
	// attempts is how often a start is tried where somebody else took a port
	// between its choice and its use.
	attempts = 3
)

// Start starts a program and returns once it answers 200 on its address. It
// ends with ctx, by Stop, or with this process, whatever comes first. An
// error has the end of its log.
func Start(ctx context.Context, k Kind, o Options) (*Process, error) {
	return start(ctx, k, o, freePorts)
}

// start is Start with a way to choose ports.
func start(ctx context.Context, k Kind, o Options, ports func(context.Context, int) ([]int, error)) (p *Process, err error) {
	if err := o.check(k); err != nil {
		return nil, fmt.Errorf("start %s: %w", k.Name, err)
	}
	for range attempts {
		var taken []int
		if taken, err = ports(ctx, o.needed()); err != nil {
			break
		}
		var w work
		if w, err = newWork(o, taken); err != nil {
			break
		}
		if p, err = k.start(ctx, o, w); err == nil {
			return p, nil
		}
		if !strings.Contains(err.Error(), "ddress already in use") {
			break
		}
	}
	return nil, fmt.Errorf("start %s: %w", k.Name, err)
}

// start starts the program for some work and waits until it answers.
func (k Kind) start(ctx context.Context, o Options, w work) (*Process, error) {
	path := o.Sluice
	if k.Name != sluice || path == "" {
		var err error
		if path, err = k.find(); err != nil {
			return nil, err
		}
	}
	version, err := k.versionOf(ctx, path)
	if err != nil {
		return nil, err
	}
	if w.StreamModule, err = k.streamModule(ctx, path, o.Mode); err != nil {
		return nil, err
	}
	if err := w.write(k.configs); err != nil {
		return nil, err
	}
	p := &Process{Name: k.Name, Version: version, Address: w.Address, h2: w.H2, done: make(chan struct{})}
	if w.TLS {
		if p.TLS, err = writeCertificate(o.Dir); err != nil {
			return nil, err
		}
	}
	p.log = filepath.Join(o.Dir, k.Name+".log")
	if err := p.run(ctx, k, path, k.args(w), o.CPU); err != nil {
		return nil, err
	}
	if err := p.await(ctx); err != nil {
		log, _ := os.ReadFile(p.log) // without it the error still says what happened
		_ = p.Stop()
		return nil, fmt.Errorf("%w; the end of its log: %s", err, end(log))
	}
	return p, nil
}

// run starts the program and, in a goroutine that ends with it, waits for its
// end.
func (p *Process) run(ctx context.Context, k Kind, path string, args []string, cpu int) error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = os.Environ()
	if cpu >= 0 {
		// More threads than processors would only take turns.
		p.cmd.Env = append(p.cmd.Env, "GOMAXPROCS=1")
	}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = grace
	attach(p.cmd, k.last)
	started := make(chan error)
	go func() {
		defer close(p.done)
		// This thread starts the program pinned, and is what the system takes
		// for its parent: it must not be used for anything else, nor end
		// before the program. It ends with this goroutine.
		runtime.LockOSThread()
		defer log.Close()
		err := pinThread(cpu)
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		endGroup(p.cmd.Process.Pid)
	}()
	return <-started
}

// await waits until the program answers 200.
func (p *Process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readiness)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { // whoever else has the port may never answer
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	})
	speaks := new(http.Protocols)
	speaks.SetHTTP1(!p.h2)
	speaks.SetUnencryptedHTTP2(p.h2)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: p.TLS, Protocols: speaks}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	why := errors.New("nothing yet")
	for {
		status, err := p.probe(ctx, client)
		switch {
		case p.ended():
			return fmt.Errorf("it ended before it answered: %w", p.ending())
		case status == http.StatusOK:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("it does not answer with 200 on %s: %w", p.Address, why)
		case err != nil:
			why = err
		default:
			why = fmt.Errorf("status %d", status)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (p *Process) probe(ctx context.Context, client *http.Client) (status int, err error) {
	scheme := "http://"
	if p.TLS != nil {
		scheme = "https://"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+p.Address+"/", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}
