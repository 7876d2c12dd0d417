// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
)

// A call of gRPC is a request of HTTP/2 whose answer ends with a grpc-status,
// in its trailers or, where there is nothing else to say, in its head
// (Trailers-Only). What the proxy itself cannot do is said in that form, too.

// callsGRPC reports whether a head is that of a call by its content type, of
// which "application/grpc-web" is none.
func (h *head) callsGRPC() bool {
	if h.seen&(1<<kindContentType) == 0 {
		return false
	}
	for i := range h.fields {
		if f := &h.fields[i]; f.kind == kindContentType {
			return grpcType(h.bytes(f.value))
		}
	}
	return false
}

func grpcType(value []byte) bool {
	const name = "application/grpc"
	if len(value) < len(name) || !fold(value[:len(name)], name) {
		return false
	}
	return len(value) == len(name) || value[len(name)] == '+' || value[len(name)] == ';'
}

const (
	grpcTimeoutName = "grpc-timeout"
	grpcStatusName  = "grpc-status"
)

// takeGRPCTimeout takes the time out of a head for how long the caller waits,
// so that the instance can be told what is left of it instead. What is no time
// stays for the instance to refuse.
func (h *head) takeGRPCTimeout() (time.Duration, bool) {
	for i := range h.fields {
		f := &h.fields[i]
		if f.kind != kindOther || !fold(h.bytes(f.name), grpcTimeoutName) {
			continue
		}
		d, ok := parseGRPCTimeout(h.bytes(f.value))
		if ok {
			f.kind = kindOwn
		}
		return d, ok
	}
	return 0, false
}

// parseGRPCTimeout reads 1 to 8 digits and a unit. No time at all is read as
// the shortest: the caller does not wait.
func parseGRPCTimeout(b []byte) (time.Duration, bool) {
	n := len(b) - 1
	if n < 1 || n > maxGRPCTimeout {
		return 0, false
	}
	units := [...]time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond, time.Nanosecond}
	at := bytes.IndexByte([]byte("HMSmun"), b[n])
	count, ok := parseLength(b[:n])
	if at < 0 || !ok {
		return 0, false
	}
	// 99,999,999 hours are more than there is room for.
	d := units[at] * time.Duration(min(count, int64(longestGRPCTimeout/units[at])))
	return max(d, time.Nanosecond), true
}

const (
	// maxGRPCTimeout bounds the digits of a time.
	maxGRPCTimeout = 8
	// longestGRPCTimeout is as long as any exchange is waited for.
	longestGRPCTimeout = 10 * 365 * 24 * time.Hour
)

// appendGRPCTimeLeft appends what is left, in nanoseconds, as the value of
// grpc-timeout in milliseconds, less its unit. It is 1 at least.
func appendGRPCTimeLeft(b []byte, left int64) []byte {
	return strconv.AppendInt(b, min(max(left/int64(time.Millisecond), 1), 99_999_999), 10)
}

// call makes the exchange keep to what a call of gRPC wants: its streams may be
// silent for as long as a tunnel, and it ends when the caller waits no longer.
func (c *conn) call(total time.Duration) time.Duration {
	w := c.w
	if w.bounds != &w.room {
		w.room = *w.bounds
		w.bounds = &w.room
	}
	w.room.Idle = max(w.room.Idle, w.room.Tunnel)
	if left, ok := w.head.takeGRPCTimeout(); ok {
		w.room.FirstByte = max(w.room.FirstByte, left) // which ends it before
		w.hurried = w.hurried || left < total
		total = min(total, left)
	}
	return total
}

// grpcStatus returns one more than the grpc-status that the head of an answer
// says; 0 if it says none.
func (h *head) grpcStatus() uint8 {
	for i := range h.fields {
		if f := &h.fields[i]; f.kind == kindOther && fold(h.bytes(f.name), grpcStatusName) {
			return parseGRPCStatus(h.bytes(f.value))
		}
	}
	return 0
}

// parseGRPCStatus returns one more than a status. What gRPC does not define is
// told apart from what it does, and from none.
func parseGRPCStatus(value []byte) uint8 {
	if n, ok := parseLength(value); ok && n < 17 && len(value) < 3 {
		return uint8(n) + 1
	}
	return 18
}

// heardOf notes how a call ended as far as the head of its answer says so, and
// returns the status that the answer stands for where instances are judged: one
// that says with its head alone that it cannot serve might as well have said 503.
func (w *work) heardOf() int {
	if !w.plan.grpc {
		return w.answer.status
	}
	w.exchange.Seen.GRPC = w.answer.grpcStatus()
	if w.exchange.Seen.GRPC == live.GRPCUnavailable+1 && w.answer.status == http.StatusOK {
		return http.StatusServiceUnavailable
	}
	return w.answer.status
}

// appendGRPCFailure appends an answer of our own to a call: its head says all.
func appendGRPCFailure(b []byte, f failure) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Type: application/grpc\r\nCache-Control: no-store\r\nContent-Length: 0\r\nGrpc-Status: "...)
	b = strconv.AppendUint(b, uint64(f.reason.GRPC(f.status)), 10)
	b = append(b, "\r\nGrpc-Message: "...)
	b = append(b, f.reason.String()...)
	b = append(b, ": "...)
	b = appendGRPCMessage(b, f.reason.Text())
	b = append(b, "\r\nSluice-Reason: "...)
	b = append(b, f.reason.String()...)
	b = append(b, "\r\n"...)
	b = appendComeAgain(b, f)
	b = appendHSTS(b, f.hsts)
	b = appendExplain(b, f.explain)
	b = appendConnection(b, f.close, f.keepAlive)
	return append(b, "\r\n"...)
}

// appendGRPCMessage appends a text with what is not visible ASCII, and "%", in
// percent-encoding.
func appendGRPCMessage(b []byte, text string) []byte {
	for _, x := range []byte(text) {
		if x >= ' ' && x <= '~' && x != '%' {
			b = append(b, x)
			continue
		}
		const digits = "0123456789ABCDEF"
		b = append(b, '%', digits[x>>4], digits[x&15])
	}
	return b
}
