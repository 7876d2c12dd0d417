// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Servers returns a Runner whose tasks are HTTP servers of this process: each
// listens on all ports of its Launch and answers by the handler that is made for
// it. A task that is stopped lets requests in flight end, for up to 10 s.
func Servers(handler func(Launch) http.Handler) Runner { return servers{handler} }

type servers struct{ handler func(Launch) http.Handler }

// Start starts the servers of a task.
func (s servers) Start(l Launch) (Process, error) {
	p := &serving{done: make(chan struct{})}
	h := s.handler(l)
	for _, port := range l.Ports {
		var lc net.ListenConfig
		ln, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(l.Address, strconv.Itoa(port)))
		if err != nil {
			p.Stop()
			return nil, fmt.Errorf("task %s: %w", l.Task, err)
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		p.servers = append(p.servers, srv)
		p.ports = append(p.ports, ln.Addr().(*net.TCPAddr).Port)
		p.running.Go(func() { _ = srv.Serve(ln) }) // it ends with an error: that it was closed
	}
	return p, nil
}

// serving is a task of Servers.
type serving struct {
	servers []*http.Server
	ports   []int
	running sync.WaitGroup
	once    sync.Once
	done    chan struct{}
}

// Ports are those that it listens on.
func (p *serving) Ports() []int { return p.ports }

// Done is closed when it has been stopped.
func (p *serving) Done() <-chan struct{} { return p.done }

// Stop ends the servers.
func (p *serving) Stop() {
	p.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, srv := range p.servers {
			if srv.Shutdown(ctx) != nil {
				_ = srv.Close()
			}
		}
		p.running.Wait()
		close(p.done)
	})
	<-p.done
}
