// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// kind is what a request asks for: the path.
type kind string

// The kinds of requests. What origins do to those of the second group is a
// fault; doom, ends and surplus strike the connection behind a good answer.
const (
	get    kind = "/get"
	post   kind = "/post"
	upload kind = "/upload" // a POST in chunks
	stream kind = "/stream" // an answer in pieces
	leave  kind = "/leave"  // the client goes away meanwhile

	stall   kind = "/stall"
	reset   kind = "/reset"
	broken  kind = "/broken" // chunks without an end
	garbage kind = "/garbage"
	surplus kind = "/surplus"
	ends    kind = "/ends"
	doom    kind = "/doom"
)

var faults = []kind{stall, reset, broken, garbage, surplus, ends, doom}

// request is one request that a client sends.
type request struct {
	id   uint64
	kind kind
	post bool
	size int
}

// fate is how a request ended for its client.
type fate string

const (
	good    fate = "good"    // all of the right answer came
	failed  fate = "failed"  // the proxy said that it failed, and why
	cut     fate = "cut"     // an answer began and visibly broke off
	dropped fate = "dropped" // the connection ended without an answer
	wrong   fate = "wrong"   // it came to an end and is not the right answer
	left    fate = "left"    // the client went away
)

// outcome is what a client knows in the end.
type outcome struct {
	fate   fate
	reason string // of what failed
	epoch  int    // of the table that decided; 0: not known
	route  string
	err    error
}

func (o outcome) String() string { return fmt.Sprintf("%s %s %v", o.fate, o.reason, o.err) }

// client asks over a kept connection. It belongs to one goroutine.
type client struct {
	gateway string
	conn    net.Conn
	r       *bufio.Reader
	rng     *rand.Rand
}

// choose makes the next request. Which ones are faults goes by the id, so that
// few requests are enough to see them all.
func (c *client) choose(id uint64, faulty bool) request {
	q := request{id: id, kind: get, size: 2 + c.rng.IntN(1500)} // halves are not empty
	switch n := c.rng.IntN(100); {
	case faulty && id%20 == 0:
		q.kind = faults[id/20%uint64(len(faults))]
		q.post = q.kind == stall && n < 50
	case id%100 == 1:
		q.kind, q.post = leave, n < 50
	case n < 40:
	case n < 65:
		q.kind, q.post = post, true
	case n < 75:
		q.kind, q.post = upload, true
	default:
		q.kind, q.size = stream, 3+c.rng.IntN(64<<10)
	}
	return q
}

// do sends a request and reads the answer.
func (c *client) do(ctx context.Context, q request) outcome {
	if c.conn == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp4", c.gateway)
		if err != nil {
			return outcome{fate: dropped, err: err}
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return outcome{fate: dropped, err: err}
	}
	// Who cannot send all may still be told why.
	sent := c.send(q)
	if q.kind == leave {
		c.close()
		return outcome{fate: left}
	}
	o, keep := c.receive(q)
	o.err = errors.Join(o.err, sent)
	if !keep || sent != nil {
		c.close()
	}
	return o
}

func (c *client) send(q request) error {
	var b bytes.Buffer
	method, body := http.MethodGet, []byte(nil)
	if q.post {
		method, body = http.MethodPost, content(q.id, q.size)
	}
	fmt.Fprintf(&b, "%s %s?id=%d&size=%d HTTP/1.1\r\nHost: chaos\r\n", method, q.kind, q.id, q.size)
	switch {
	case q.kind == upload:
		return c.upload(&b, body)
	case q.post:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", q.size)
	}
	b.WriteString("\r\n")
	if q.kind == leave {
		body = body[:len(body)/2]
	}
	b.Write(body)
	_, err := c.conn.Write(b.Bytes())
	return err
}

// upload sends a body in three chunks, each for itself.
func (c *client) upload(head *bytes.Buffer, body []byte) error {
	head.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	if _, err := c.conn.Write(head.Bytes()); err != nil {
		return err
	}
	for i := range 3 {
		if piece := body[len(body)*i/3 : len(body)*(i+1)/3]; len(piece) > 0 {
			if _, err := fmt.Fprintf(c.conn, "%x\r\n%s\r\n", len(piece), piece); err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(c.conn, "0\r\n\r\n")
	return err
}

// receive reads the answer, and reports whether the connection may be used
// again.
func (c *client) receive(q request) (o outcome, keep bool) {
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return outcome{fate: dropped, err: err}, false
	}
	defer resp.Body.Close()
	o.route = resp.Header.Get("X-Route")
	if text := resp.Header.Get("X-Epoch"); text != "" {
		o.epoch, o.err = strconv.Atoi(text)
	}
	body, err := io.ReadAll(resp.Body)
	o.reason = resp.Header.Get("Sluice-Reason")
	right := content(q.id, q.size)
	switch {
	case o.err != nil:
		o.fate = wrong
	case err != nil && !bytes.HasPrefix(right, body):
		o.fate, o.err = wrong, errors.New("what came of it is another answer's")
	case err != nil:
		o.fate, o.err = cut, err
	case o.reason != "" && resp.StatusCode >= 400:
		o.fate = failed
	case resp.StatusCode == http.StatusOK && resp.Header.Get("X-Id") == strconv.FormatUint(q.id, 10) && bytes.Equal(body, right):
		o.fate = good
	default:
		o.fate, o.err = wrong, fmt.Errorf("status %d, id %q, %d bytes: %.60q", resp.StatusCode, resp.Header.Get("X-Id"), len(body), body)
	}
	return o, err == nil && !resp.Close
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is written any more
		c.conn = nil
	}
}
