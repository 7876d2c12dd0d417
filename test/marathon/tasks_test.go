// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// tasks are servers that say which app and task they are, and count who asks
// them.
type tasks struct {
	mu    sync.Mutex // guards asked
	asked map[string]int
}

func newTasks() *tasks { return &tasks{asked: make(map[string]int)} }

// runner starts them.
func (s *tasks) runner() marathontest.Runner {
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
