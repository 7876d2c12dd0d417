// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// accept serves the origin's connections until its listener is closed.
func (r *run) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if !r.open(conn) {
			continue
		}
		r.mu.Lock()
		r.origins++
		n := r.origins
		r.mu.Unlock()
		r.wg.Go(func() {
			r.serve(n, &reader{conn: conn})
			r.close(conn)
		})
	}
}

// serve answers the requests of one connection as the script says.
func (r *run) serve(n int, rd *reader) {
	for first := true; ; first = false {
		m, err := rd.request()
		if err != nil {
			r.stray(n, rd, err)
			return
		}
		if tag, ok := probed(m); ok {
			fmt.Fprintf(rd.conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(probeBody(tag)), probeBody(tag))
			continue
		}
		i, q := r.take()
		if q == nil {
			r.fault("origin: %s comes, which no block expects", quote(m.start))
			if rd.rest(m) != nil || m.cut {
				return
			}
			fmt.Fprint(rd.conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nunexpected")
			continue
		}
		open := r.exchange(i, q, rd, m, first)
		r.finished()
		if !open {
			return
		}
	}
}

// stray notes bytes that are no request, also those that lie there at the end
// of the run.
func (r *run) stray(n int, rd *reader, err error) {
	_, malformed := errors.AsType[*malformedError](err)
	if errors.Is(err, errNothing) {
		return
	}
	if !malformed {
		err = &malformedError{"no whole head", rd.buf}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf("origin: connection %d gets %v", n, err))
}

func probed(m *message) (tag string, ok bool) {
	_, rest, _ := strings.Cut(m.start, " ")
	target, _, _ := strings.Cut(rest, " ")
	return strings.CutPrefix(target, probeTarget)
}

// take takes the next request of the script; nil if there is none.
func (r *run) take() (int, *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken == len(r.script.requests) {
		return 0, nil
	}
	r.taken++
	return r.taken, &r.script.requests[r.taken-1]
}

func (r *run) finished() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	close(r.moved)
	r.moved = make(chan struct{})
}

// exchange judges and answers one request. It is false if the connection
// ends.
func (r *run) exchange(i int, q *request, rd *reader, m *message, first bool) bool {
	var bad error
	whole := false
	readBody := func() {
		if !whole {
			bad, whole = rd.rest(m), true
		}
	}
	if !q.early {
		readBody()
	}
	open := bad == nil && !m.cut
	for _, a := range q.acts {
		switch {
		case bad != nil || m.cut:
		case a.verb == body:
			readBody()
		case a.verb == goOn:
			if slices.Contains(m.values("Expect"), "100-continue") {
				fmt.Fprint(rd.conn, "HTTP/1.1 100 Continue\r\n\r\n")
			}
		default:
			open = r.act(rd, a) && open
		}
	}
	if open {
		readBody()
	}
	if bad != nil {
		r.fault("origin: request %d: %v", i, bad)
		return false
	}
	faults := judge(q.claims, m)
	if c, ok := find(q.claims, "connection"); ok && first != (c.text == "new") {
		faults = append(faults, "connection is not "+c.text)
	}
	for _, f := range faults {
		r.fault("origin: request %d: %s", i, f)
	}
	return open && !m.cut
}
