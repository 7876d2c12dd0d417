// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
)

// key hashes what b looks at in a request. ok is false if the request has no
// such thing, or an empty one, and for algorithms that look at nothing.
func key(b *routing.Balance, r conditions.Request) (hash uint64, ok bool) {
	var text string
	switch b.Algorithm {
	case routing.BalanceSource:
		return source(r.Conn())
	case routing.BalanceURI:
		text = uri(b, r)
	case routing.BalanceURLParam:
		text = parameter(r.Query(), b.Name)
	case routing.BalanceHeader:
		text, _ = r.Field(b.Name, 0)
	default:
	}
	return hashText(text), text != ""
}

// source hashes the client's address, without port; an IPv4 address is the
// same in its IPv6 form.
func source(c *conditions.Conn) (hash uint64, ok bool) {
	a := c.Client.Addr()
	if !a.IsValid() {
		return 0, false
	}
	b := a.As16()
	return mix(mix(binary.LittleEndian.Uint64(b[:8])) + binary.LittleEndian.Uint64(b[8:])), true
}

// uri returns the part of path and query that is hashed: the path, with whole
// the query too, of that the directories up to the depth, of that the first
// bytes.
func uri(b *routing.Balance, r conditions.Request) string {
	text := r.Path()
	if q := r.Query(); b.Whole && q != "" {
		// They stand beside each other in the target.
		if t := r.Target(); strings.HasSuffix(t, q) {
			if i := strings.LastIndex(t, text); i >= 0 {
				text = t[i:]
			}
		}
	}
	if b.Depth > 0 {
		text = text[:directories(text, b.Depth)]
	}
	if b.Length > 0 {
		text = text[:min(b.Length, len(text))]
	}
	return text
}

// directories returns where the first depth directories of a path end: a
// directory begins with its slash.
func directories(path string, depth int) int {
	slashes := 0
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		if slashes++; slashes > depth {
			return i
		}
	}
	return len(path)
}

// parameter returns the first value of a parameter of a query, as sent.
func parameter(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if value, ok := strings.CutPrefix(pair, name); ok && value != "" && value[0] == '=' {
			return value[1:]
		}
	}
	return ""
}

// The hash is the same in all processes, so that all proxies agree on where a
// key belongs. Whoever sends many keys that meet on one instance finds that
// the bound on loads moves them on.

// hashText hashes a text, eight bytes at a time, by multiplying to twice the
// width and folding, as wyhash does (Wang Yi, public domain).
func hashText(text string) uint64 {
	h := uint64(len(text)) ^ 0xa0761d6478bd642f
	for ; len(text) >= 8; text = text[8:] {
		w := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		h = fold(h^w, 0xe7037ed1a0b428db)
	}
	var w uint64
	for i := range len(text) {
		w |= uint64(text[i]) << (8 * i)
	}
	return mix(fold(h^w, 0x8ebc6af09c88c6e3))
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// mix spreads every bit of x over all bits: the finalizer of SplitMix64
// (G. Steele, D. Lea, C. Flood: Fast splittable pseudorandom number
// generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// uniform makes a number from 0 to bound-1 of 64 random bits.
func uniform(random, bound uint64) uint64 {
	n, _ := bits.Mul64(random, bound)
	return n
}
