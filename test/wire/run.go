// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// run is one case on its way.
type run struct {
	ctx      context.Context //nolint:containedctx // the life of the run, for what it dials and awaits
	script   *script
	gateway  netip.AddrPort
	deadline time.Time

	clients [maxClients + 1]*client

	mu      sync.Mutex // guards what follows
	faults  []string
	conns   map[net.Conn]struct{} // all that are open
	ended   bool
	origins int           // connections that the origin accepted
	taken   int           // requests of the script that came
	moved   chan struct{} // closed when one more is done
	done    int           // of those taken
	signals map[string]chan struct{}

	wg sync.WaitGroup
}

// Run plays the case at a gateway whose only instance is behind the listener,
// which Run closes. Everything must happen within patience, which is only
// used up where something is wrong. The error tells what does not hold, one
// fault a line; it is nil if all does.
func (c *Case) Run(ctx context.Context, gateway netip.AddrPort, origin net.Listener, patience time.Duration) error {
	s, err := c.compile(variables{port: int(gateway.Port())})
	if err != nil {
		return errors.Join(err, origin.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r := &run{
		ctx: ctx, script: s, gateway: gateway,
		conns:   make(map[net.Conn]struct{}),
		moved:   make(chan struct{}),
		signals: make(map[string]chan struct{}),
	}
	r.deadline, _ = ctx.Deadline()
	r.wg.Go(func() { r.accept(origin) })
	hurried := r.play()
	r.settle(hurried)
	r.end()
	_ = origin.Close()
	r.wg.Wait()
	return r.verdict()
}

// end drops all connections and lets no new ones in.
func (r *run) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for conn := range r.conns {
		drop(conn)
	}
}

// drop ends a connection without the goodbye after which its port could not
// be used for a minute: all cases together have thousands of them.
func drop(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

func (r *run) verdict() error {
	if len(r.faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.faults, "\n"))
}

func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
}

// open takes a connection in; it is false if the run is over.
func (r *run) open(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		_ = conn.Close()
		return false
	}
	_ = conn.SetDeadline(r.deadline) // a connection that has none ends with the run
	r.conns[conn] = struct{}{}
	return true
}

func (r *run) close(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = conn.Close()
	delete(r.conns, conn)
}

// settle waits for what must still reach the origin. If the client did not
// wait for its answers, the rest of a request may still be on its way;
// otherwise what has not come by now will not come.
func (r *run) settle(hurried bool) {
	for {
		r.mu.Lock()
		taken, done, moved := r.taken, r.done, r.moved
		r.mu.Unlock()
		if done == taken && (!hurried || r.missing(taken) == 0) {
			break
		}
		select {
		case <-moved:
			continue
		case <-r.ctx.Done():
		}
		break
	}
	r.mu.Lock()
	taken, done := r.taken, r.done
	r.mu.Unlock()
	if done < taken {
		r.fault("origin: request %d does not end", done+1)
	}
	if i := r.missing(taken); i > 0 {
		r.fault("origin: request %d does not come", i)
	}
}

// missing returns the number, from 1, of the first request that must still
// come; 0 if none must.
func (r *run) missing(taken int) int {
	for i, q := range r.script.requests {
		if i >= taken && !q.optional {
			return i + 1
		}
	}
	return 0
}

// signal returns the channel of a name, which closes when it is given.
func (r *run) signal(name string) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.signals[name] == nil {
		r.signals[name] = make(chan struct{})
	}
	return r.signals[name]
}

func (r *run) give(name string) {
	ch := r.signal(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// act does one thing with a connection. It is false if the connection has
// ended by it; what is done with it then has no effect.
func (r *run) act(rd *reader, a act) bool {
	tcp := rd.conn.(*net.TCPConn)
	switch a.verb {
	case write:
		// A peer that does not want the rest is judged by what it answers.
		_, _ = tcp.Write(a.bytes)
	case closeWrite:
		_ = tcp.CloseWrite()
	case reset:
		_ = tcp.SetLinger(0)
		r.close(tcp)
		return false
	case closeBoth:
		r.close(tcp)
		return false
	case signal:
		r.give(a.name)
	case await:
		select {
		case <-r.signal(a.name):
		case <-r.ctx.Done():
			r.fault("nobody gave the signal %s", a.name)
		}
	case read:
		r.expect("origin", rd, a.bytes)
	case piece, body, goOn: // pieces are writes of their own already; the others are the origin's
	}
	return true
}

// expect reads bytes and compares them.
func (r *run) expect(who string, rd *reader, want []byte) {
	m := &message{}
	err := rd.take(m, len(want))
	if f := differ("bytes", string(m.body), string(want)); f != "" {
		r.fault("%s reads %s (%s)", who, f, outcome(err))
	}
}

// late is the outcome of patience that has ended.
const late = "no more in time"

// outcome says how a connection ended.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "open"
	case errors.As(err, &timeout) && timeout.Timeout():
		return late
	default:
		return "then the connection ended"
	}
}
