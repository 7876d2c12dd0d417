// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// client is one connection of the client.
type client struct {
	reader
	n       int
	answers int
	over    bool // it ended, or carries no more requests
}

// play goes through the client's steps, then through the probes. hurried
// reports that some request was not waited for.
func (r *run) play() (hurried bool) {
	for i := range r.script.client {
		s := &r.script.client[i]
		c, err := r.dial(s.client)
		if err != nil {
			r.fault("client: the gateway takes no connection")
			return false
		}
		switch {
		case s.acts != nil:
			hurried = r.send(c, s.acts) || hurried
		case s.reads != nil:
			r.expect(fmt.Sprintf("client %d", c.n), &c.reader, s.reads)
			c.over = true // what it speaks now is known to the case only
		default:
			if !r.see(c, s.claims) {
				return hurried
			}
		}
	}
	for _, c := range r.clients {
		if c != nil && !c.over {
			r.probe(c, "")
		}
	}
	r.probeAfresh()
	return hurried
}

// dial returns the connection of a number.
func (r *run) dial(n int) (*client, error) {
	if c := r.clients[n]; c != nil {
		return c, nil
	}
	conn, err := new(net.Dialer).DialContext(r.ctx, "tcp", r.gateway.String())
	if err != nil {
		return nil, err
	}
	r.open(conn)
	c := &client{reader: reader{conn: conn}, n: n}
	r.clients[n] = c
	return c, nil
}

func (r *run) send(c *client, acts []act) (hurried bool) {
	for _, a := range acts {
		switch a.verb {
		case closeBoth, reset, closeWrite:
			c.over, hurried = true, true
		default:
		}
		r.act(&c.reader, a)
	}
	return hurried
}

// see reads an answer and judges it. It is false if nothing further can be
// said of the connection.
func (r *run) see(c *client, claims []claim) bool {
	c.answers++
	who := fmt.Sprintf("client: answer %d", c.answers)
	if c.n > 1 {
		who = fmt.Sprintf("client %d: answer %d", c.n, c.answers)
	}
	m, err := c.answer(claims)
	_, silence := find(claims, "nothing")
	switch {
	case errors.Is(err, errNothing) && outcome(c.err) == late:
		r.fault("%s does not come, nor an end", who)
	case errors.Is(err, errNothing):
		c.over = true
		if _, cut := find(claims, "cut"); !silence && !cut {
			r.fault("%s: the connection ends without one", who)
		}
		return true
	case err != nil && errors.Is(err, c.err):
		r.fault("%s does not come to an end", who)
	case err != nil:
		r.fault("%s: %v", who, err)
	case silence:
		r.fault("%s is %s, want none", who, summary(m))
	default:
		for _, f := range judge(claims, m) {
			r.fault("%s: %s", who, f)
		}
		if status, ok := find(claims, "status"); ok && !status.want.have(m.status) {
			return false // what follows was written for another answer
		}
		return r.after(c, m, claims)
	}
	return false
}

// answer reads the next answer: one with status 1xx only if a claim is about
// that.
func (c *client) answer(claims []claim) (*message, error) {
	status, _ := find(claims, "status")
	_, headless := find(claims, "answers")
	var interim []int
	for {
		m, err := c.response(headless)
		if err != nil {
			if errors.Is(err, c.err) && outcome(err) != late {
				return &message{cut: true}, nil // inside a head
			}
			return nil, err
		}
		if m.status < 200 && !status.want.have(m.status) {
			interim = append(interim, m.status)
			continue
		}
		m.interim = interim
		return m, c.rest(m)
	}
}

// after judges what becomes of the connection.
func (r *run) after(c *client, m *message, claims []claim) bool {
	_, closed := find(claims, "closed")
	_, kept := find(claims, "kept")
	switch {
	case m.status == 101:
		c.over = true // what follows is not HTTP
	case m.cut || m.framing == byClose:
		if kept {
			r.fault("client: the answer ends the connection, want it kept")
		}
		c.over = true
	case closed:
		r.probe(c, "closed")
	case kept:
		r.probe(c, "kept")
	}
	return true
}

// probeTarget is the beginning of targets that the origin answers by itself.
const probeTarget = "/probe/"

// probe sends a further request. It must have its own answer or find the
// connection ended; want may say which of both.
func (r *run) probe(c *client, want string) {
	tag := fmt.Sprintf("%d-%d", c.n, c.answers)
	who := fmt.Sprintf("client: the request after answer %d", c.answers)
	_, _ = fmt.Fprintf(c.conn, "GET %s%s HTTP/1.1\r\nHost: probe.example\r\n\r\n", probeTarget, tag)
	m, err := c.answer(nil)
	switch {
	case errors.Is(err, errNothing) && outcome(c.err) == late:
		r.fault("%s has neither an answer nor an end", who)
	case errors.Is(err, errNothing):
		c.over = true
		if want == "kept" {
			r.fault("%s finds the connection closed, want it kept", who)
		}
		return
	case err != nil:
		r.fault("%s gets %v", who, err)
	case !isProbeAnswer(m, tag):
		r.fault("%s gets an answer that is not its own: %s, body %s", who, m.start, quote(string(m.body)))
	case want == "closed":
		r.fault("%s is answered, want the connection closed", who)
	default:
		return
	}
	c.over = true
}

func isProbeAnswer(m *message, tag string) bool {
	return m.status == 200 && !m.cut && string(m.body) == probeBody(tag)
}

func probeBody(tag string) string { return "this answers probe " + tag + "\n" }

// probeAfresh has a fresh connection carry a request, which shows what the
// case left behind in the gateway. An instance that closed its connections a
// moment ago may cost the gateway an attempt: that is a matter of its own.
func (r *run) probeAfresh() {
	const tries = 3
	var last string
	for i := range tries {
		conn, err := new(net.Dialer).DialContext(r.ctx, "tcp", r.gateway.String())
		if err != nil {
			last = "no connection"
			continue
		}
		r.open(conn)
		c := &client{reader: reader{conn: conn}}
		tag := fmt.Sprintf("0-%d", i)
		_, _ = fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: probe.example\r\n\r\n", probeTarget, tag)
		m, err := c.answer(nil)
		drop(conn)
		switch {
		case err != nil:
			last = err.Error()
		case isProbeAnswer(m, tag):
			return
		default:
			last = fmt.Sprintf("%s, body %s", m.start, quote(strings.TrimSpace(string(m.body))))
		}
		if err == nil && m.status < 500 {
			break // somebody else's answer
		}
	}
	r.fault("client: a fresh connection afterwards gets %s", last)
}
