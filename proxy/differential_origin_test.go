// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// scriptedOrigin answers each request by the script of its trial, and notes
// what arrived.
type scriptedOrigin struct {
	mu     sync.Mutex // guards what follows
	visits map[int]*visit
	errs   []error
}

// visit is an exchange that the origin may see.
type visit struct {
	trial *trial
	seen  chan *wireMessage // what arrived; it is not waited for
}

// expect makes the origin ready for trials.
func (o *scriptedOrigin) expect(trials []*trial) []*visit {
	o.mu.Lock()
	defer o.mu.Unlock()
	var visits []*visit
	for _, t := range trials {
		v := &visit{trial: t, seen: make(chan *wireMessage, 4)}
		o.visits[t.index] = v
		visits = append(visits, v)
	}
	return visits
}

func (o *scriptedOrigin) forget(trials []*trial) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range trials {
		delete(o.visits, t.index)
	}
}

// arrived returns the request, nil if it did not arrive. Unless it has to wait
// it is called after the answer, before which the origin notes the request.
func (v *visit) arrived(wait bool) *wireMessage {
	if wait {
		select {
		case m := <-v.seen:
			return m
		case <-time.After(patience):
			return nil
		}
	}
	select {
	case m := <-v.seen:
		return m
	default:
		return nil
	}
}

// listen serves one more address until the test ends.
func (o *scriptedOrigin) listen(t *testing.T) (address string) {
	t.Helper()
	ln := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				if err := o.serve(nc); err != nil {
					o.mu.Lock()
					defer o.mu.Unlock()
					o.errs = append(o.errs, err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// faults returns what was wrong with requests, at most a few.
func (o *scriptedOrigin) faults() []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.errs[:min(5, len(o.errs))]
}

// serve serves one connection.
func (o *scriptedOrigin) serve(nc net.Conn) error {
	br := bufio.NewReader(nc)
	for {
		m, err := readWireHead(br)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		index, err := trialOf(wireAuthority(m))
		if err != nil {
			return fmt.Errorf("a request for nobody:\n%v", m)
		}
		o.mu.Lock()
		v := o.visits[index]
		o.mu.Unlock()
		if v == nil {
			return fmt.Errorf("a request that nobody waits for:\n%v", m)
		}
		if goesOn, err := v.serve(nc, br, m); err != nil || !goesOn {
			return err
		}
	}
}

// serve answers one request.
func (v *visit) serve(nc net.Conn, br *bufio.Reader, m *wireMessage) (goesOn bool, err error) {
	t := v.trial
	s := t.scriptFor(m)
	final := s.final
	if s.joined {
		final = slices.Concat(s.interim, final)
	} else if err := writePieces(nc, s.interim, s.pieces); err != nil {
		return false, err
	}
	if t.denied {
		if err := writePieces(nc, final, s.pieces); err != nil {
			return false, err
		}
		rest, _ := io.ReadAll(br) // the client goes away
		m.body = string(rest)
		v.seen <- m
		return false, nil
	}
	if err := writePieces(nc, final[:s.early], s.pieces); err != nil {
		return false, err
	}
	if err := m.readBody(br, m.requestEnd()); err != nil {
		v.seen <- m
		return false, err
	}
	v.seen <- m
	return !s.closes && m.keeps(), writePieces(nc, final[s.early:], s.pieces)
}
