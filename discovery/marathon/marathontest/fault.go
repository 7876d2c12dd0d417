// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"net/http"
	"time"
)

// Fault is how calls go wrong. Of its effects, those that are set come in the
// order in which they are written here.
type Fault struct {
	// Path is the path of the calls, without the prefix; empty means all, and
	// one that ends in * all that begin so.
	Path string
	// Times is how many calls it concerns; zero means all until it is healed.
	Times int

	// Hang answers nothing until it is healed, or the caller has gone.
	Hang bool
	// Delay passes before the answer.
	Delay time.Duration
	// Status, Header and Body take the place of the answer if Status is set.
	Status int
	Header http.Header
	Body   string
	// Huge adds that many bytes to a list of apps, which stays good JSON.
	Huge int64
	// Cut ends the connection after that many bytes of the answer's body.
	Cut int
	// Slow is how long each byte of the answer's body takes.
	Slow time.Duration
}

// Request is a call that was made.
type Request struct {
	Instance int // which of the Marathons was asked
	Method   string
	Path     string // without the prefix
	Query    string // as sent
	Header   http.Header
	Status   int // of the answer; 0 as long as there is none
}
