// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// Schema is the number of the form in which tables are kept: a complete
// controlpb.Update, which has every gateway with its hash.
const Schema = 1

const (
	// A table is written at most each saveEvery, and the writing takes at most
	// one part in saveShare of the time of one CPU.
	saveEvery = time.Second
	saveShare = 20
	// notePatience is how long a change of the table waits for a disk that hangs.
	notePatience = time.Second
)

var (
	errHangs = errors.New("journal of starts: the disk does not answer")
	errEmpty = errors.New("it holds no whole table")
)

// stored is a table as it is to be kept, with the hashes of its gateways.
type stored struct {
	table *routing.Table
	hash  func(gateway string) (wire.Hash, bool)
}

// write writes the payload of a table: messages one behind the other are read
// as one, so that no more than one gateway is a message at a time, or bytes.
func (s stored) write(to io.Writer) error {
	head := &controlpb.Update{
		Version: wire.FromVersion(s.table.Version), Complete: true, Ordered: true, Broken: s.table.Broken,
		Names: make([]string, 0, len(s.table.Gateways)),
	}
	for _, g := range s.table.Gateways {
		head.Names = append(head.Names, g.Name)
	}
	room, err := writeMessage(to, nil, head)
	if err != nil {
		return err
	}
	for _, g := range s.table.Gateways {
		m, err := wire.FromGateway(g)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", g.Name, err)
		}
		h, _ := s.hash(g.Name)
		one := &controlpb.Update{Changed: []*controlpb.Named{{Name: g.Name, Hash: h[:], Gateway: m}}}
		if room, err = writeMessage(to, room, one); err != nil {
			return fmt.Errorf("gateway %s: %w", g.Name, err)
		}
	}
	return nil
}

// writeMessage writes a message, for which there may be room, and returns the
// room for the next.
func writeMessage(to io.Writer, room []byte, m proto.Message) ([]byte, error) {
	b, err := (proto.MarshalOptions{}).MarshalAppend(room[:0], m)
	if err == nil {
		_, err = to.Write(b)
	}
	return b, err
}

// decode returns the table of a payload, and what it is held as.
func decode(payload []byte) (*wire.Receiver, *wire.Received, error) {
	u := &controlpb.Update{}
	if err := proto.Unmarshal(payload, u); err != nil {
		return nil, nil, err
	}
	r := &wire.Receiver{}
	got, err := r.Receive(u)
	switch {
	case err != nil:
		return nil, nil, err
	case got == nil || got.Table.Version == routing.Version{}:
		return nil, nil, errEmpty
	}
	return r, got, nil
}

// disk keeps the newest table that it is told of. Its zero value, without a
// keeper, keeps nothing.
type disk struct {
	keeper *lastgood.Keeper
	failed func(error)  // is told what cannot be kept
	took   atomic.Int64 // nanoseconds that the last payload took to be written

	mu     sync.Mutex // guards the fields below
	newest *stored    // to be written
	busy   bool       // one is on its way to the keeper
	wake   chan struct{}

	noting chan struct{}  // holds a token unless a line is being written
	lines  sync.WaitGroup // those that are
}

func newDisk(k *lastgood.Keeper, failed func(error)) *disk {
	d := &disk{keeper: k, failed: failed, wake: make(chan struct{}, 1), noting: make(chan struct{}, 1)}
	d.noting <- struct{}{}
	return d
}

// starting says that a version is about to serve.
func (d *disk) starting(v routing.Version) { d.note(func() error { return d.keeper.Starting(v) }) }

// served says that a version has served long enough.
func (d *disk) served(v routing.Version) { d.note(func() error { return d.keeper.Served(v) }) }

// note has a line written. It waits for a disk that hangs, but not for long:
// what is asked for counts more than the count of crashes. What comes of the
// line later is told then.
func (d *disk) note(write func() error) {
	if d.keeper == nil {
		return
	}
	select {
	case <-d.noting:
	default:
		return // it hangs yet
	}
	done, late := make(chan error), make(chan struct{})
	d.lines.Go(func() {
		err := write()
		d.noting <- struct{}{}
		select {
		case done <- err:
		case <-late:
			d.noted(err)
		}
	})
	patience := time.NewTimer(notePatience)
	defer patience.Stop()
	select {
	case err := <-done:
		d.noted(err)
	case <-patience.C:
		d.failed(errHangs)
		close(late)
	}
}

// noted tells what kept a line from being written.
func (d *disk) noted(err error) {
	if err != nil {
		d.failed(fmt.Errorf("journal of starts: %w", err))
	}
}

// quarantined reports whether a version has crashed the process repeatedly.
func (d *disk) quarantined(v routing.Version) bool {
	return d.keeper != nil && d.keeper.Quarantined(v)
}

// save has a table kept, in the place of one that is not written yet.
func (d *disk) save(s stored) {
	if d.keeper == nil {
		return
	}
	d.mu.Lock()
	d.newest = &s
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// pending reports whether a table waits for the keeper.
func (d *disk) pending() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest != nil || d.busy
}

// run keeps tables until ctx ends, and then the one that is left. It returns
// when nothing is on its way to the disk any more; no line is noted from when
// ctx ends.
func (d *disk) run(ctx context.Context) {
	if d.keeper == nil {
		return
	}
	writing, end := context.WithCancel(context.WithoutCancel(ctx))
	var keeping sync.WaitGroup
	keeping.Go(func() { _ = d.keeper.Run(writing) }) // it returns nil
	defer d.lines.Wait()
	defer keeping.Wait()
	defer end()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			d.hand()
			return
		case <-d.wake:
		}
		d.hand()
		rest.Reset(max(saveEvery, saveShare*time.Duration(d.took.Load())))
		select {
		case <-ctx.Done():
			d.hand()
			return
		case <-rest.C:
		}
	}
}

// hand hands the newest table to the keeper, which has it written.
func (d *disk) hand() {
	d.mu.Lock()
	s := d.newest
	d.newest, d.busy = nil, s != nil
	d.mu.Unlock()
	if s == nil {
		return
	}
	err := d.keeper.Save(lastgood.Table{Version: s.table.Version, Saved: time.Now(), Stream: func(to io.Writer) error {
		began := time.Now()
		err := s.write(to)
		d.took.Store(int64(time.Since(began)))
		return err
	}})
	d.mu.Lock()
	d.busy = false
	d.mu.Unlock()
	if err != nil {
		d.failed(err)
	}
}
