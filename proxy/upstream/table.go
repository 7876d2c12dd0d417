// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"hash/maphash"
	"math"
	"net/netip"
	"unique"

	"github.com/sluice-mesh/sluice/proxy/balance"
)

// table finds instances by their addresses and ways. An address that is spoken
// to in two ways has two of them, since connections serve one way only.
//
// The keys of a map would be larger than all else that most instances need, so
// it is one of hashes, and those of one hash lead to each other.
type table struct {
	seed  maphash.Seed
	mask  uint64 // of the bits that count of a hash
	first map[uint64]*Instance
	n     int // how many instances there are
}

func (t *table) init() {
	t.seed, t.mask = maphash.MakeSeed(), math.MaxUint64
	t.first = make(map[uint64]*Instance)
}

func (t *table) hash(at netip.AddrPort) uint64 { return maphash.Comparable(t.seed, at) & t.mask }

// find returns the instance, nil if there is none, and then the load of its
// address, nil if there is none either.
func (t *table) find(at netip.AddrPort, way unique.Handle[Way]) (i *Instance, load *balance.Load) {
	for i = t.first[t.hash(at)]; i != nil; i = i.next {
		switch {
		case i.Addr != at:
		case i.way == way:
			return i, nil
		default:
			load = i.load
		}
	}
	return nil, load
}

// add adds an instance that is not there.
func (t *table) add(i *Instance) {
	h := t.hash(i.Addr)
	i.next = t.first[h]
	t.first[h] = i
	t.n++
}

// remove removes an instance that is there.
func (t *table) remove(i *Instance) {
	h := t.hash(i.Addr)
	t.n--
	if t.first[h] == i {
		if t.first[h] = i.next; i.next == nil {
			delete(t.first, h)
		}
		return
	}
	for o := t.first[h]; o != nil; o = o.next {
		if o.next == i {
			o.next = i.next
		}
	}
}

// all hands every instance to yield, which may remove it, until it returns
// false.
func (t *table) all(yield func(*Instance) bool) {
	for _, i := range t.first {
		for i != nil {
			next := i.next
			if !yield(i) {
				return
			}
			i = next
		}
	}
}
