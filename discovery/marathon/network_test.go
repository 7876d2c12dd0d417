// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
)

// network is a network in memory, on which a clock that is played with has no
// effect but the one that is tested.
type network struct {
	mu    sync.Mutex // guards the fields below
	hosts map[string]*listener
	tries int // how often nobody listened
}

// listener takes connections to one address.
type listener struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

var errRefused = errors.New("connection refused")

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

func (*listener) Addr() net.Addr { return &net.TCPAddr{} }

// serve has a handler answer at an address, host:port, until the test or stop
// ends it.
func (n *network) serve(t *testing.T, address string, h http.Handler) (stop func()) {
	t.Helper()
	l := &listener{conns: make(chan net.Conn), over: make(chan struct{})}
	n.mu.Lock()
	if n.hosts == nil {
		n.hosts = make(map[string]*listener)
	}
	n.hosts[address] = l
	n.mu.Unlock()
	var running sync.RWMutex // is held for reading by those that answer
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.RLock()
		defer running.RUnlock()
		h.ServeHTTP(w, r)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // it ends by stop
	}()
	stop = sync.OnceFunc(func() {
		n.mu.Lock()
		if n.hosts[address] == l {
			delete(n.hosts, address)
		}
		n.mu.Unlock()
		_ = server.Close()
		<-ended
		running.Lock() // so that none answers after the end
		defer running.Unlock()
	})
	t.Cleanup(stop)
	return stop
}

// dial is the way to all addresses of the network.
func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.hosts[address]
	if l == nil {
		n.tries++
	}
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.over:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
