// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"slices"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
)

// Sluice-Timeout-Ms says, in whole milliseconds, for how long an answer is
// still waited for by whoever sent a request. Instances are told it of exchanges
// that must be over at some time, and it is believed if a trusted proxy says it:
// nobody along a chain works on what nobody waits for any more.
const timeLeftName = "Sluice-Timeout-Ms"

// maxTimeLeft bounds the digits of a time: 11 days.
const maxTimeLeft = 9

// parseTimeLeft reads a time from 1 ms on.
func parseTimeLeft(b []byte) (time.Duration, bool) {
	n, ok := parseLength(b)
	return time.Duration(n) * time.Millisecond, ok && n > 0 && len(b) <= maxTimeLeft
}

func validTimeLeft(b []byte) bool {
	_, ok := parseTimeLeft(b)
	return ok
}

// within returns the shorter one of total and what is left as claimed.
func (cl *claims) within(total time.Duration) time.Duration {
	if left, ok := parseTimeLeft(cl.left); ok {
		return min(total, left)
	}
	return total
}

// appendTimeLeft appends the value of the field for what is left, in
// nanoseconds. It is 1 at least: what is over was ended, or is about to be.
func appendTimeLeft(b []byte, left int64) []byte {
	return strconv.AppendInt(b, max(left/int64(time.Millisecond), 1), 10)
}

// tellTimeLeft adds the field to the head that ends w.out; to that of a call of
// gRPC the one that is known there.
func (w *work) tellTimeLeft() {
	b := w.out[:len(w.out)-len("\r\n")]
	if w.plan.grpc {
		b = append(b, grpcTimeoutName+": "...)
	} else {
		b = append(b, timeLeftName+": "...)
	}
	w.left.from = uint32(len(b))
	b = w.appendTimeLeft(b)
	w.left.to = uint32(len(b))
	if w.plan.grpc {
		b = append(b, 'm')
	}
	b = append(b, "\r\n\r\n"...)
	w.out = b
}

// appendTimeLeft appends the digits of what is left.
func (w *work) appendTimeLeft(b []byte) []byte {
	if w.plan.grpc {
		return appendGRPCTimeLeft(b, w.end-w.now)
	}
	return appendTimeLeft(b, w.end-w.now)
}

// retellTimeLeft puts what is left by now in its place: it may have taken long
// to reach an instance, or others were tried before. It has no more digits than
// before.
func (w *work) retellTimeLeft() {
	var room [20]byte
	left := w.appendTimeLeft(room[:0])
	w.out = slices.Replace(w.out, int(w.left.from), int(w.left.to), left...)
	w.left.to = w.left.from + uint32(len(left))
}

// addedTimeLeft returns the field for an explanation; false if there is none.
func (cl *claims) addedTimeLeft(b *routing.Bounds, r conditions.Request) (routing.HeaderField, bool) {
	total, name := cl.within(b.Total), timeLeftName
	if value, next := r.Field("Content-Type", 0); next >= 0 && grpcType([]byte(value)) {
		name = grpcTimeoutName
		value, _ := r.Field("Grpc-Timeout", 0)
		if left, ok := parseGRPCTimeout([]byte(value)); ok {
			total = min(total, left)
		}
	}
	return routing.HeaderField{Name: name, Value: "(what is left of " + total.String() + ")"}, total != routing.Never
}
