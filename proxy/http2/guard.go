// SPDX-License-Identifier: Apache-2.0

package http2

import "github.com/sluice-mesh/sluice/proxy/socket"

// guard counts what costs a peer less than us, in the second that runs. It
// belongs to the goroutine that reads.
type guard struct {
	second int64
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
// too many. Instances are trusted more: they serve us.
func (g *guard) count(s *Conn, what abuse) error {
	if now := socket.Now() / 1e9; now != g.second {
		g.second, g.counts = now, [abuses]int{}
	}
	g.counts[what]++
	most, text, why := what.bound(&s.o.Abuse)
	if g.counts[what] <= most || s.accept == nil && what != settingsFrames && what != pings {
		return nil
	}
	return &ConnError{Code: EnhanceYourCalm, Text: text, ending: why}
}

// countWindow counts a WINDOW_UPDATE, of which each frame of content that was
// sent is worth two.
func (g *guard) countWindow(s *Conn) error {
	s.mu.Lock()
	sent := s.output.sent
	s.output.sent = 0
	s.mu.Unlock()
	g.counts[windowUpdates] -= 2 * sent
	if g.counts[windowUpdates] < 0 {
		g.counts[windowUpdates] = -1
	}
	return g.count(s, windowUpdates)
}
