// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// Errors of an update that does not fit what the receiver has. The session is
// of no use any more; the table stays as it is, and a new session that says
// what is held begins with an update that fits.
var (
	ErrIncomplete = errors.New("the update names a gateway that is neither held nor brought")
	ErrMixed      = errors.New("the parts of an update are of different tables")
	ErrTooLarge   = errors.New("the update is too large")
	ErrMalformed  = errors.New("the update is malformed")
)

// What is collected of an update that comes in parts is bounded, in elements
// and in bytes: parts may follow each other for ever.
const (
	maxPending      = 4_000_000
	maxPendingBytes = 256 << 20
)

// Receiver makes tables of updates, at the end of a proxy. The zero Receiver
// holds nothing. It is not safe for concurrent use; what it returns is not
// changed by it later.
type Receiver struct {
	forms   forms
	order   []string // of all names of the last table, those without form among them
	version routing.Version
	known   known

	pending *controlpb.Update // parts so far; nil if none
	items   int               // in pending
	bytes   int               // of the parts of pending
}

// form is a gateway that the receiver holds.
type form struct {
	gateway *routing.Gateway
	hash    Hash
}

// forms are those of a table, by name. They are not changed: those of the next
// table share the names with them if none comes or goes.
type forms struct {
	at  map[string]int
	all []form
}

func formsOf(byName map[string]form) forms {
	f := forms{at: make(map[string]int, len(byName)), all: make([]form, 0, len(byName))}
	for name, one := range byName {
		f.at[name] = len(f.all)
		f.all = append(f.all, one)
	}
	return f
}

func (f forms) of(name string) (form, bool) {
	i, ok := f.at[name]
	if !ok {
		return form{}, false
	}
	return f.all[i], true
}

// with returns the forms with others in the place of some of them.
func (f forms) with(others map[string]form) forms {
	next := forms{at: f.at, all: slices.Clone(f.all)}
	for name, one := range others {
		next.all[f.at[name]] = one
	}
	return next
}

// byName returns a map of the forms, which is the caller's.
func (f forms) byName() map[string]form {
	m := make(map[string]form, len(f.all))
	for _, one := range f.all {
		m[one.gateway.Name] = one
	}
	return m
}

// Refusal is a form of a gateway that could not be read. The form before it
// stays; without one, the gateway is broken.
type Refusal struct {
	Gateway string
	Hash    Hash
	Err     error // joins *FieldError
}

// Received is what an update came to.
type Received struct {
	// Table is the new table; gateways that did not change are the same
	// pointers as before.
	Table *routing.Table
	// Number is that of the update, which answers name; 0 if it has none.
	Number uint64
	// Served are the gateways that the update brought and that could be read,
	// with their hashes, in the order brought.
	Served []*controlpb.Held
	// Refused are those that could not.
	Refused []Refusal
	// Changes are the writes that the update brought.
	Changes []*controlpb.Change
}

// Receive takes an update or a part of one. It returns nil while more parts
// are due. After an error, which wraps one of those above, the parts so far
// are forgotten and everything is as before the update.
func (r *Receiver) Receive(u *controlpb.Update) (*Received, error) {
	whole, err := r.collect(u)
	if err != nil {
		r.Reset()
		return nil, err
	}
	if whole.GetMore() {
		return nil, nil //nolint:nilnil // the comment says so
	}
	r.Reset()
	return r.merge(whole)
}

// Reset forgets the parts of an update that is not complete, as when a session
// ends.
func (r *Receiver) Reset() { r.pending, r.items, r.bytes = nil, 0, 0 }

// Version returns the version of the last table.
func (r *Receiver) Version() routing.Version { return r.version }

// Held returns what is held, sorted by name, as Hello tells it.
func (r *Receiver) Held() []*controlpb.Held {
	all := make([]*controlpb.Held, 0, len(r.forms.all))
	for _, name := range slices.Sorted(maps.Keys(r.forms.at)) {
		h := r.forms.all[r.forms.at[name]].hash
		all = append(all, &controlpb.Held{Gateway: name, Hash: h[:]})
	}
	return all
}

// Hashes returns the hash of each form that is held now. What is received later
// does not change it; it is safe for concurrent use.
func (r *Receiver) Hashes() func(gateway string) (Hash, bool) {
	forms := r.forms // merge replaces it
	return func(gateway string) (Hash, bool) {
		f, ok := forms.of(gateway)
		return f.hash, ok
	}
}

// collect adds a part to those before it.
func (r *Receiver) collect(u *controlpb.Update) (*controlpb.Update, error) {
	r.items += len(u.GetChanged()) + len(u.GetGone()) + len(u.GetNames()) + len(u.GetBroken()) + len(u.GetChanges())
	if r.items > maxPending {
		return nil, fmt.Errorf("%w: at most %d elements are allowed", ErrTooLarge, maxPending)
	}
	if r.bytes += proto.Size(u); r.bytes > maxPendingBytes {
		return nil, fmt.Errorf("%w: at most %d bytes are allowed", ErrTooLarge, maxPendingBytes)
	}
	p := r.pending
	if p == nil {
		p = &controlpb.Update{Version: u.GetVersion(), Ordered: u.GetOrdered(), Complete: u.GetComplete(), Number: u.GetNumber()}
		r.pending = p
	}
	if ToVersion(p.GetVersion()) != ToVersion(u.GetVersion()) || p.GetOrdered() != u.GetOrdered() || p.GetComplete() != u.GetComplete() || p.GetNumber() != u.GetNumber() {
		return nil, ErrMixed
	}
	p.Changed = append(p.Changed, u.GetChanged()...)
	p.Gone = append(p.Gone, u.GetGone()...)
	p.Names = append(p.Names, u.GetNames()...)
	p.Broken = append(p.Broken, u.GetBroken()...)
	p.Changes = append(p.Changes, u.GetChanges()...)
	p.More = u.GetMore()
	return p, nil
}

// merge makes the next table of a whole update.
func (r *Receiver) merge(u *controlpb.Update) (*Received, error) {
	m := merging{forms: make(map[string]form, len(u.GetChanged())), known: &r.known, out: &Received{Number: u.GetNumber(), Changes: u.GetChanges()}}
	brought, err := m.read(u.GetChanged())
	if err != nil {
		return nil, err
	}
	var next forms
	order := r.order
	if r.keepsNames(u) {
		next = r.forms.with(m.forms)
	} else {
		fresh := m.forms
		m.forms = r.forms.byName()
		maps.Copy(m.forms, fresh)
		if order, err = m.arrange(r.order, brought, u); err != nil {
			return nil, err
		}
		next = formsOf(m.forms)
	}
	t := &routing.Table{Version: ToVersion(u.GetVersion()), Broken: slices.Clone(u.GetBroken())}
	t.Gateways = make([]*routing.Gateway, 0, len(next.all))
	for i, name := range order {
		if f, ok := next.of(name); ok {
			t.Gateways = append(t.Gateways, f.gateway)
			order[i] = f.gateway.Name // which is in memory in any case
		} else {
			t.Broken = append(t.Broken, name)
		}
	}
	r.forms, r.order, r.version = next, order, t.Version
	m.out.Table = t
	return m.out, nil
}

// keepsNames reports whether an update only brings other forms of gateways that
// are held, as most do: what is done for each gateway then is little.
func (r *Receiver) keepsNames(u *controlpb.Update) bool {
	if u.GetComplete() || u.GetOrdered() || len(u.GetGone()) > 0 {
		return false
	}
	return !slices.ContainsFunc(u.GetChanged(), func(named *controlpb.Named) bool {
		_, held := r.forms.at[named.GetName()]
		return !held
	})
}

// merging is one run of merge.
type merging struct {
	forms map[string]form // what was brought and read, and then all
	known *known
	out   *Received
}

// read reads what an update brings, and returns its names.
func (m *merging) read(changed []*controlpb.Named) (map[string]bool, error) {
	brought := make(map[string]bool, len(changed))
	for _, named := range changed {
		name := named.GetName()
		if name == "" || brought[name] || len(named.GetHash()) != len(Hash{}) {
			return nil, fmt.Errorf("%w: the gateway %q has no hash, or comes twice", ErrMalformed, name)
		}
		brought[name] = true
		h := Hash(named.GetHash())
		g, err := toGateway(named.GetGateway(), m.known)
		if err == nil && g.Name != name {
			err = &FieldError{"name", fmt.Sprintf("it is %q, and the gateway was announced as %q", g.Name, name)}
		}
		if err != nil {
			m.out.Refused = append(m.out.Refused, Refusal{name, h, err})
			continue
		}
		m.forms[g.Name] = form{g, h}
		m.out.Served = append(m.out.Served, &controlpb.Held{Gateway: name, Hash: named.GetHash()})
	}
	return brought, nil
}

// arrange returns the names of the next table in order, and lets go of the
// forms that it does not have.
func (m *merging) arrange(before []string, brought map[string]bool, u *controlpb.Update) ([]string, error) {
	kept := make(map[string]bool, len(before)) // by name, without those that go
	if u.GetComplete() {
		for name := range m.forms {
			kept[name] = true
		}
	} else {
		for _, name := range before {
			kept[name] = true
		}
	}
	for _, name := range u.GetGone() {
		if brought[name] {
			return nil, fmt.Errorf("%w: the gateway %q comes and goes", ErrMalformed, name)
		}
		delete(kept, name)
	}
	if u.GetComplete() && !u.GetOrdered() {
		return nil, fmt.Errorf("%w: it is complete and has no names", ErrMalformed)
	}
	order := slices.Clone(u.GetNames())
	if !u.GetOrdered() {
		order = slices.DeleteFunc(slices.Clone(before), func(name string) bool { return !kept[name] })
		for _, named := range u.GetChanged() {
			if !kept[named.GetName()] {
				order = append(order, named.GetName())
			}
		}
	}
	named := make(map[string]bool, len(order))
	for _, name := range order {
		if !kept[name] && !brought[name] || named[name] {
			return nil, fmt.Errorf("%w: %q", ErrIncomplete, name)
		}
		named[name] = true
	}
	if !u.GetComplete() {
		for name := range kept {
			if !named[name] {
				return nil, fmt.Errorf("%w: the gateway %q stays and has no place", ErrMalformed, name)
			}
		}
	}
	for name := range brought {
		if !named[name] {
			return nil, fmt.Errorf("%w: the gateway %q is brought and has no place", ErrMalformed, name)
		}
	}
	maps.DeleteFunc(m.forms, func(name string, _ form) bool { return !named[name] })
	return order, nil
}
