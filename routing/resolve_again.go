// SPDX-License-Identifier: Apache-2.0

package routing

// Resolver resolves documents of which few change at a time: what it does is
// in proportion to what changed, and to what that concerns. It comes to what
// Resolve does, name by name. A Resolver is made by NewResolver; it is not
// safe for concurrent use.
type Resolver struct {
	names   map[docKey]*resolving
	users   map[docKey]map[docKey]bool // who looked a name up
	byName  map[docKey]*Document       // those that count
	decoded map[*Document]*Document
	merged  map[*Document]*value
	spent   map[*Document]int
	left    int             // nodes that imports may still make
	stale   map[docKey]bool // to be resolved again
	over    map[docKey]bool // refused since there were too many nodes
}

// resolving is what is known of a name.
type resolving struct {
	docs  []*Document // in their order; none if there are none any more
	past  []*Document // those of the last run
	needs []docKey    // that were looked up
}

// Resolution is what the documents of a kind and name come to.
type Resolution struct {
	Kind, Name string
	Documents  []*Document // as they were handed in
	// Gateway is what a gateway comes to, as in a Table of Resolve; nil if it
	// is refused, and for all other kinds.
	Gateway *Gateway
	Faults  []*Fault // in no stated order
}

// NewResolver returns a Resolver without documents.
func NewResolver() *Resolver {
	return &Resolver{
		names: make(map[docKey]*resolving), users: make(map[docKey]map[docKey]bool),
		byName: make(map[docKey]*Document), decoded: make(map[*Document]*Document), merged: make(map[*Document]*value),
		spent: make(map[*Document]int), left: maxMerged, stale: make(map[docKey]bool), over: make(map[docKey]bool),
	}
}

// Set says which documents have a kind and name now, in the order in which
// they count; all must have it.
func (r *Resolver) Set(kind, name string, docs []*Document) {
	key := docKey{kind, name}
	n := r.names[key]
	if n == nil {
		n = &resolving{}
		r.names[key] = n
	}
	n.docs = docs
	r.stale[key] = true
}

// Resolve resolves what was set since the last time and all that looks at it,
// and returns what that comes to, in no stated order.
func (r *Resolver) Resolve() []Resolution {
	if len(r.stale) == 0 {
		return nil
	}
	for key := range r.over {
		r.stale[key] = true
	}
	clear(r.over)
	r.spread()
	s := &resolver{
		reader: &reader{unbounded: true}, byName: r.byName, decoded: r.decoded, merged: r.merged, spent: r.spent,
	}
	s.looked = func(by *Document, key docKey) { r.need(by.key(), key) }
	for key := range r.stale {
		r.forget(key)
	}
	s.left = r.left
	good := make(map[docKey]*Document, len(r.stale))
	for key := range r.stale {
		n := r.names[key]
		n.past = n.docs
		for _, d := range s.index(n.docs) {
			good[key] = d
		}
	}
	for _, d := range good {
		s.decode(d)
	}
	found := make(map[docKey]*Gateway)
	for key, d := range good {
		if key.kind == kindGateways {
			if g := s.gateway(s.decoded[d]); g != nil {
				found[key] = g
			}
		}
	}
	r.left = s.left
	return r.result(s, found)
}

// spread adds to what is stale all that looks at it, and at that in turn.
func (r *Resolver) spread() {
	queue := make([]docKey, 0, len(r.stale))
	for key := range r.stale {
		queue = append(queue, key)
	}
	visit := func(key docKey) {
		for user := range r.users[key] {
			if !r.stale[user] {
				r.stale[user] = true
				queue = append(queue, user)
			}
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		visit(queue[0])
	}
	// Who was told of names that are alike is told anew if one of the kind
	// comes or goes.
	for len(queue) == 0 {
		for key := range r.stale {
			n := r.names[key]
			if (len(n.docs) == 0) != (len(n.past) == 0) {
				visit(docKey{key.kind, ""})
			}
		}
		if len(queue) == 0 {
			return
		}
		for ; len(queue) > 0; queue = queue[1:] {
			visit(queue[0])
		}
	}
}

// forget drops what was made of the documents of a name.
func (r *Resolver) forget(key docKey) {
	n := r.names[key]
	delete(r.byName, key)
	for _, d := range n.past {
		r.left += r.spent[d]
		delete(r.spent, d)
		delete(r.decoded, d)
		delete(r.merged, d)
	}
	for _, need := range n.needs {
		users := r.users[need]
		delete(users, key)
		if len(users) == 0 {
			delete(r.users, need)
		}
	}
	n.needs = nil
}

// need notes that a name looked at another one.
func (r *Resolver) need(by, key docKey) {
	users := r.users[key]
	if users[by] {
		return
	}
	if users == nil {
		users = make(map[docKey]bool)
		r.users[key] = users
	}
	users[by] = true
	n := r.names[by]
	n.needs = append(n.needs, key)
}

// result tells of what was stale.
func (r *Resolver) result(s *resolver, found map[docKey]*Gateway) []Resolution {
	faults := make(map[docKey][]*Fault)
	for i, b := range s.begun {
		to := len(s.faults)
		if i+1 < len(s.begun) {
			to = s.begun[i+1].from
		}
		faults[b.of.key()] = append(faults[b.of.key()], s.faults[b.from:to]...)
	}
	all := make([]Resolution, 0, len(r.stale))
	for key := range r.stale {
		n := r.names[key]
		all = append(all, Resolution{
			Kind: key.kind, Name: key.name, Documents: n.docs, Gateway: found[key], Faults: faults[key],
		})
		if len(n.docs) == 0 {
			delete(r.names, key)
		}
	}
	if s.left < 0 {
		for d := range s.spent {
			if s.merged[d] == nil {
				r.over[d.key()] = true
			}
		}
	}
	clear(r.stale)
	return all
}
