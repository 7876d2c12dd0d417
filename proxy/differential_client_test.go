// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// scriptedClient is a client with at most one connection.
type scriptedClient struct {
	t       *testing.T
	address string
	nc      net.Conn
	br      *bufio.Reader
}

func (k *scriptedClient) hangUp() {
	if k.nc != nil {
		_ = k.nc.Close()
		k.nc = nil
	}
}

// patience bounds what may take long only if it fails.
const patience = time.Minute

// send sends trials without waiting in between and returns what came back, up
// to the first that failed.
func (k *scriptedClient) send(trials []*trial) (sights []sight) {
	if k.nc == nil {
		nc, err := new(net.Dialer).DialContext(k.t.Context(), "tcp", k.address)
		if err != nil {
			return []sight{{fault: err}}
		}
		k.nc, k.br = nc, bufio.NewReader(nc)
	}
	_ = k.nc.SetDeadline(time.Now().Add(patience))
	goOn := make(chan struct{}, 1)
	written := make(chan error, 1)
	go func(nc net.Conn) { written <- writeTrials(nc, trials, goOn) }(k.nc)
	for _, t := range trials {
		s := k.receive(t, goOn)
		sights = append(sights, s)
		if s.fault != nil {
			break
		}
	}
	close(goOn)
	last := &sights[len(sights)-1]
	if last.fault != nil {
		k.hangUp()
	}
	if err := <-written; err != nil && last.fault == nil {
		last.fault = fmt.Errorf("while sending: %w", err)
	}
	return sights
}

// writeTrials writes requests. One that waits is alone.
func writeTrials(nc net.Conn, trials []*trial, goOn <-chan struct{}) error {
	for _, t := range trials {
		if !t.waits {
			if err := writePieces(nc, slices.Concat(t.head, t.body), t.pieces); err != nil {
				return err
			}
			continue
		}
		if err := writePieces(nc, t.head, t.pieces); err != nil {
			return err
		}
		if _, ok := <-goOn; !ok {
			return nil
		}
		if err := writePieces(nc, t.body, t.pieces); err != nil {
			return err
		}
	}
	return nil
}

// receive reads the answers to one trial.
func (k *scriptedClient) receive(t *trial, goOn chan<- struct{}) (s sight) {
	for len(s.answers) == 0 || s.answers[len(s.answers)-1].status() < 200 {
		m, err := readWireHead(k.br)
		if m != nil {
			s.answers = append(s.answers, m)
		}
		if err == nil {
			err = m.readBody(k.br, m.answerEnd(t.method))
		}
		if err != nil {
			s.fault = fmt.Errorf("while receiving: %w", err)
			return s
		}
		if t.waits && m.status() == 100 {
			goOn <- struct{}{}
		}
	}
	final := s.answers[len(s.answers)-1]
	switch {
	case t.denied:
		k.hangUp()
	case !t.keep || !final.keeps() || t.old && !slices.Contains(final.options(), "keep-alive"):
		if rest, err := io.ReadAll(k.br); err != nil || len(rest) > 0 {
			s.fault = fmt.Errorf("after the last answer: %w, %s", err, shorten(string(rest)))
		}
		k.hangUp()
	}
	return s
}
