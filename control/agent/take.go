// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// The codes of what a proxy refuses beside what routing.Compile does.
const (
	codeOlder       = "OlderTable"       // a revision before the one that serves
	codeQuarantined = "QuarantinedTable" // a version that crashed the proxy
	codeUnserved    = "GatewayUnserved"  // a gateway that cannot take traffic
	codeHeldBack    = "GatewayHeldBack"  // a form that is not believed yet
)

// take takes a table: it is refused as a whole, or serves, with what is held
// back.
func (a *Agent) take(got *wire.Received) {
	t, s := got.Table, a.session
	if refusal := a.refuse(t.Version); refusal != nil {
		s.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{
			Version: wire.FromVersion(t.Version), Number: got.Number, Reasons: []*controlpb.Reason{refusal},
		}}})
		a.remember(got)
		return
	}
	a.remember(got)
	s.number = got.Number
	first := !s.table
	if first {
		s.table, s.taken = true, time.Now()
		a.connected(s)
	}
	a.latest, a.resort = stored{table: t, hash: a.receiver.Hashes()}, nil
	a.keep(t, first)
	if next := a.merged(); !same(a.applied, next) {
		a.serve(next)
		a.save()
	}
	a.tell(got)
}

// refuse returns why a version is not taken, nil if it is.
func (a *Agent) refuse(v routing.Version) *controlpb.Reason {
	serves := a.version()
	switch {
	case v == serves:
	case v.Epoch == serves.Epoch && v.Revision < serves.Revision:
		a.ignore(ignoredOlder)
		a.log.Error("an older table is not taken", "version", v.String(), "serves", serves.String(), "server", a.session.server)
		return &controlpb.Reason{
			Code: codeOlder, Problem: fmt.Sprintf("table %s is older than %s, which serves", v, serves),
			Allowed: "tables of one epoch never go back; a store that was restored has another epoch",
		}
	case a.disk.quarantined(v):
		a.ignore(ignoredQuarantined)
		a.log.Error("a table that has crashed the proxy is not taken", "version", v.String(), "server", a.session.server)
		return &controlpb.Reason{
			Code: codeQuarantined, Problem: fmt.Sprintf("table %s has crashed the proxy %d times", v, lastgood.CrashLimit),
			Allowed: "a change of what crashes it, or the same in another table",
		}
	}
	return nil
}

// version returns that of the table that serves.
func (a *Agent) version() routing.Version {
	if a.applied == nil {
		return routing.Version{}
	}
	return a.applied.Version
}

// remember notes which gateways of the table were sent in a form that cannot be
// read.
func (a *Agent) remember(got *wire.Received) {
	for _, h := range got.Served {
		delete(a.unreadable, h.GetGateway())
	}
	for _, r := range got.Refused {
		a.unreadable[r.Gateway] = r
	}
	if len(a.unreadable) == 0 {
		return
	}
	asked := byName(got.Table)
	maps.DeleteFunc(a.unreadable, func(name string, _ wire.Refusal) bool { _, ok := asked[name]; return !ok })
}

// keep notes what is held back beside a table. first says that it began a
// session.
func (a *Agent) keep(t *routing.Table, first bool) {
	now := time.Now()
	if h := a.hold; h != nil && (h.epoch != t.Version.Epoch || !now.Before(h.until)) {
		// What was missing for so long is missing, unless this is another story.
		a.hold = nil
		if h.epoch == t.Version.Epoch {
			a.log.Warn("what was held back is believed", "gateways", len(h.kept), "why", "nobody has brought it back")
			return
		}
	}
	var still []kept
	if a.hold != nil {
		still = a.hold.still(t)
	}
	if fresh := holdBack(a.applied, t, first); len(fresh) > len(still) {
		a.hold = &hold{epoch: t.Version.Epoch, since: now, until: now.Add(a.o.HoldBack), kept: fresh}
		a.log.Error("gateways seem to be gone and are kept", "gateways", len(fresh), "version", t.Version.String(),
			"why", fresh[0].why, "for", a.o.HoldBack, "example", fresh[0].gateway.Name)
		return
	}
	if a.hold == nil {
		return
	}
	a.hold.kept = still
	if len(still) == 0 {
		a.hold = nil
		a.log.Info("all that was held back is there again", "version", t.Version.String())
	}
}

// merged returns what is to serve.
func (a *Agent) merged() *routing.Table {
	if a.hold == nil {
		return a.latest.table
	}
	return merge(a.latest.table, a.hold.kept)
}

// believe lets go of what is held back.
func (a *Agent) believe(why string) {
	if a.hold == nil {
		return
	}
	a.log.Warn("what was held back is believed", "gateways", len(a.hold.kept), "why", why)
	a.hold = nil
	a.serve(a.latest.table)
	a.save()
	if a.session != nil && a.session.table {
		a.tell(nil)
	}
}

// serve has a table served.
func (a *Agent) serve(t *routing.Table) {
	a.disk.starting(t.Version)
	faults := a.o.Apply(t).Faults
	a.applied, a.provenAt = t, time.Now().Add(lastgood.CrashWindow)
	a.refused = make(map[string][]*routing.Fault)
	for _, f := range faults {
		if f.Severity == routing.Refused {
			a.refused[f.Name] = append(a.refused[f.Name], f)
		}
	}
}

// save has the table kept on disk. While something is held back the one before
// is: a proxy that starts anew then holds it back, too.
func (a *Agent) save() {
	if a.hold == nil {
		a.disk.save(a.latest)
	}
}

// same reports whether two tables are of one version and content.
func same(a, b *routing.Table) bool {
	return a != nil && a.Version == b.Version && slices.Equal(a.Gateways, b.Gateways) && slices.Equal(a.Broken, b.Broken)
}

// Refusals that stand, by gateway.

// bad is why a gateway does not serve as it was sent.
type bad struct {
	why []string
	// nack makes what is said of it.
	nack func() *controlpb.Nack
}

// faults returns what does not serve as it was sent.
func (a *Agent) faults() map[string]bad {
	all := make(map[string]bad)
	v, hash := a.version(), a.receiver.Hashes()
	one := func(name, code, problem string) {
		all[name] = bad{why: []string{problem}, nack: func() *controlpb.Nack {
			h, _ := hash(name)
			return wire.Nack(name, h, v, []*routing.Fault{{Code: code, Problem: problem}})
		}}
	}
	if a.o.Unserved != nil {
		for name, err := range a.o.Unserved() {
			one(name, codeUnserved, err.Error())
		}
	}
	for name, faults := range a.refused {
		why := make([]string, len(faults))
		for i, f := range faults {
			why[i] = f.Error()
		}
		all[name] = bad{why: why, nack: func() *controlpb.Nack {
			h, _ := hash(name)
			return wire.Nack(name, h, v, faults)
		}}
	}
	if a.hold != nil {
		for _, k := range a.hold.kept {
			if _, sent := hash(k.gateway.Name); sent {
				one(k.gateway.Name, codeHeldBack, fmt.Sprintf("%s; it is kept as it was until %s", k.why, a.hold.until.UTC().Format(time.RFC3339)))
			}
		}
	}
	for name, r := range a.unreadable {
		all[name] = bad{why: strings.Split(r.Err.Error(), "\n"), nack: func() *controlpb.Nack { return r.Nack(v) }}
	}
	return all
}

// tell tells the control plane what became of an update, and of everything
// else whose state has changed since; got is nil without an update. What is
// refused comes before what serves.
func (a *Agent) tell(got *wire.Received) {
	s, faults, hash := a.session, a.faults(), a.receiver.Hashes()
	brought := make(map[string]bool)
	ack := &controlpb.Ack{Version: wire.FromVersion(a.version()), Number: s.number}
	if got != nil {
		for _, c := range got.Changes {
			ack.Changes = append(ack.Changes, c.GetId())
		}
		for _, r := range got.Refused {
			brought[r.Gateway] = true
		}
		for _, h := range got.Served {
			brought[h.GetGateway()] = true
			if _, is := faults[h.GetGateway()]; !is {
				ack.Served = append(ack.Served, h)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		why := strings.Join(faults[name].why, "\n")
		if !brought[name] && s.told[name] == why {
			continue
		}
		s.told[name] = why
		s.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: faults[name].nack()}})
	}
	for _, name := range slices.Sorted(maps.Keys(s.told)) {
		if _, is := faults[name]; is {
			continue
		}
		delete(s.told, name)
		if h, sent := hash(name); sent && !brought[name] {
			ack.Served = append(ack.Served, &controlpb.Held{Gateway: name, Hash: h[:]})
		}
	}
	if got != nil || len(ack.GetServed()) > 0 {
		s.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: ack}})
	}
}
