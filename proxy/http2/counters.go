// SPDX-License-Identifier: Apache-2.0

package http2

import "github.com/sluice-mesh/sluice/metrics"

// Ending says why we ended a connection.
type Ending uint8

// Why connections end.
const (
	EndedNot      Ending = iota // by us
	EndedDrain                  // the proxy or its listener stops
	EndedAge                    // it was older than MaxAge
	EndedIdle                   // it was without streams
	EndedProtocol               // the peer broke the protocol
	EndedSilent                 // it did not answer a PING
	EndedResets                 // and the rest since it was abused
	EndedRefused
	EndedPings
	EndedSettings
	EndedEmpty
	EndedPriorities
	EndedWindows
	EndedStrays
	EndedContinuations
	EndedBuffered
	endings
)

var endingNames = [endings]string{
	"", "drain", "age", "idle", "protocol_error", "silent",
	"resets", "refused_streams", "pings", "settings", "empty_frames", "priorities", "window_updates", "stray_frames",
	"continuations", "unread_output",
}

// String returns the name that metrics have for it; empty for EndedNot.
func (e Ending) String() string { return endingNames[e] }

// Endings returns all of them but EndedNot.
func Endings() []Ending {
	all := make([]Ending, 0, endings-1)
	for e := EndedNot + 1; e < endings; e++ {
		all = append(all, e)
	}
	return all
}

// Refusal says why a stream was not served.
type Refusal uint8

// Why streams are refused.
const (
	RefusedStreams   Refusal = iota // more than the peer may open
	RefusedMalformed                // what it says is no message
	RefusedUntaken                  // what was to serve it ended before it began
	refusals
)

var refusalNames = [refusals]string{"too_many", "malformed", "untaken"}

// String returns the name that metrics have for it.
func (r Refusal) String() string { return refusalNames[r] }

// Refusals returns all of them.
func Refusals() []Refusal { return []Refusal{RefusedStreams, RefusedMalformed, RefusedUntaken} }

// Counters count what ends before its time. A nil *Counters counts nothing, nor
// does a nil counter in it.
type Counters struct {
	Ended   [endings]*metrics.Counter  // by Ending
	Refused [refusals]*metrics.Counter // by Refusal
}

// NewCounters registers the counters.
func NewCounters(r *metrics.Registry) *Counters {
	c := new(Counters)
	for _, e := range Endings() {
		c.Ended[e] = r.HTTP2ConnectionsEnded(e.String())
	}
	for _, why := range Refusals() {
		c.Refused[why] = r.HTTP2StreamsRefused(why.String())
	}
	return c
}

func (c *Counters) ended(e Ending) {
	if c != nil && c.Ended[e] != nil {
		c.Ended[e].Add(0, 1)
	}
}

func (c *Counters) refused(r Refusal) {
	if c != nil && c.Refused[r] != nil {
		c.Refused[r].Add(0, 1)
	}
}
