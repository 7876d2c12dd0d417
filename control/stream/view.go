// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// partSize is how large a message of an update is.
	partSize = 1 << 20
	// maxEditions bounds the tables of a view that are kept for sessions which
	// are slow. Those that are at an older one get a complete update.
	maxEditions = 32
	// maxRecent bounds the changes that an update names.
	maxRecent = 1000
	// maxHeld bounds the first updates of a view that are kept for other
	// sessions which hold the same.
	maxHeld = 16
	// keepParcel is how long these and all others are kept.
	keepParcel = 30 * time.Second
)

// namespace is what is known of a namespace. All of it is guarded by the
// server's mu; the spreading goroutine alone writes the first group, and reads
// it without.
type namespace struct {
	name   string
	asked  *routing.Table // as planned; nil before the first plan
	table  *wire.Table    // ready for the wire; nil before the first plan
	seq    uint64         // of the pass that changed the table
	before *wire.Table    // the table before that, while the pass lasts
	update *controlpb.Update
	recent []recentChange    // oldest first
	faults map[string]string // why gateways cannot be sent
	vault  vault

	sessions map[*session]struct{}
	marks    []*mark // those that some proxy does not serve, oldest first
	settled  settling
}

// recentChange is a change with the pass that brought it.
type recentChange struct {
	seq    uint64
	change *controlpb.Change
}

// remember notes the changes of a pass.
func (n *namespace) remember(seq uint64, changes []discovery.Change) {
	for _, c := range changes {
		if c.ID != 0 {
			n.recent = append(n.recent, recentChange{seq, &controlpb.Change{Id: c.ID, At: timestamppb.New(c.At)}})
		}
	}
	if over := len(n.recent) - maxRecent; over > 0 {
		n.recent = slices.Clone(n.recent[over:])
	}
}

// view is what all sessions see that claim the same namespaces in the same
// order. It is guarded by the server's mu; the spreading goroutine alone
// writes current and seq.
type view struct {
	key        string
	namespaces []*namespace
	sessions   map[*session]struct{}
	current    *edition   // nil before all namespaces are planned
	seq        uint64     // of the pass that made it
	editions   []*edition // that sessions are at, oldest first
	shown      atomic.Pointer[showing]
	chest      chest
}

// showing is by which tables a view tells namespaces of gateways; immutable.
type showing struct {
	names  []string
	tables []*wire.Table // nil for a namespace without one
	before *showing      // the one before it, without its own before
}

// namespaceOf returns the namespace that a gateway of the view is of, or was
// before the last change; empty if there is none.
func (v *view) namespaceOf(gateway string) string {
	for s := v.shown.Load(); s != nil; s = s.before {
		for i, t := range s.tables {
			if t == nil {
				continue
			}
			if _, ok := t.Hash(gateway); ok {
				return s.names[i]
			}
		}
	}
	return ""
}

// show takes over the present tables of the namespaces.
func (v *view) show() {
	next := &showing{}
	for _, n := range v.namespaces {
		next.names, next.tables = append(next.names, n.name), append(next.tables, n.table)
	}
	if old := v.shown.Load(); old != nil {
		next.before = &showing{names: old.names, tables: old.tables}
	}
	v.shown.Store(next)
}

// stale reports whether a namespace has changed since the view was made.
func (v *view) stale() bool {
	return v.current == nil || slices.ContainsFunc(v.namespaces, func(n *namespace) bool { return n.seq > v.seq })
}

// install makes an edition the current one. Tables that no session is at are
// let go of.
func (v *view) install(e *edition) {
	if v.current != nil {
		v.current.parcels = nil // nobody starts for it any more
	}
	v.current, v.seq = e, e.seq
	used := make(map[*edition]bool)
	for c := range v.sessions {
		used[c.sent], used[c.acked] = true, true
		for _, u := range c.unacked {
			used[u] = true
		}
	}
	v.editions = append(slices.DeleteFunc(v.editions, func(e *edition) bool { return !used[e] }), e)
	for _, old := range v.editions[:max(0, len(v.editions)-maxEditions)] {
		old.table = nil
	}
}

// edition is a table of a view. Several may have one version, where a write
// changed several namespaces; seq tells them apart, and is the number of the
// updates that lead to them. What is not said to be guarded is not changed.
type edition struct {
	seq     uint64
	version routing.Version
	at      time.Time
	size    int // gateways

	table   *wire.Table           // guarded by the server's mu; nil once let go of
	parcels map[parcelKey]*parcel // guarded by the server's mu; nil once overtaken
}

// parcelKey says between which tables an update is.
type parcelKey struct {
	from *edition // nil for a first one
	held [32]byte // of a first one: what the proxy has
}

// parcel is an update, ready to be sent by all sessions that need the same.
type parcel struct {
	once   sync.Once
	make   func() *controlpb.Update // nil once called
	at     time.Time
	number uint64 // of the update; tables of one version have different ones
	parts  []frame
	size   int
	err    error
}

// errUnmade reports an update that a fault of ours kept from being made.
var errUnmade = errors.New("the update could not be made")

// get returns the messages of the update.
func (p *parcel) get() ([]frame, error) {
	p.once.Do(func() {
		// Once is over after a panic, too, and then this is not an empty update.
		p.err = errUnmade
		u := p.make()
		u.Number = p.number
		p.make, p.err = nil, nil
		for _, part := range wire.Parts(u, partSize) {
			f, err := newFrame(&controlpb.ToProxy{Message: &controlpb.ToProxy_Update{Update: part}})
			if err != nil {
				p.err = err
				return
			}
			p.parts = append(p.parts, f)
			p.size += len(f)
		}
	})
	return p.parts, p.err
}

// parcel returns the update from one edition to e, which is current; nil is a
// session that begins and has what held says. The server is locked.
func (v *view) parcel(from, e *edition, held *holding) *parcel {
	if from != nil && from.table == nil { // let go of: as if nothing were held, for all such alike
		from, held = nil, &holding{}
	}
	key := parcelKey{from: from}
	if from == nil {
		key.held = held.digest
	}
	if p, ok := e.parcels[key]; ok {
		return p
	}
	p := &parcel{at: time.Now(), number: e.seq, make: v.maker(from, e, held)}
	if e.parcels != nil && (from != nil || len(e.parcels) < maxEditions+maxHeld) {
		e.parcels[key] = p
	}
	return p
}

// maker returns what makes an update. It is called without the lock.
func (v *view) maker(from, e *edition, held *holding) func() *controlpb.Update {
	table := e.table
	if from == nil {
		return func() *controlpb.Update { return table.Complete(held.forms) }
	}
	before := from.table
	var changes []*controlpb.Change
	for _, n := range v.namespaces {
		for _, c := range n.recent {
			if c.seq > from.seq && c.seq <= e.seq {
				changes = append(changes, c.change)
			}
		}
	}
	for _, n := range v.namespaces {
		if n.update != nil && n.before == before && n.table == table {
			u := n.update
			return func() *controlpb.Update {
				return &controlpb.Update{
					Version: u.GetVersion(), Changed: u.GetChanged(), Gone: u.GetGone(),
					Names: u.GetNames(), Ordered: u.GetOrdered(), Broken: u.GetBroken(), Changes: changes,
				}
			}
		}
	}
	return func() *controlpb.Update {
		u := table.Since(before)
		u.Changes = changes
		return u
	}
}

// forget lets go of updates that were made a while ago: whoever needs one yet
// gets it made anew.
func (v *view) forget(now time.Time) {
	if v.current == nil {
		return
	}
	for key, p := range v.current.parcels {
		if now.Sub(p.at) > keepParcel {
			delete(v.current.parcels, key)
		}
	}
}

// holding is what a proxy has when it begins.
type holding struct {
	forms  wire.Held
	digest [32]byte // equal for what is said alike
}

func newHolding(list []*controlpb.Held) (*holding, error) {
	forms, err := wire.ReadHeld(list)
	if err != nil || len(list) == 0 {
		return &holding{}, err
	}
	sum := sha256.New()
	var length [4]byte
	for _, h := range list {
		binary.BigEndian.PutUint32(length[:], uint32(len(h.GetGateway())))
		_, _ = sum.Write(length[:])
		_, _ = sum.Write([]byte(h.GetGateway()))
		_, _ = sum.Write(h.GetHash())
	}
	return &holding{forms, [32]byte(sum.Sum(nil))}, nil
}
