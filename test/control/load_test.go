// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pause is what lies between two requests of a client.
const pause = 20 * time.Millisecond

// load is clients that ask one proxy, some over kept connections, some over a
// new one each time. They try nothing twice: a request that is not answered
// as it should be has failed.
type load struct {
	name   string
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	good     int
	kept     int            // good answers over connections that had one before
	by       map[string]int // good answers by who gave them
	failures []string
	failed   int
}

// ask starts two clients a gateway: what is at address answers with one of
// the names.
func (l *load) ask(ctx context.Context, address string, names ...string) {
	l.askHost(ctx, address, "shop", names...)
}

// askHost does so for a virtual host.
func (l *load) askHost(ctx context.Context, address, host string, names ...string) {
	for _, keep := range []bool{true, false} {
		c := &client{address: address, host: host, names: names, keep: keep}
		l.wg.Go(func() {
			defer c.close()
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				again := c.conn != nil
				who, err := c.do() // to its end, whatever becomes of ctx
				l.count(who, again, err)
				<-tick.C
			}
		})
	}
}

func (l *load) count(who string, again bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.good++
		l.by[who]++
		if again {
			l.kept++
		}
		return
	}
	if l.failed++; len(l.failures) < 10 {
		l.failures = append(l.failures, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

// answered returns how many requests were answered as they should be.
func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good
}

// lost returns how many requests failed.
func (l *load) lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// among waits for n more good answers.
func (l *load) among(t *testing.T, n int) {
	t.Helper()
	enough := l.answered() + n
	await(t, "enough requests are answered", func() bool { return l.answered() >= enough }, func() string { return l.String() })
}

func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%s: %d good (%d over kept connections, %v), %d failed\n%s", l.name, l.good, l.kept, l.by, l.failed, strings.Join(l.failures, "\n"))
}

// stop ends the clients. The test fails if one request did.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.wg.Wait()
	l.mu.Lock()
	good, kept, failed := l.good, l.kept, l.failed
	l.mu.Unlock()
	if failed > 0 || good == 0 || kept == 0 {
		t.Errorf("requests failed, or none was made: %s", l)
		return
	}
	t.Log(strings.TrimSpace(l.String()))
}

// client belongs to one goroutine.
type client struct {
	address string
	host    string
	names   []string
	keep    bool
	conn    net.Conn
	r       *bufio.Reader
}

// do asks once and returns who answered.
func (c *client) do() (string, error) {
	who, keep, err := c.exchange()
	if err != nil || !keep || !c.keep {
		c.close()
	}
	return who, err
}

func (c *client) exchange() (who string, keep bool, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp4", c.address, patience); err != nil { //nolint:noctx // an exchange that began is not cut
			return "", false, err
		}
		c.r = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", false, err
	}
	if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n"); err != nil {
		return "", false, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", c.address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", c.address, err)
	}
	who = string(body)
	if resp.StatusCode == http.StatusOK && slices.Contains(c.names, who) {
		return who, !resp.Close, nil
	}
	return "", false, fmt.Errorf("%s: status %d, %s: %.80q, want one of %q", c.address, resp.StatusCode, resp.Header.Get("Sluice-Reason"), body, c.names)
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is written any more
		c.conn = nil
	}
}
