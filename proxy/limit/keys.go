// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"sync/atomic"
	"time"
)

// keys holds a Rate's number for each of many keys, in 512 KB at most. Only
// what is used is made: 8 KB for each 64th of the hashes.
//
// A cell is one word, so that a key and its number change in one step: the
// number in units of 1.024 µs, modulo 208 days, and above it a tag of the
// key's hash. A key may stand in any cell of its bucket, which is one line of
// the cache. Two keys that meet in bucket and tag, which happens to one in
// 150,000 pairs of a bucket, share one number.
//
// A key whose number is not ahead of the time has its whole burst, as one that
// was never seen has: its cell is free, and forgetting it loses nothing. If no
// cell of a bucket is free, the key that is the least ahead makes room. It
// gets back what it had used of its burst, so a table in which more than 65,536
// keys are busy at a time lets more through, never less: somebody who makes up
// keys cannot get others refused. Against those there is a rate of all
// requests, or one by address.
//
// If a key is new and comes twice in one moment, each of the two may find a
// cell of its own; only the first is looked at later. What passes then is at
// most as many requests more as came in that moment.
type keys struct {
	interval uint64 // units
	slack    uint64 // units
	most     uint64 // what is further ahead is in the past
	forgot   func()
	shards   [keyShards]atomic.Pointer[keyShard]
}

const (
	keyShards  = 64
	keyBuckets = 128
	bucketSize = 8 // words of a cache line

	unitBits = 10 // of a nanosecond
	dueBits  = 44
	dueMask  = 1<<dueBits - 1
	// late is how far clock readings may be apart that are handed in at one
	// moment, in units: 64 s.
	late = 64e9 >> unitBits
)

type (
	keyShard [keyBuckets]bucket
	bucket   [bucketSize]atomic.Uint64
)

func newKeys(interval, burst int64, forgot func()) *keys {
	k := &keys{interval: (uint64(interval) + 1<<unitBits - 1) >> unitBits, forgot: forgot}
	k.slack = uint64(burst-1) * k.interval
	k.most = k.slack + k.interval + late
	return k
}

// bucket returns the bucket of a hash.
func (k *keys) bucket(hash uint64) *bucket {
	at := &k.shards[hash%keyShards]
	s := at.Load()
	if s == nil {
		at.CompareAndSwap(nil, new(keyShard))
		s = at.Load()
	}
	return &s[hash/keyShards%keyBuckets]
}

// take is Rate.Take for one key.
func (k *keys) take(hash uint64, now int64) (wait time.Duration) {
	b := k.bucket(hash)
	tag := max(hash>>dueBits, 1) // no cell in use is 0
	units := uint64(now) >> unitBits
	for {
		cell, was, ahead, found := k.find(b, tag, units)
		if found && ahead > k.slack {
			return time.Duration((ahead - k.slack) << unitBits)
		}
		lost := !found && ahead > 0
		if !found {
			ahead = 0
		}
		if !cell.CompareAndSwap(was, tag<<dueBits|(units+ahead+k.interval)&dueMask) {
			continue
		}
		if lost && k.forgot != nil {
			k.forgot()
		}
		return 0
	}
}

// find returns the cell of a tag, or the one that it may have: of those that
// are the least ahead, the first.
func (k *keys) find(b *bucket, tag, now uint64) (cell *atomic.Uint64, was, ahead uint64, found bool) {
	for i := range b {
		v := b[i].Load()
		a := k.ahead(v, now)
		if v>>dueBits == tag {
			return &b[i], v, a, true
		}
		if cell == nil || a < ahead {
			cell, was, ahead = &b[i], v, a
		}
	}
	return cell, was, ahead, false
}

// ahead returns how far the number of a cell is ahead of the time.
func (k *keys) ahead(v, now uint64) uint64 {
	if v == 0 {
		return 0
	}
	if a := (v - now) & dueMask; a <= k.most {
		return a
	}
	return 0
}
