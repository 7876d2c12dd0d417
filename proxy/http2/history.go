// SPDX-License-Identifier: Apache-2.0

package http2

import "slices"

// history knows the streams that were closed last. Frames of those that we
// reset may still be on their way; of others they are a fault.
type history struct {
	ring []uint32 // numbers; wasReset marks those that were reset by us
	next int
}

const (
	// historySize is more than the streams that may end within a round trip.
	historySize = 128
	byUs        = 1 << 31
)

func (h *history) add(id uint32, reset bool) {
	if reset {
		id |= byUs
	}
	if len(h.ring) < historySize {
		h.ring = append(h.ring, id)
		return
	}
	h.ring[h.next] = id
	h.next = (h.next + 1) % historySize
}

// has reports whether a stream is known to have been closed.
func (h *history) has(id uint32) bool { return h.find(id) != 0 }

// wasReset reports whether it was closed by us, before its time.
func (h *history) wasReset(id uint32) bool { return h.find(id)&byUs != 0 }

func (h *history) find(id uint32) uint32 {
	for _, past := range slices.Backward(h.ring) {
		if past&^byUs == id {
			return past
		}
	}
	return 0
}
