// SPDX-License-Identifier: Apache-2.0

package marathontest

// Runner starts what tasks are. Its methods are safe for concurrent use.
type Runner interface {
	// Start starts what a task is and returns once its ports are known.
	// Whether anybody answers on them by then is another matter, as in life.
	Start(l Launch) (Process, error)
}

// Launch is what is asked of a Runner.
type Launch struct {
	// App, Task and Version name the task: the app's full id, the task's own,
	// and the version of the app that it is of.
	App, Task, Version string
	// Image is that of the app's container; empty if it has none.
	Image string
	// Env is the app's environment, with what Marathon adds, but for the ports.
	Env map[string]string
	// Address is where the task listens: its agent's, or its own if it has one.
	Address string
	// Ports are those that it listens on, of which 0 means any that is free.
	Ports []int
}

// Process is a task that was started.
type Process interface {
	// Ports are those of the Launch, with free ones in place of zeroes.
	Ports() []int
	// Stop has it end, and returns when it has. It may be called more than
	// once.
	Stop()
	// Done is closed when it has ended.
	Done() <-chan struct{}
}
