// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdConnections opens exactly N connections and checks who greeted them:
// connections [-c CLIENTS] [-sni NAME] [-cert FILE] [-proxy VERSION=ADDRESS] N
// HOST:PORT LABEL=COUNT.... With -sni they are of TLS. Of what an origin says
// behind its name, blanks become commas.
func cmdConnections(ts *testscript.TestScript, neg bool, args []string) {
	a, args := parseAsking(ts, args)
	if neg || len(args) < 3 {
		ts.Fatalf("usage: connections [-c CLIENTS] N HOST:PORT LABEL=COUNT...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	b, got := bedOf(ts), newTally()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range a.clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				greeting, err := a.secure.greeting(b, args[1])
				if err != nil {
					got.add("failed("+err.Error()+")", 1)
					continue
				}
				got.add(strings.ReplaceAll(greeting, " ", ","), 1)
			}
		})
	}
	wg.Wait()
	if want := sorted(args[2:]); got.String() != want {
		ts.Fatalf("%d connections: got %s, want %s", n, got, want)
	}
}

// conn is a TCP connection that was greeted.
type conn struct {
	*net.TCPConn

	r *bufio.Reader
}

// greeted connects and returns the first line that the server sent.
func (b *bed) greeted(addr string) (c *conn, greeting string, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, "", err
	}
	c = &conn{TCPConn: nc.(*net.TCPConn), r: bufio.NewReader(nc)}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		_ = c.Close()
		return nil, "", err
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		_ = c.Close()
		return nil, "", err
	}
	return c, strings.TrimSpace(line), nil
}

// cmdHalfClose sends BYTES to a TCP origin and checks that the end of one
// half leaves the other open: half-close client|origin BYTES HOST:PORT. The
// client, or the origin, ends its half first.
func cmdHalfClose(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || args[0] != "client" && args[0] != "origin" {
		ts.Fatalf("usage: half-close client|origin BYTES HOST:PORT")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	c, _, err := bedOf(ts).greeted(args[2])
	ts.Check(err)
	defer c.Close()
	if args[0] == "client" {
		ts.Check(c.endFirst(size))
	} else {
		ts.Check(c.endLast(size))
	}
}

// endFirst sends, ends its half, and then expects an answer and the end.
func (c *conn) endFirst(size int) error {
	if err := c.sendAll("count\n", size); err != nil {
		return err
	}
	rest, err := io.ReadAll(c.r)
	if err == nil && string(rest) != strconv.Itoa(size)+"\n" {
		err = fmt.Errorf("the origin counted %q, want %d", rest, size)
	}
	return err
}

// endLast waits for the end of the origin's half, and sends after it.
func (c *conn) endLast(size int) error {
	if _, err := io.WriteString(c, "close\n"); err != nil {
		return err
	}
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		return fmt.Errorf("got %q and %w, want the end of the origin's half", rest, err)
	}
	return c.sendAll("", size)
}

// sendAll sends a line and bytes, and ends its half.
func (c *conn) sendAll(line string, size int) error {
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	if _, err := c.Write(bytes.Repeat([]byte{'x'}, size)); err != nil {
		return err
	}
	return c.CloseWrite()
}
