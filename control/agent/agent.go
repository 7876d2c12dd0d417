// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// lookEvery is how often the agent looks at what changes by itself.
	lookEvery = time.Second
	// lastResort is how long a proxy whose only table is in quarantine waits
	// for the control plane to send another.
	lastResort = 15 * time.Second
	// steady is how long a session lasts that was worth to be followed by
	// another one at once, though the server has ended it.
	steady = time.Minute
)

// Agent follows a control plane. An Agent is made by New; Start comes before
// Run, once each. Status and Confirm may be called from any goroutine.
type Agent struct {
	o     Options
	log   *slog.Logger
	disk  *disk
	wake  chan struct{} // holds a token when what is held back was confirmed
	count counts

	// What follows belongs to the goroutine of Start, and then of Run.

	receiver   *wire.Receiver
	secrets    wire.SecretReceiver
	applied    *routing.Table // what serves; nil before the first table
	latest     stored         // what was sent last and taken; without a table before that
	resort     *routing.Table // in quarantine, and all that there is; else nil
	resortAt   time.Time      // when it is served all the same
	provenAt   time.Time      // when the table has served long enough; zero if that was said
	unreadable map[string]wire.Refusal
	refused    map[string][]*routing.Fault // by gateway, of compiling what serves
	hold       *hold                       // nil if nothing is held back

	servers []string
	at      int // the next of servers
	failed  int // attempts since a session that was worth it
	session *session
	begun   bool   // there was a session, or an attempt at one
	told    string // the reason that was logged last

	mu      sync.Mutex // guards the fields below
	view    Status     // but for Disk
	loaded  string     // version that was on disk at the start
	damaged int        // files that could not be used then
}

// New returns an Agent, or all that is wrong with the options.
func New(o Options) (*Agent, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	a := &Agent{
		o: o, log: o.Log, wake: make(chan struct{}, 1), servers: o.Servers,
		receiver: &wire.Receiver{}, unreadable: make(map[string]wire.Refusal),
		view: Status{Since: time.Now(), Why: "not connected yet", Ignored: map[string]uint64{}, HeldBack: []HeldBack{}, Refused: []Refused{}},
	}
	for i := range a.servers {
		j := i + int(o.Draw()*float64(len(a.servers)-i))
		a.servers[i], a.servers[j] = a.servers[j], a.servers[i]
	}
	a.disk = newDisk(o.Keeper, func(err error) {
		a.log.Error("the table that serves is not kept on disk as it should be", "error", err)
	})
	a.count = a.counts()
	return a, nil
}

// Start serves the last good table from disk, if there is one, and reports
// whether it does. It connects to nobody. After an error, Run may be called all
// the same.
func (a *Agent) Start() (served bool, err error) {
	if a.o.Keeper == nil {
		return false, nil
	}
	l, err := a.o.Keeper.Load()
	damaged := 0
	for _, s := range l.Skipped {
		if !errors.Is(s.Err, lastgood.ErrQuarantined) {
			damaged++
		}
		a.log.Error("a table on disk is passed over", "file", s.File, "version", s.Version.String(), "error", s.Err)
	}
	a.count.damaged.Set(int64(damaged))
	a.mu.Lock()
	a.damaged = damaged
	a.mu.Unlock()
	if errors.Is(err, lastgood.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	receiver, got, err := decode(l.Table.Payload)
	if err != nil {
		return false, fmt.Errorf("table %s on disk: %w", l.Table.Version, err)
	}
	a.receiver, a.latest = receiver, stored{table: got.Table, hash: receiver.Hashes()}
	for _, r := range got.Refused {
		a.unreadable[r.Gateway] = r
	}
	a.mu.Lock()
	a.loaded = got.Table.Version.String()
	a.view.Since = l.Table.Saved // what is served is as old as that
	a.mu.Unlock()
	if l.LastResort {
		a.resort, a.resortAt = got.Table, time.Now().Add(lastResort)
		a.log.Error("the only table on disk has crashed the proxy repeatedly; it serves if the control plane sends no other",
			"version", got.Table.Version.String(), "in", lastResort)
		return false, nil
	}
	a.serve(got.Table)
	a.show()
	a.log.Info("the last good table serves", "version", got.Table.Version.String(), "saved", l.Table.Saved)
	return true, nil
}

// Run follows the control plane until ctx ends. It returns nil when nothing of
// it runs any more, and waits for a disk that hangs: what is on its way there
// has to end before the Keeper is closed. What serves then is what served
// before.
func (a *Agent) Run(ctx context.Context) error {
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	var kept sync.WaitGroup
	kept.Go(func() { a.disk.run(keeping) })
	a.follow(ctx)
	stop()
	kept.Wait()
	return nil
}

func (a *Agent) follow(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		var events <-chan event
		if a.session != nil {
			events = a.session.events
		}
		select {
		case <-ctx.Done():
			a.part()
			return
		case <-next.C:
			a.begin(context.WithoutCancel(ctx)) // part has the last word
		case e := <-events:
			err := e.err
			if err == nil {
				err = a.hear(e.message)
			}
			if err != nil {
				next.Reset(a.end(err))
			}
		case <-a.wake:
			a.believe("confirmed")
		case <-look.C:
			a.look()
		}
		a.show()
	}
}

// begin begins a session with the server whose turn it is.
func (a *Agent) begin(ctx context.Context) {
	hello := &controlpb.Hello{
		Protocol: protocol, Node: a.o.Node, Zone: a.o.Zone, Build: a.o.Build, Namespaces: a.o.Namespaces, Held: a.receiver.Held(),
	}
	for _, l := range a.o.Labels {
		hello.Labels = append(hello.Labels, &controlpb.Label{Name: l.Name, Value: l.Value})
	}
	if a.applied != nil {
		hello.Serves = wire.FromVersion(a.applied.Version)
	}
	if a.o.Fresh != nil {
		a.o.Fresh()
	}
	if a.begun {
		a.count.reconnects.Add(0, 1)
	}
	server := a.servers[a.at]
	a.at = (a.at + 1) % len(a.servers)
	a.session = a.open(ctx, server, hello)
	a.mu.Lock()
	a.view.Server, a.view.Name = server, ""
	if a.begun {
		a.view.Reconnects++
	}
	a.mu.Unlock()
	a.begun = true
}

// part ends the session, once it has told what there was to tell.
func (a *Agent) part() {
	if a.session == nil {
		return
	}
	if a.session.table {
		a.report()
		a.session.finish()
	} else {
		a.session.close()
	}
	a.session = nil
}

// leaving is a session that the control plane asked to end.
type leaving struct{ *controlpb.Leave }

func (l leaving) Error() string {
	return "the control plane asks the proxy to leave: " + l.GetReason()
}

// hear takes a message of the session. An error ends it.
func (a *Agent) hear(m *controlpb.ToProxy) error {
	switch m := m.GetMessage().(type) {
	case *controlpb.ToProxy_Welcome:
		a.session.node = m.Welcome.GetServer()
	case *controlpb.ToProxy_Update:
		if wire.ToVersion(m.Update.GetVersion()) == (routing.Version{}) {
			return fmt.Errorf("%w: a table without a version", errWrong)
		}
		got, err := a.receiver.Receive(m.Update)
		if err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		if got != nil {
			if !a.session.table && !a.session.secrets {
				a.hand(nil) // none came with the session, so there are none
			}
			a.take(got)
		}
	case *controlpb.ToProxy_Secrets:
		all, whole, err := a.secrets.Receive(m.Secrets)
		if err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		if whole {
			a.session.secrets = true
			a.hand(all)
		}
	case *controlpb.ToProxy_Leave:
		return leaving{m.Leave}
	}
	return nil
}

// hand hands Secrets on.
func (a *Agent) hand(all []*routing.Secret) {
	if a.o.Secrets != nil {
		a.o.Secrets(all)
	}
}

// end lets go of the session, and returns how long to wait for the next.
func (a *Agent) end(err error) time.Duration {
	s := a.session
	s.close()
	a.session = nil
	a.receiver.Reset()
	a.secrets.Reset()
	leave, left := errors.AsType[leaving](err)
	a.failed++
	if s.table && !faulty(err) && (!left || time.Since(s.taken) >= steady) {
		a.failed = 0
	}
	if errors.Is(err, errWrong) {
		a.ignore(ignoredWrong)
	}
	why := explain(err)
	a.stale(s, why)
	if text := s.server + why; text != a.told {
		a.told = text
		a.log.Warn("no session with the control plane; what serves stays", "server", s.server, "why", why)
	}
	wait := a.backoff(a.failed)
	if left {
		a.head(leave.GetServers())
		wait = max(wait, min(time.Duration(leave.GetAfterNs()), mostPatience))
	}
	return wait
}

// head makes the first that is known of some servers the next.
func (a *Agent) head(named []string) {
	for _, server := range named {
		if i := slices.Index(a.servers, server); i >= 0 {
			a.at = i
			return
		}
	}
}

// look does what is due by itself.
func (a *Agent) look() {
	now := time.Now()
	if a.hold != nil && !now.Before(a.hold.until) && a.session != nil && a.session.table {
		a.believe("nobody has brought it back")
	}
	if a.resort != nil && a.applied == nil && !now.Before(a.resortAt) {
		a.log.Error("no other table came; one that has crashed the proxy serves", "version", a.resort.Version.String())
		a.serve(a.resort)
		a.resort = nil
	}
	if a.applied != nil && !a.provenAt.IsZero() && !now.Before(a.provenAt) {
		a.provenAt = time.Time{}
		a.disk.served(a.applied.Version)
	}
	if a.session != nil && a.session.table {
		a.tell(nil)
		a.report()
	}
}

// report sends what was counted, unless the server is slow to take what it was
// sent before: it is counted on, and goes later.
func (a *Agent) report() {
	if !a.session.idle() {
		return
	}
	if a.o.Counters != nil {
		if c := a.o.Counters(); c != nil {
			a.session.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: c}})
		}
	}
	if a.o.Health != nil {
		if h := a.o.Health(); h != nil {
			a.session.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Health{Health: h}})
		}
	}
}
