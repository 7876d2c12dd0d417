// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strconv"
	"strings"
	"time"
)

// HealthKind says how it is found out whether an instance is healthy.
type HealthKind uint8

const (
	// HealthUnwritten is not written: the default holds.
	HealthUnwritten HealthKind = iota
	// HealthNone looks at nothing: what is ready serves.
	HealthNone
	// HealthTCP opens a connection.
	HealthTCP
	// HealthHTTP sends a request and judges the answer.
	HealthHTTP
	// HealthGRPC asks grpc.health.v1.Health whether it is serving.
	HealthGRPC
)

// String returns none, tcp, http or grpc; nothing if it is not written.
func (k HealthKind) String() string { return healthNames[k] }

var healthNames = [...]string{HealthNone: "none", HealthTCP: "tcp", HealthHTTP: "http", HealthGRPC: "grpc"}

// Health says how instances are checked. The zero Health is not written.
// Comparable: equal ones ask the same.
type Health struct {
	Kind    HealthKind
	Every   time.Duration // from the beginning of a check to that of the next one
	Timeout time.Duration // of a whole check
	Fall    int           // failures in a row that make an instance unhealthy
	Rise    int           // successes in a row that make it healthy again
	// Panic is the share of usable instances below which all are used, 0 to
	// never do so.
	Panic Weight

	// Service is what HealthGRPC asks for; empty means the server as a whole.
	Service string

	// The rest is of HealthHTTP.
	Method string
	Path   string // with query, as it is sent
	Host   string // empty means the address of the instance
	Fields string // further header fields, each line with its CRLF
	Status StatusSet
	Body   string // must stand in the answer; empty means anything
}

// Ejection says when an instance that fails its requests is left alone for a
// while. The zero Ejection is not written. Comparable.
type Ejection struct {
	Off      bool
	Failures int       // in a row; 0 means that they are not counted
	Connects int       // connections in a row that could not be made; 0 means as above
	Statuses StatusSet // answers that are failures
	// Errors is by how many points the share of failures over each time Over
	// must exceed that of all other instances together; 0 means that it is not
	// judged. AtLeast is how many requests both sides must have had.
	Errors  Weight
	Over    time.Duration
	AtLeast int
	// Time is how long the first ejection lasts, the nth n times as long, but
	// MostTime at most.
	Time, MostTime time.Duration
	Most           Weight // the largest share of the instances that may be ejected or unhealthy after an ejection
}

// SlowStartNone is the slow start of those who want none.
const SlowStartNone time.Duration = -1

// Watch says how the instances of a route are looked after, defaults applied.
// Comparable.
type Watch struct {
	Health    Health   // of HealthNone, HealthTCP or HealthHTTP
	Ejection  Ejection // the zero Ejection if there is none
	SlowStart time.Duration
}

// DefaultHealth returns the Health of a kind that says nothing else.
func DefaultHealth(k HealthKind) Health {
	h := Health{Kind: k}
	if k == HealthUnwritten || k == HealthNone {
		return h
	}
	h.Every, h.Timeout, h.Fall, h.Rise, h.Panic = 2*time.Second, 2*time.Second, 3, 2, FullWeight/2
	if k == HealthHTTP {
		h.Method, h.Path = "GET", "/"
		h.Status.add(200, 399)
	}
	return h
}

// DefaultEjection returns the Ejection of a gateway that says nothing.
func DefaultEjection() Ejection {
	return Ejection{
		Failures: 5, Connects: 3,
		Over: 10 * time.Second, AtLeast: 20,
		Time: 30 * time.Second, MostTime: 5 * time.Minute, Most: FullWeight / 2,
	}
}

// watch returns how the instances of a route of the gateway are looked after:
// what the route says, then what the gateway says, each as a whole, then what
// the instances ask for.
func (g *Gateway) watch(r *Route) Watch {
	w := Watch{Health: Health{Kind: HealthNone}, Ejection: DefaultEjection()}
	for _, i := range r.Instances {
		if i.Unproven {
			w.Health = DefaultHealth(HealthTCP)
		}
		w.SlowStart = max(w.SlowStart, i.SlowStart)
	}
	put(&w.Health, g.Health.Value())
	put(&w.Health, r.Health.Value())
	put(&w.Ejection, g.Ejection.Value())
	put(&w.Ejection, r.Ejection.Value())
	if w.Ejection.Off {
		w.Ejection = Ejection{}
	}
	put(&w.SlowStart, g.SlowStart)
	put(&w.SlowStart, r.SlowStart)
	w.SlowStart = max(w.SlowStart, 0)
	return w
}

// StatusSet is a set of statuses from 0 to 639. The zero StatusSet is empty.
// Comparable.
type StatusSet [10]uint64

// Has reports whether a status is in the set.
func (s *StatusSet) Has(code int) bool {
	return code >= 0 && code < 64*len(s) && s[code>>6]&(1<<(code&63)) != 0
}

func (s *StatusSet) add(from, to int) {
	for code := from; code <= to; code++ {
		s[code>>6] |= 1 << (code & 63)
	}
}

// Empty reports whether nothing is in the set.
func (s *StatusSet) Empty() bool { return *s == StatusSet{} }

// String returns the statuses as they may be written: 200-299, 404.
func (s *StatusSet) String() string {
	var parts []string
	for code := 0; code < 64*len(s); code++ {
		if !s.Has(code) {
			continue
		}
		from := code
		for s.Has(code + 1) {
			code++
		}
		part := strconv.Itoa(from)
		if code > from {
			part += "-" + strconv.Itoa(code)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// The states of instances.
const (
	StateUnknown   = "unknown"   // nobody looked, or it was not seen often enough
	StateHealthy   = "healthy"   // its checks succeed
	StateUnhealthy = "unhealthy" // its checks fail
	StateEjected   = "ejected"   // its requests failed
)

// InstanceState is how an instance of a route stands.
type InstanceState struct {
	Address string    `json:"address"`
	State   string    `json:"state"`
	Since   time.Time `json:"since,omitzero"`  // zero if it was always so
	Why     string    `json:"why,omitempty"`   // for people
	Until   time.Time `json:"until,omitzero"`  // of an ejection
	Share   int       `json:"share,omitempty"` // of its weight that it takes, in percent, while it starts slowly
	// Unused reports that it gets nothing new. One that fails is used all the
	// same where too few others are left.
	Unused bool `json:"unused,omitempty"`
	// Awaited reports that no check has succeeded yet, before which it gets
	// nothing in any case: nobody but us checks it.
	Awaited bool `json:"awaited,omitempty"`
}
