// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"slices"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// vault is the Secrets of a namespace, as planned. The server's mu guards it.
type vault struct {
	all []*routing.Secret
	seq uint64 // grows with each change
}

// take takes over the Secrets of a plan. The server is locked.
func (v *vault) take(p *planner.Plan) {
	if !slices.Equal(v.all, p.Secrets) {
		v.all = p.Secrets
		v.seq++
	}
}

// chest is the Secrets of a view, which are those of its namespaces. The
// server's mu guards it; the spreading goroutine alone writes to it.
type chest struct {
	secrets *wire.Secrets // nil before they are known
	seqs    []uint64      // of the namespaces' vaults that they are of
}

// keys returns the sequence numbers of the vaults of a view. The server is
// locked.
func (v *view) keys() []uint64 {
	seqs := make([]uint64, len(v.namespaces))
	for i, n := range v.namespaces {
		seqs[i] = n.vault.seq
	}
	return seqs
}

// spreadSecrets brings the Secrets of all views up to date. It comes before
// the tables whose gateways name them.
func (s *Server) spreadSecrets() {
	type stale struct {
		view *view
		seqs []uint64
		all  []*routing.Secret
	}
	var list []stale
	s.mu.Lock()
	for _, v := range s.views {
		if seqs := v.keys(); v.chest.secrets == nil || !slices.Equal(seqs, v.chest.seqs) {
			one := stale{view: v, seqs: seqs}
			for _, n := range v.namespaces {
				one.all = append(one.all, n.vault.all...)
			}
			list = append(list, one)
		}
	}
	s.mu.Unlock()
	for _, one := range list {
		next := wire.EncodeSecrets(one.all) // may take its time
		s.mu.Lock()
		one.view.chest.seqs = one.seqs
		if was := one.view.chest.secrets; was == nil || !next.Equal(was) {
			one.view.chest.secrets = next
			for c := range one.view.sessions {
				c.nudge()
			}
		}
		s.mu.Unlock()
	}
}

// delivery is Secrets that a session is to bring, and those that it has
// brought; nil if none.
type delivery struct{ next, before *wire.Secrets }

// deliver returns what the session has to bring of Secrets, nil if nothing. A
// proxy that was never sent any is not told that there are none. The server is
// locked.
func (c *session) deliver() *delivery {
	next := c.view.chest.secrets
	if c.identity.WithoutSecrets {
		return nil
	}
	if next == c.secrets || next.Len() == 0 && c.secrets == nil {
		return nil
	}
	d := &delivery{next, c.secrets}
	c.secrets = next
	return d
}

// bring sends Secrets, and reports whether it could.
func (c *session) bring(d *delivery) bool {
	for _, part := range d.next.Since(d.before, partSize) {
		if !c.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Secrets{Secrets: part}}) {
			return false
		}
	}
	return true
}
