// SPDX-License-Identifier: Apache-2.0

package routing

// Nearness says which instances are near.
type Nearness uint8

const (
	// NearnessNone prefers no instance.
	NearnessNone Nearness = iota
	// NearnessNode prefers instances of the proxy's own node, then those of its
	// zone.
	NearnessNode
	// NearnessZone prefers instances of the proxy's own zone.
	NearnessZone
)

// String returns none, node or zone.
func (n Nearness) String() string { return nearnessNames[n] }

var nearnessNames = [...]string{NearnessNone: "none", NearnessNode: "node", NearnessZone: "zone"}

// DefaultEnough is the default of Locality.Enough: each of three equal zones
// still is enough for itself.
const DefaultEnough Weight = 30_00

// Locality prefers near instances. The zero Locality prefers none.
type Locality struct {
	Prefer Nearness
	// Enough is the share of the ready capacity over which requests are
	// spread, the nearest first: 0.01 % to 100 %. An instance gets at most
	// 100 % / Enough times what it would get without preference.
	Enough Weight
}

// locality reads which instances are preferred: a map, or the word alone.
func (r *reader) locality(v *value, path string) Locality {
	l := Locality{Enough: DefaultEnough}
	switch v.kind {
	case textValue:
		l.Prefer = r.nearness(v, path)
	case mapValue:
		l.Prefer = NearnessNode
		r.fields(SectionLocality, v, path, func(e entry, path string) {
			switch e.key {
			case "prefer":
				l.Prefer = r.nearness(e.value, path)
			case "enough":
				l.Enough = r.enough(e.value, path)
			}
		})
	default:
		r.wrongType(codeUnexpectedType, v, path, "node, zone, none or a map of prefer and enough is allowed")
	}
	if l.Prefer == NearnessNone {
		return Locality{}
	}
	return l
}

func (r *reader) nearness(v *value, path string) Nearness {
	word := r.choice(v, path, nearnessNames[:]...)
	for n, name := range nearnessNames {
		if name == word {
			return Nearness(n)
		}
	}
	return NearnessNone
}

func (r *reader) enough(v *value, path string) Weight {
	w, ok := r.finePercent(v, path)
	if ok && w == 0 {
		r.refuse(codeUnexpectedType, v.place, path, "0% is never reached", `a percentage above 0% is allowed, such as "30%"`)
	}
	return w
}
