// SPDX-License-Identifier: Apache-2.0

package http2

import "github.com/sluice-mesh/sluice/proxy/socket"

// guard counts what costs a peer less than us, in the second that runs. It
// belongs to the goroutine that reads.
type guard struct {
	second int64
	sent   int // frames, when it began
	counts [abuses]int
}

// abuse is something that is counted.
type abuse uint8

const (
	resetStreams abuse = iota
	refusedStreams
	pings
	settingsFrames
	emptyFrames
	priorities
	windowUpdates
	strays
	abuses
)

// bound returns how often it may happen, and what a connection ends with on
// which it happens more often.
func (a abuse) bound(o *Abuse) (most int, text string, why Ending) {
	switch a {
	case resetStreams:
		return o.Resets, "too many streams reset", EndedResets
	case refusedStreams:
		return o.Refused, "too many streams that were refused", EndedRefused
	case pings:
		return o.Pings, "too many PING frames", EndedPings
	case settingsFrames:
		return o.Settings, "too many SETTINGS frames", EndedSettings
	case emptyFrames:
		return o.Empty, "too many empty frames", EndedEmpty
	case priorities:
		return o.Priorities, "too many PRIORITY frames", EndedPriorities
	case windowUpdates:
		return o.Windows, "too many WINDOW_UPDATE frames", EndedWindows
	default:
		return o.Strays, "too many frames of no stream", EndedStrays
	}
}

// count counts one more, and returns what the connection ends with if that is
// too many. Instances may do more: they serve us. The mutex is held.
func (g *guard) count(s *Conn, what abuse) error {
	if now := socket.Now() / 1e9; now != g.second {
		g.second, g.sent, g.counts = now, s.output.sent, [abuses]int{}
	}
	g.counts[what]++
	most, text, why := what.bound(&s.o.Abuse)
	if s.accept == nil {
		most *= 10
	}
	if g.counts[what] <= most+what.earned(s.output.sent-g.sent) {
		return nil
	}
	return &ConnError{Code: EnhanceYourCalm, Text: text, ending: why}
}

// earned returns how much more may happen since so many frames were sent: some
// peers widen windows for each, and measure the round trip by PING frames while
// content comes, as those of gRPC do.
func (a abuse) earned(sent int) int {
	switch a {
	case windowUpdates:
		return 2 * sent
	case pings:
		return sent
	default:
		return 0
	}
}
