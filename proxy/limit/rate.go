// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
)

// Rate bounds how many requests there are in a time, of all clients or of each
// one: the generic cell rate algorithm (ITU-T I.371, Annex A). One number says
// when everything so far would have come if it had come evenly; a request that
// would be ahead of that by more than the burst is refused, and does not
// count. In any time t there pass no more than burst + t/interval requests,
// where the interval, which is the time of one request, is rounded up.
//
// It takes one compare-and-swap, and is safe for concurrent use. It must not
// be copied.
type Rate struct {
	asked    routing.RequestRate
	policy   string
	interval int64 // of one request, in nanoseconds
	slack    int64 // how far ahead a request may be
	keys     *keys // nil if all requests count together
	seed     maphash.Seed

	_   [128]byte    // the number is written by every request
	due atomic.Int64 // when everything so far would have come
	_   [120]byte
}

// NewRate returns a Rate from which nothing was taken. The scope is what it is
// a rate of in headers, gateway or route. forgot is called for each key that
// had to make room while it was still counted; nil means that nobody cares.
func NewRate(r routing.RequestRate, scope string, forgot func()) *Rate {
	r.Requests, r.Per, r.Burst = max(r.Requests, 1), max(r.Per, 1), max(r.Burst, 1)
	l := &Rate{asked: r, seed: maphash.MakeSeed()}
	l.interval = (int64(r.Per) + r.Requests - 1) / r.Requests
	l.slack = (r.Burst - 1) * l.interval
	if r.Key.Source != routing.KeyNone {
		scope += "-" + r.Key.Source.String()
		l.keys = newKeys(l.interval, r.Burst, forgot)
	}
	l.policy = policy(scope, r)
	return l
}

// policy describes a rate as RateLimit-Policy does. A window that is no whole
// number of seconds cannot be told there.
func policy(scope string, r routing.RequestRate) string {
	text := strconv.Quote(scope) + ";q=" + strconv.FormatInt(r.Requests, 10)
	if r.Per%time.Second == 0 {
		text += ";w=" + strconv.FormatInt(int64(r.Per/time.Second), 10)
	}
	return text
}

// Asked returns what the rate was made of.
func (l *Rate) Asked() routing.RequestRate { return l.asked }

// Policy returns the rate as the field RateLimit-Policy says it
// (draft-ietf-httpapi-ratelimit-headers-11): the name of the policy first, in
// quotes.
func (l *Rate) Policy() string { return l.policy }

// Take counts a request at time now. If it has to be refused, it does not
// count, and wait says after which time one would pass.
func (l *Rate) Take(r conditions.Request, now int64) (wait time.Duration) {
	if l.keys != nil {
		return l.keys.take(l.hash(r), now)
	}
	for {
		was := l.due.Load()
		due := max(was, now)
		if ahead := due - now; ahead > l.slack {
			return time.Duration(ahead - l.slack)
		}
		if l.due.CompareAndSwap(was, due+l.interval) {
			return 0
		}
	}
}

// hash returns the hash of the request's key. It is seeded, so that nobody
// finds keys that meet those of others. All requests without a key have the
// same one: who leaves it out would else have no limit.
func (l *Rate) hash(r conditions.Request) uint64 {
	if l.asked.Key.Source == routing.KeyIP {
		return l.ofAddress(r.Conn().Client.Addr())
	}
	value, _ := l.asked.Key.Of(r)
	return maphash.String(l.seed, value)
}

// ofAddress hashes an address. One of IPv6 stands for its network of 64 bits,
// of which a client has all addresses (RFC 6177).
func (l *Rate) ofAddress(a netip.Addr) uint64 {
	b := a.As16()
	if !a.Is4() && !a.Is4In6() {
		binary.BigEndian.PutUint64(b[8:], 0)
	}
	return maphash.Bytes(l.seed, b[:])
}
