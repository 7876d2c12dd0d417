// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"context"
	"errors"
	"runtime"
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
	// Mode is what it does: "http", which "" stands for.
	Mode string
	// Table is what Sluice has in its table beside the measured gateway.
	Table Table
}

// Table is what stands in a table beside the routes that take the requests.
// The zero Table is nothing.
type Table struct {
	Gateways   int // further gateways
	Conditions int // conditions of the measured gateway that never hold, asked before all others
	Routes     int // routes of the further gateways in all
}

// Process is a program that was started.
type Process struct {
	Name    string // of its kind
	Version string // as Kind.Available tells it
	Address string // HOST:PORT that it answers on
}

// Start starts a program and returns once it answers 200 on its address. It
// ends with ctx, by Stop, or with this process, whatever comes first.
func Start(ctx context.Context, k Kind, o Options) (*Process, error) {
	return nil, errors.ErrUnsupported
}

// PID returns the number of the process, the parent of all others it has.
func (p *Process) PID() int { return 0 }

// CPUTime returns the processor time, of user and system, that the process
// and its children have used.
func (p *Process) CPUTime() (time.Duration, error) { return 0, errors.ErrUnsupported }

// Memory returns the bytes of memory that the process and its children hold
// (their resident set sizes).
func (p *Process) Memory() (int64, error) { return 0, errors.ErrUnsupported }

// Stop ends the process and waits for its end.
func (p *Process) Stop() error { return nil }

// Pin pins all threads of a process to one processor. Only Linux can.
func Pin(pid, cpu int) error { return errors.ErrUnsupported }

// CPUs returns how many processors this process may use.
func CPUs() int { return runtime.NumCPU() }
