// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Memory keeps what has to outlast the process. It is called by one goroutine
// at a time, for Load before anything else.
type Memory interface {
	// Load returns everything that is kept, by namespace.
	Load(ctx context.Context) (map[string]Remembered, error)
	// Save replaces what is kept of gateways, one by one. It is durable when
	// Save returns nil. An empty Keepsake means that the gateway is to be
	// forgotten.
	Save(ctx context.Context, namespace string, keepsakes []Keepsake) error
	// SaveOrigins replaces what is kept of the origins that have objects.
	SaveOrigins(ctx context.Context, namespace string, origins []string) error
}

// Remembered is what is kept of a namespace.
type Remembered struct {
	Keepsakes []Keepsake // one a gateway, in any order
	Origins   []string   // that had objects; sorted
}

// Keepsake is what is kept of a gateway. It is not changed once it was handed
// on.
type Keepsake struct {
	Gateway string
	// Port is the one that it was assigned; 0 if it was not.
	Port int
	// Vanished is since when it is not asked for; zero while it is.
	Vanished time.Time
	// Known are the routes that its selector made.
	Known []routing.KnownRoute
	// Refused says that its present form is refused.
	Refused bool
	// Last is the form that serves while the present one is refused; nil if
	// there is none.
	Last *routing.Gateway
}

// Empty reports whether nothing is kept of the gateway.
func (k *Keepsake) Empty() bool {
	return k.Port == 0 && len(k.Known) == 0 && !k.Refused && k.Last == nil
}

func (k *Keepsake) equal(o *Keepsake) bool {
	return k.Port == o.Port && k.Vanished.Equal(o.Vanished) && k.Refused == o.Refused && k.Last == o.Last &&
		slices.EqualFunc(k.Known, o.Known, sameRoute)
}

func sameRoute(a, b routing.KnownRoute) bool {
	return a.Name == b.Name && a.Since.Equal(b.Since) && a.Weight == b.Weight && a.Gone.Equal(b.Gone) && a.Promoted == b.Promoted
}

// keepsakes is what a namespace knows of what its memory has.
type keepsakes struct {
	saved   map[string]Keepsake
	touched map[string]bool     // gateways whose keepsakes may have to be saved
	origins []string            // as saved
	doubted map[string]Keepsake // refused when the process was started, by gateway
	// recalled are the gateways of former lives, until the first plan finds out
	// which of them are not asked for any more. Before it that is not known.
	recalled []string
	failed   error     // of the last saving; nil if it went well
	retry    time.Time // when to save again what failed; zero if nothing did
}

func newKeepsakes() keepsakes {
	return keepsakes{saved: make(map[string]Keepsake), touched: make(map[string]bool)}
}

// Load takes in what the memory has. It is to be called once, before
// anything is planned; Run does so.
func (p *Planner) Load(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Memory == nil || p.loaded {
		return nil
	}
	all, err := p.o.Memory.Load(ctx)
	if err != nil {
		return err
	}
	p.loaded = true
	for name, r := range all {
		p.space(name).recall(r)
	}
	return nil
}

// recall takes in what is remembered of a namespace.
func (s *space) recall(r Remembered) {
	m := &s.memory
	m.origins = r.Origins
	m.doubted = make(map[string]Keepsake)
	list := slices.Clone(r.Keepsakes)
	// Who is asked for comes before who is not, if both had one port.
	slices.SortFunc(list, func(a, b Keepsake) int { return a.Vanished.Compare(b.Vanished) })
	for _, k := range list {
		m.saved[k.Gateway] = k
		if k.Port != 0 {
			s.ports.recall(k.Gateway, pin{port: k.Port, gone: k.Vanished})
		}
		if k.Refused {
			m.doubted[k.Gateway] = k
		}
		m.touched[k.Gateway] = true
		m.recalled = append(m.recalled, k.Gateway)
	}
}

// keepsake returns what is to be kept of a gateway now.
func (s *space) keepsake(name string) Keepsake {
	k := Keepsake{Gateway: name, Refused: s.refused[name]}
	e := s.entries[name]
	if e != nil {
		k.Known = e.selected.Known
	}
	if one, ok := s.ports.byName[name]; ok {
		k.Port, k.Vanished = one.port, one.gone
	}
	if k.Refused && e != nil {
		k.Last = e.served
	}
	return k
}

// before returns the snapshot that the next one follows. After a start it is
// made of those gateways that nothing was held against, and of the last good
// forms of the others, so that they keep what they had.
func (s *space) before(asked *routing.Table) *routing.Snapshot {
	if s.last.Snapshot != nil {
		return s.last.Snapshot
	}
	if len(s.memory.doubted) == 0 && len(s.ports.byPort) == 0 {
		return nil
	}
	t := &routing.Table{}
	for _, g := range asked.Gateways {
		k, doubted := s.memory.doubted[g.Name]
		owner := s.ports.byPort[g.Port.Number]
		switch {
		case doubted && k.Last != nil:
			t.Gateways = append(t.Gateways, k.Last)
		case doubted, owner != "" && owner != g.Name && s.ports.byName[owner].gone.IsZero():
			// It is new, or was refused before.
		default:
			t.Gateways = append(t.Gateways, g)
		}
	}
	for _, name := range asked.Broken {
		if k := s.memory.doubted[name]; k.Last != nil {
			t.Gateways = append(t.Gateways, k.Last)
		}
	}
	snapshot, _ := routing.Compile(nil, t, s.p.o.Compile)
	return snapshot
}
