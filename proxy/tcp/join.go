// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"errors"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// join moves bytes both ways until both halves have ended. A connection of
// which a half did not come to its end is reset on both sides.
func (f *forward) join(hold *balance.Hold, idle time.Duration) live.Reason {
	end := metrics.TunnelCut // should there be a panic
	defer func() {
		f.instance.Close()
		hold.End(socket.Now())
		f.seen.Close(end)
	}()
	p := socket.Pair{A: f.client, B: f.instance.Conn, Idle: idle, FromA: f.movedIn, FromB: f.movedOut}
	err := p.Run()
	if end = f.endOf(err); end != metrics.TunnelClosed {
		f.abort()
	}
	switch end {
	case metrics.TunnelClosed:
		f.instance.Spoken()
		return live.None
	case metrics.TunnelClientGone:
		return live.RequestAborted
	case metrics.TunnelInstanceGone:
		if live.IsTLS(f.instance.Late(err)) {
			return live.TLSFailed
		}
		return live.UpstreamReset
	default: // it came to its end, stood still for too long, or was ended by us
		return live.None
	}
}

func (f *forward) movedIn(n int64) {
	f.in += n
	f.seen.BytesIn(n)
}

func (f *forward) movedOut(n int64) {
	f.out += n
	f.seen.BytesOut(n)
}

// endOf says what ended the connection.
func (f *forward) endOf(err error) metrics.TunnelEnd {
	broken, ok := errors.AsType[*socket.BrokenError](err)
	switch {
	case err == nil:
		return metrics.TunnelClosed
	case ok && broken.Side == f.client:
		return metrics.TunnelClientGone
	case ok:
		return metrics.TunnelInstanceGone
	case f.client.DueAt() == 0 || f.instance.DueAt() == 0: // as one is that was overdue
		return metrics.TunnelIdle
	default:
		return metrics.TunnelCut
	}
}
