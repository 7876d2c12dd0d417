// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// firstLook is room for nearly all ClientHellos: who says nothing holds no
// more of it.
const firstLook = 4 << 10

var (
	firstLooks = sync.Pool{New: func() any { return new([firstLook]byte) }}
	wholeLooks = sync.Pool{New: func() any { return new([sniff.MaxHello]byte) }}
)

// listen looks at what the client says first and leaves it where it is, for
// conditions that ask what is named there. Who does not speak TLS names
// nothing, and is known by his first byte. quiet reports a client who has ended
// the connection without a word, which is nobody's fault.
func (f *forward) listen(within time.Duration) (quiet bool, reason live.Reason) {
	f.client.Due(socket.Now() + int64(within))
	defer f.client.Due(0)
	b := firstLooks.Get().(*[firstLook]byte)
	h, v, seen := hear(f.client, b[:])
	firstLooks.Put(b)
	if v == sniff.NeedMore && seen == firstLook {
		b := wholeLooks.Get().(*[sniff.MaxHello]byte)
		h, v, seen = hear(f.client, b[:])
		wholeLooks.Put(b)
	}
	switch v {
	case sniff.Complete:
		f.facts.Hello = &conditions.Hello{ServerName: h.ServerName, ALPN: h.ALPN}
		return false, live.None
	case sniff.NotTLS:
		return false, live.None
	case sniff.Malformed:
		return false, live.BadHello
	case sniff.NeedMore:
	}
	switch {
	case f.client.Expired():
		return false, live.RequestTimeout
	case seen == 0:
		return true, live.None
	default:
		return false, live.RequestAborted
	}
}

// hear waits for a ClientHello, as long as b has room and there may be one. It
// returns how much was seen.
func hear(c *socket.Conn, b []byte) (h sniff.Hello, v sniff.Verdict, seen int) {
	seen, _ = c.Peek(b, func(b []byte) bool {
		h, v = sniff.ParseHello(b)
		return v != sniff.NeedMore
	})
	if seen == len(b) { // then it was not asked whether that is enough
		h, v = sniff.ParseHello(b)
	}
	return h, v, seen
}
