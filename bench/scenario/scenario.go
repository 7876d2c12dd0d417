// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

// Bounds of what a scenario may ask for. They catch a slip of the finger
// before it becomes an attack.
const (
	MaxConnections = 100_000
	MaxRate        = 10_000_000 // requests a second
	MaxDuration    = 24 * time.Hour
	MaxWarmup      = time.Hour
	MaxTimeout     = time.Minute
	MaxBody        = 64 << 20 // bytes, of all bodies of a mix together
	MaxMix         = 1000     // kinds of requests
	MaxWeight      = 1_000_000
)

// Scenario is a load to offer. The zero Scenario is GET / in a closed loop
// over 64 connections for 10 s.
type Scenario struct {
	Name string // for reports; may be empty
	// Host is sent as Host header by kinds that name none of their own. Empty
	// means the address that is dialled.
	Host          string
	Connections   int           // up to MaxConnections; zero: 64
	Rate          float64       // requests a second, up to MaxRate; zero: closed loop
	Duration      time.Duration // up to MaxDuration; zero: 10 s
	Warmup        time.Duration // up to MaxWarmup, not counted; zero: none
	Requests      int64         // end after so many; zero: no bound
	PerConnection int           // requests a connection carries; zero: no bound
	Timeout       time.Duration // of one request, up to MaxTimeout; zero: 10 s
	Headers       []Header      // sent with each request
	Mix           []Kind        // up to MaxMix; none: one zero Kind
}

// Kind is one kind of request. The zero Kind is GET / with weight 1.
type Kind struct {
	Name    string   // for reports; may be empty
	Weight  int      // its share of the mix, up to MaxWeight; zero: 1
	Method  string   // empty: GET, or POST where there is a body
	Path    string   // with its query; empty: /
	Host    string   // Host header; empty: the scenario's
	Headers []Header // sent after the scenario's
	Body    []byte   // nil: none
}

// Header is one header field as it is sent. The name is a token, the value
// has no line break.
type Header struct{ Name, Value string }

// Plan returns the plan that offers s to an address, host:port. Times and counts that are
// zero stay zero: load has the defaults. Its error
// joins one *Fault for each thing that is wrong; Path names it as the file
// does.
func (s *Scenario) Plan(address string) (load.Plan, error) {
	c := checker{add: func(path, problem string) error { return &Fault{Path: path, Problem: problem} }}
	c.scenario(s)
	if len(c.faults) > 0 {
		return load.Plan{}, errors.Join(c.faults...)
	}
	p := load.Plan{
		Address:       address,
		Connections:   s.Connections,
		Rate:          s.Rate,
		Duration:      s.Duration,
		Warmup:        s.Warmup,
		Requests:      s.Requests,
		PerConnection: s.PerConnection,
		Timeout:       s.Timeout,
	}
	for _, k := range s.kinds() {
		p.Mix = append(p.Mix, load.Request{
			Name:   k.Name,
			Weight: max(k.Weight, 1),
			Wire:   s.wire(k, address),
			NoBody: k.Method == http.MethodHead,
		})
	}
	return p, nil
}

// kinds returns the mix, which is never empty.
func (s *Scenario) kinds() []Kind {
	if len(s.Mix) == 0 {
		return []Kind{{}}
	}
	return s.Mix
}

// method returns the method that a kind is sent with.
func (k Kind) method() string {
	if k.Method == "" && k.Body != nil {
		return http.MethodPost
	}
	return cmp.Or(k.Method, http.MethodGet)
}

// Fault is one thing wrong in a scenario.
type Fault struct { //nolint:errname // the word for what is wrong in a file, as in routing
	Source       string // file it stands in; empty if it stands in none
	Line, Column int    // from 1; zero if it stands in no file
	Path         string // such as mix[2].path; empty for the whole
	Problem      string // what is wrong and what would be right
}

// Error returns source:line:column: path: problem, of these what is known.
func (f *Fault) Error() string {
	text := f.Problem
	if f.Path != "" {
		text = f.Path + ": " + text
	}
	if f.Line == 0 {
		return text
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.Source, f.Line, f.Column, text)
}
