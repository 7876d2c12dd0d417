// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

// job is what there is to send next: at most one of the first four.
type job struct {
	leave   *controlpb.Leave
	secrets *delivery
	parcel  *parcel
	ping    bool
	wait    time.Duration // until there may be something, if there is nothing
}

// send sends what the proxy lacks, until the session ends. It may be blocked
// by the proxy for long, and is ended with the stream then.
func (c *session) send() {
	welcome := &controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: &controlpb.Welcome{
		Server: c.s.o.Node, Epoch: c.s.epoch(), KeepaliveNs: int64(deaf * c.s.o.Keepalive), Protocol: protocol,
	}}}
	if !c.say(welcome) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	pinged, number := time.Now(), uint64(0)
	for {
		switch j := c.next(time.Until(pinged.Add(c.s.o.Keepalive))); {
		case j.leave != nil:
			c.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Leave{Leave: j.leave}})
			return
		case j.secrets != nil:
			if !c.bring(j.secrets) {
				return
			}
		case j.parcel != nil:
			if !c.update(j.parcel) {
				return
			}
		case j.ping:
			pinged = time.Now()
			number++
			if !c.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Ping{Ping: &controlpb.Ping{Number: number}}}) {
				return
			}
		default:
			timer.Reset(j.wait)
			select {
			case <-c.over:
				return
			case <-c.wake:
			case <-timer.C:
			}
		}
	}
}

// next returns what there is to do; ping is how long until the next one.
func (c *session) next(ping time.Duration) job {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.leave != nil {
		return job{leave: c.leave}
	}
	if d := c.deliver(); d != nil {
		return job{secrets: d}
	}
	wait := ping
	if want := c.view.current; want != nil && want != c.sent {
		late := time.Duration(0)
		if !c.underWay.IsZero() {
			late = time.Until(c.underWay.Add(c.s.o.Patience))
		}
		if late <= 0 {
			return job{parcel: c.begin(want)}
		}
		wait = min(wait, late)
	}
	if ping <= 0 {
		return job{ping: true}
	}
	return job{wait: wait}
}

// begin notes that an edition is under way. The server is locked.
func (c *session) begin(want *edition) *parcel {
	p := c.view.parcel(c.sent, want, c.held)
	c.held = nil
	c.sent = want
	c.unacked = append(c.unacked, want)
	if len(c.unacked) > maxUnacked {
		c.unacked = append(c.unacked[:0], c.unacked[1:]...)
	}
	c.underWay = time.Now()
	return p
}

// update sends an update, and reports whether it could.
func (c *session) update(p *parcel) bool {
	parts, err := p.get()
	if err != nil {
		c.s.o.Log.Error("an update cannot be sent", "node", c.hello.GetNode(), "error", err)
		c.finish(endf(endMalformed, codes.Internal, "the update cannot be sent: %v", err))
		return false
	}
	for _, part := range parts {
		if !c.put(part) {
			return false
		}
	}
	c.s.updates.Add(0, 1)
	c.s.updateBytes.Add(0, int64(p.size))
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if !c.underWay.IsZero() { // it may be acknowledged already
		c.underWay = time.Now()
	}
	return true
}

// say sends a message of this session alone.
func (c *session) say(m *controlpb.ToProxy) bool {
	f, err := newFrame(m)
	if err != nil {
		c.finish(endf(endMalformed, codes.Internal, "a message cannot be sent: %v", err))
		return false
	}
	return c.put(f)
}

// put sends a frame, however long that takes.
func (c *session) put(f frame) bool {
	c.blocked.Store(c.elapsed())
	err := c.stream.SendMsg(f)
	c.blocked.Store(0)
	if err != nil {
		c.finish(endf(endLost, codes.Unavailable, "the connection was lost"))
	}
	return err == nil
}
