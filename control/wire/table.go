// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// Table is a table ready for the wire, once for all sessions. It is immutable
// and safe for concurrent use; so are the updates that it makes, which share
// their gateways.
type Table struct {
	version routing.Version
	broken  []string
	named   []*controlpb.Named // in the order of the table
	index   map[string]int
	from    []*routing.Gateway // what named was made from
}

// GatewayError says why a gateway does not travel.
type GatewayError struct {
	Gateway string
	Err     error
}

// Error returns the gateway and what is wrong.
func (e *GatewayError) Error() string { return e.Gateway + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *GatewayError) Unwrap() error { return e.Err }

var errTwice = errors.New("the table has another gateway of that name")

// maxGateway bounds the message of a gateway: proxies take messages of up to
// 16 MiB, and would end each session that brings a larger one.
const maxGateway = 12 << 20

// Encode makes a table ready for the wire. prev, which may be nil, is the one
// before: gateways that are the same pointers are not translated anew.
//
// A gateway whose text is broken travels in the form that it has in prev, so
// that proxies which begin now have it, too; it stands behind the others.
// Without one its name travels as broken. The same holds for a gateway that
// has no message, or one above 12 MiB, which the errors tell of.
func Encode(prev *Table, t *routing.Table) (*Table, []*GatewayError) {
	if prev == nil {
		prev = &Table{}
	}
	next := &Table{
		version: t.Version,
		named:   make([]*controlpb.Named, 0, len(t.Gateways)),
		index:   make(map[string]int, len(t.Gateways)),
		from:    make([]*routing.Gateway, 0, len(t.Gateways)),
	}
	var errs []*GatewayError
	broken := slices.Clone(t.Broken)
	for _, g := range t.Gateways {
		if _, twice := next.index[g.Name]; twice {
			errs = append(errs, &GatewayError{g.Name, errTwice})
			continue
		}
		named, err := prev.encode(g)
		if err != nil {
			errs = append(errs, &GatewayError{g.Name, err})
			broken = append(broken, g.Name)
			continue
		}
		next.add(named, g)
	}
	for _, name := range broken {
		if _, good := next.index[name]; good {
			continue
		}
		if i, ok := prev.index[name]; ok {
			next.add(prev.named[i], prev.from[i])
		} else if !slices.Contains(next.broken, name) {
			next.broken = append(next.broken, name)
		}
	}
	return next, errs
}

func (t *Table) add(named *controlpb.Named, from *routing.Gateway) {
	t.index[named.GetName()] = len(t.named)
	t.named, t.from = append(t.named, named), append(t.from, from)
}

// encode returns a gateway as it is in t if it is the same there, else anew.
func (t *Table) encode(g *routing.Gateway) (*controlpb.Named, error) {
	if i, ok := t.index[g.Name]; ok && t.from[i] == g {
		return t.named[i], nil
	}
	m, err := FromGateway(g)
	if err != nil {
		return nil, err
	}
	h, size, err := hashOf(m)
	if err != nil {
		return nil, err
	}
	if size > maxGateway {
		return nil, fmt.Errorf("it takes %d bytes as a message, more than %d: give it fewer instances or routes", size, maxGateway)
	}
	return &controlpb.Named{Name: g.Name, Hash: h[:], Gateway: m}, nil
}

// Version returns the version of the table.
func (t *Table) Version() routing.Version { return t.version }

// Len returns how many gateways the table has.
func (t *Table) Len() int { return len(t.named) }

// Names returns the names of the gateways in the order of the table.
func (t *Table) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, named := range t.named {
			if !yield(named.GetName()) {
				return
			}
		}
	}
}

// Hash returns the hash of a gateway, and whether there is one of that name.
func (t *Table) Hash(gateway string) (Hash, bool) {
	if i, ok := t.index[gateway]; ok {
		return Hash(t.named[i].GetHash()), true
	}
	return Hash{}, false
}

// Held is what a proxy has: the hash of each gateway by its name.
type Held map[string]Hash

// ReadHeld returns what a proxy says that it has. An error means that a name
// is missing or there twice, or that a hash has another length.
func ReadHeld(list []*controlpb.Held) (Held, error) {
	held := make(Held, len(list))
	for i, one := range list {
		name := one.GetGateway()
		if _, twice := held[name]; twice || name == "" || len(one.GetHash()) != len(Hash{}) {
			return nil, &FieldError{fmt.Sprintf("held[%d]", i), fmt.Sprintf("%q has no hash, or is there twice", name)}
		}
		held[name] = Hash(one.GetHash())
	}
	return held, nil
}

// Complete returns the first update of a session, which names all gateways
// and brings those that the proxy has not, or has in another form.
func (t *Table) Complete(held Held) *controlpb.Update {
	u := t.update()
	u.Complete, u.Ordered, u.Names = true, true, t.names()
	for _, named := range t.named {
		if h, ok := held[named.GetName()]; !ok || h != Hash(named.GetHash()) {
			u.Changed = append(u.Changed, named)
		}
	}
	return u
}

// Since returns what makes t of a table before it, of which the proxy was told
// everything.
func (t *Table) Since(prev *Table) *controlpb.Update {
	u := t.update()
	for _, named := range prev.named {
		if _, stays := t.index[named.GetName()]; !stays {
			u.Gone = append(u.Gone, named.GetName())
		}
	}
	last, fresh := -1, false // whether the order follows by itself
	for _, named := range t.named {
		at, stays := prev.index[named.GetName()]
		switch {
		case !stays:
			fresh = true
		case fresh || at < last:
			u.Ordered = true
		default:
			last = at
		}
		if !stays || Hash(prev.named[at].GetHash()) != Hash(named.GetHash()) {
			u.Changed = append(u.Changed, named)
		}
	}
	if u.Ordered {
		u.Names = t.names()
	}
	return u
}

func (t *Table) update() *controlpb.Update {
	return &controlpb.Update{Version: FromVersion(t.version), Broken: t.broken}
}

func (t *Table) names() []string {
	names := make([]string, len(t.named))
	for i, named := range t.named {
		names[i] = named.GetName()
	}
	return names
}

// FromVersion returns the message of a version; nil is the zero one.
func FromVersion(v routing.Version) *controlpb.Version {
	if v == (routing.Version{}) {
		return nil
	}
	return &controlpb.Version{Epoch: v.Epoch, Revision: v.Revision}
}

// ToVersion returns the version that a message tells of.
func ToVersion(m *controlpb.Version) routing.Version {
	return routing.Version{Epoch: m.GetEpoch(), Revision: m.GetRevision()}
}
