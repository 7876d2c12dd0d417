// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// tasks are servers that say which app and task they are, and count who asks
// them. It is a Runner.
type tasks struct {
	mu    sync.Mutex // guards what follows
	asked map[string]int
	late  bool // what starts from now on does not listen before let
	held  []*booting
}

func newTasks() *tasks { return &tasks{asked: make(map[string]int)} }

// Start implements marathontest.Runner.
func (s *tasks) Start(l marathontest.Launch) (marathontest.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.late {
		return s.servers().Start(l)
	}
	ports, err := freeport.Take(context.Background(), len(l.Ports))
	if err != nil {
		return nil, err
	}
	l.Ports = ports
	p := &booting{launch: l, done: make(chan struct{})}
	s.held = append(s.held, p)
	return p, nil
}

func (s *tasks) servers() marathontest.Runner {
	return marathontest.Servers(func(l marathontest.Launch) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.mu.Lock()
			s.asked[l.Task]++
			s.mu.Unlock()
			fmt.Fprintf(w, "%s %s\n", l.App, l.Task)
		})
	})
}

// of returns how often a task was asked.
func (s *tasks) of(task string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[task]
}

// boot has tasks listen only once the function is called that it returns.
func (s *tasks) boot(t *testing.T) (listen func()) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.late = false
		for _, p := range s.held {
			if err := p.listen(s.servers()); err != nil {
				t.Error(err)
			}
		}
		s.held = nil
	}
}

// booting is a task that does not listen yet.
type booting struct {
	launch marathontest.Launch
	once   sync.Once
	done   chan struct{}

	mu     sync.Mutex // guards server
	server marathontest.Process
}

func (p *booting) listen(r marathontest.Runner) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server, err = r.Start(p.launch)
	return err
}

// Ports implements marathontest.Process.
func (p *booting) Ports() []int { return p.launch.Ports }

// Stop implements marathontest.Process.
func (p *booting) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		p.server.Stop()
	}
	p.once.Do(func() { close(p.done) })
}

// Done implements marathontest.Process.
func (p *booting) Done() <-chan struct{} { return p.done }
