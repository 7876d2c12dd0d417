// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// The reasons for which something is ignored.
const (
	ignoredOlder       = "older"
	ignoredQuarantined = "quarantined"
	ignoredWrong       = "wrong"
)

// counts are the series of an agent.
type counts struct {
	connected, held, damaged *metrics.Gauge
	reconnects               *metrics.Counter
	ignored                  map[string]*metrics.Counter
}

func (a *Agent) counts() counts {
	r := a.o.Metrics
	r.TableStale(a.staleSeconds)
	c := counts{
		connected: r.ControlConnected(), held: r.TableHeldBack(), damaged: r.TableDiskDamaged(),
		reconnects: r.ControlReconnects(), ignored: make(map[string]*metrics.Counter),
	}
	for _, reason := range []string{ignoredOlder, ignoredQuarantined, ignoredWrong} {
		c.ignored[reason] = r.TableIgnored(reason)
	}
	return c
}

// Wrote counts a write of the keeper, as lastgood.Options.Wrote.
func Wrote(r *metrics.Registry) func(lastgood.Write) {
	ok, failed := r.TableDiskWrites("ok"), r.TableDiskWrites("failed")
	return func(w lastgood.Write) {
		if w.Err != nil {
			failed.Add(0, 1)
			return
		}
		ok.Add(0, 1)
	}
}

// ignore counts what is not believed.
func (a *Agent) ignore(reason string) {
	a.count.ignored[reason].Add(0, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view.Ignored[reason]++
}

// connected notes that a session has brought a table.
func (a *Agent) connected(s *session) {
	a.told = ""
	a.log.Info("connected to the control plane", "server", s.server, "name", s.node)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view.Connected, a.view.Since, a.view.Why = true, time.Now(), ""
}

// stale notes that nothing new comes, and why.
func (a *Agent) stale(s *session, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.view.Connected {
		a.view.Connected, a.view.Since = false, time.Now()
	}
	a.view.Why = s.server + ": " + why
}

func (a *Agent) staleSeconds() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.view.Connected {
		return 0
	}
	return max(0, time.Since(a.view.Since).Seconds())
}

// show has Status and the series tell how things stand now.
func (a *Agent) show() {
	refused := a.standing()
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &a.view
	if a.session != nil {
		v.Name = a.session.node
	}
	v.Version, v.Received = "", ""
	if a.applied != nil {
		v.Version = a.applied.Version.String()
	}
	if r := a.receiver.Version(); r != (routing.Version{}) {
		v.Received = r.String()
	}
	v.Refused = refused
	v.HeldBack = []HeldBack{}
	if h := a.hold; h != nil {
		for _, k := range h.kept {
			v.HeldBack = append(v.HeldBack, HeldBack{Gateway: k.gateway.Name, Why: k.why, Since: h.since, Until: h.until})
		}
		slices.SortFunc(v.HeldBack, func(a, b HeldBack) int { return cmp.Compare(a.Gateway, b.Gateway) })
	}
	a.count.held.Set(int64(len(v.HeldBack)))
	up := int64(0)
	if v.Connected {
		up = 1
	}
	a.count.connected.Set(up)
}

// standing returns what is refused, by name.
func (a *Agent) standing() []Refused {
	all := []Refused{}
	faults := a.faults()
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		all = append(all, Refused{Gateway: name, Reasons: faults[name].why})
	}
	return all
}

// Status returns how the proxy stands.
func (a *Agent) Status() Status {
	a.mu.Lock()
	s := a.view
	s.Ignored = maps.Clone(s.Ignored)
	d := &Disk{Loaded: a.loaded, Damaged: a.damaged}
	a.mu.Unlock()
	if a.o.Keeper == nil {
		return s
	}
	waits := a.disk.pending() // before the keeper is asked: it goes from here to there
	k := a.o.Keeper.Status()
	d.Saved, d.Generations, d.Damaged, d.Pending = k.Saved, k.Generations, max(d.Damaged, k.Damaged), waits || k.Pending
	d.Writes, d.Failures = k.Writes, k.Failures
	if k.Version != (routing.Version{}) {
		d.Version = k.Version.String()
	}
	for _, v := range k.Quarantined {
		d.Quarantined = append(d.Quarantined, v.String())
	}
	if k.Err != nil {
		d.Error = k.Err.Error()
	}
	s.Disk = d
	return s
}

// Confirm believes what is held back, and returns how many gateways that are.
// It takes effect a moment later.
func (a *Agent) Confirm() int {
	a.mu.Lock()
	n := len(a.view.HeldBack)
	a.mu.Unlock()
	if n > 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	return n
}
