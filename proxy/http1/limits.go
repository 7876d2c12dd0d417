// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// admit asks whether the decided exchange may begin, and may wait for it.
func (c *conn) admit() live.Reason {
	w := c.w
	w.halfClosed = 0
	reason := w.exchange.Admit(&w.view, c, w.now)
	w.now = socket.Now() // it may have waited
	if reason == live.RequestAborted {
		return c.parted()
	}
	return reason
}

// Gone implements limit.Client: nobody wants the answer any more, or it would
// come too late.
func (c *conn) Gone() bool { return c.aborted.Load() || c.left() }

// parted says why an exchange ended that waited.
func (c *conn) parted() live.Reason {
	if c.aborted.Load() {
		return live.ShuttingDown
	}
	return c.w.late(live.RequestAborted)
}

// pick returns the instance for an attempt. If all that are left have as much
// to do as they may, it waits for one of them; the reason says why there is
// none.
func (c *conn) pick(attempt int) (*upstream.Instance, live.Reason) {
	w := c.w
	i := w.keeper.pick(&w.walk, attempt)
	if i != nil || !w.walk.Full() {
		return i, live.NoReadyInstance
	}
	crowd := w.exchange.Crowd()
	if crowd == nil {
		return nil, live.Overloaded
	}
	w.found, w.halfClosed = nil, 0
	reason := live.Waited(crowd.Wait(w.now, (*seeker)(c)))
	w.now = socket.Now()
	if reason == live.RequestAborted {
		reason = c.parted()
	}
	if reason == live.None && w.found == nil {
		reason = live.Overloaded
	}
	return w.found, reason
}

// seeker waits for an instance: it is a limit.Seeker.
type seeker conn

// Gone implements limit.Client.
func (s *seeker) Gone() bool { return (*conn)(s).Gone() }

// Found implements limit.Seeker.
func (s *seeker) Found() bool {
	s.w.found = s.w.walk.Next()
	return s.w.found != nil || !s.w.walk.Full()
}

// appendDenied appends the fields that say when it is worth to come again, and
// which rate was exceeded (draft-ietf-httpapi-ratelimit-headers-11). A time is
// rounded up to seconds, 1 at least.
func appendDenied(b []byte, d live.Denied) []byte {
	seconds := max((d.Wait+time.Second-1)/time.Second, 1)
	b = append(b, "Retry-After: "...)
	b = strconv.AppendInt(b, int64(seconds), 10)
	if d.Policy != "" {
		name, _, _ := strings.Cut(d.Policy, ";")
		b = append(b, "\r\nRateLimit-Policy: "...)
		b = append(b, d.Policy...)
		b = append(b, "\r\nRateLimit: "...)
		b = append(b, name...)
		b = append(b, ";r=0;t="...)
		b = strconv.AppendInt(b, int64(seconds), 10)
	}
	return append(b, "\r\n"...)
}
